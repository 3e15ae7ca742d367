"""How a server is to run: the options of `holdall server` as one value that its workers are given."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PROXIED_ROOT", "ServerOptions"]

PROXIED_ROOT = "mlflow-artifacts:/"
"""Root of the artifacts that clients move through the server."""


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """What a server serves, to whom, and within which limits.

    Attributes:
        backend_store: URI of the store of experiments and runs.
        default_artifact_root: Parent of the artifact locations of new experiments; None for `mlflow-artifacts:/` if
            artifacts are served, else for the store's own choice.
        artifacts_destination: Where served artifacts are.
        serve_artifacts: Whether artifacts are moved through the server.
        artifacts_only: Whether nothing else is served.
        read_only: Whether the store is opened so.
        static_prefix: What all paths begin with, such as `/tracking`; empty for nothing.
        host: Address to listen on.
        port: Port to listen on; 0 for any that is free.
        workers: Processes; None for as many as suit the store.
        allowed_hosts: Patterns of `Host` headers that are served besides those of the loopback and `host`, such as
            `*.example.com:5000`; `*` for all.
        allowed_origins: Origins whose pages may change things, such as `https://ml.example.com`.
        auth_file: Users, their passwords and roles; None where everybody may do everything.
        max_body: Bytes of a JSON body at most.
        max_waiting: Calls of a worker that may wait for the store; more are answered with 503.
        body_timeout: Seconds that a client may be silent in the middle of a request.
    """

    backend_store: str = "sqlite:///mlflow.db"
    default_artifact_root: str | None = None
    artifacts_destination: str = "./mlartifacts"
    serve_artifacts: bool = True
    artifacts_only: bool = False
    read_only: bool = False
    static_prefix: str = ""
    host: str = "127.0.0.1"
    port: int = 5000
    workers: int | None = None
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    auth_file: str | None = None
    max_body: int = 48 << 20
    max_waiting: int = 2000
    body_timeout: float = 60.0

    @property
    def artifact_root(self) -> str | None:
        """What the store is opened with."""
        if self.default_artifact_root is None and self.serve_artifacts:
            return PROXIED_ROOT
        return self.default_artifact_root
