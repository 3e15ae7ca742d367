"""`holdall server`."""

from __future__ import annotations

from typing import Annotated

import typer

from holdall.stores.errors import MissingExtra

__all__ = ["server"]


_BackendStoreUri = Annotated[
    str,
    typer.Option(
        envvar=["MLFLOW_BACKEND_STORE_URI", "HOLDALL_BACKEND_STORE_URI"],
        metavar="URI",
        help="Experiments and runs to serve.",
    ),
]
_DefaultArtifactRoot = Annotated[
    str | None,
    typer.Option(
        envvar="MLFLOW_DEFAULT_ARTIFACT_ROOT",
        metavar="URI",
        help="Where new experiments keep artifacts. Default: mlflow-artifacts:/, so they go through the server.",
        show_default=False,
    ),
]
_ArtifactsDestination = Annotated[
    str,
    typer.Option(
        envvar="MLFLOW_ARTIFACTS_DESTINATION", metavar="URI", help="Where artifacts that go through the server are."
    ),
]
_ServeArtifacts = Annotated[
    bool, typer.Option(envvar="MLFLOW_SERVE_ARTIFACTS", help="Move artifacts through the server.")
]
_ArtifactsOnly = Annotated[
    bool, typer.Option("--artifacts-only", envvar="MLFLOW_ARTIFACTS_ONLY", help="Serve artifacts, nothing else.")
]
_Host = Annotated[str, typer.Option("--host", "-h", envvar="MLFLOW_HOST", help="Address to listen on.")]
_Port = Annotated[
    int, typer.Option("--port", "-p", envvar="MLFLOW_PORT", min=0, max=65535, help="Port; 0 for any free one.")
]
_Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        "-w",
        envvar="MLFLOW_WORKERS",
        min=1,
        help="Processes; by default as many as suit the store.",
        show_default=False,
    ),
]
_StaticPrefix = Annotated[
    str, typer.Option(envvar="MLFLOW_STATIC_PREFIX", metavar="PATH", help="What all paths begin with.")
]
_AllowedHosts = Annotated[
    str | None,
    typer.Option(
        envvar="MLFLOW_SERVER_ALLOWED_HOSTS",
        metavar="HOST,…",
        help="Host headers that are answered, as in '*.example.com:5000', besides the loopback's; '*' for all.",
    ),
]
_CorsAllowedOrigins = Annotated[
    str | None,
    typer.Option(
        envvar="MLFLOW_SERVER_CORS_ALLOWED_ORIGINS",
        metavar="URL,…",
        help="Origins whose pages may change things.",
    ),
]
_Auth = Annotated[
    str | None,
    typer.Option("--auth", envvar="HOLDALL_AUTH_FILE", metavar="FILE", help="Users and their roles."),
]
_MaxWaiting = Annotated[
    int, typer.Option("--max-waiting", min=1, help="Calls of a worker that may wait; more are answered with 503.")
]
_ReadOnly = Annotated[bool, typer.Option("--read-only", help="Refuse all changes.")]


def server(
    backend_store_uri: _BackendStoreUri = "sqlite:///mlflow.db",
    default_artifact_root: _DefaultArtifactRoot = None,
    artifacts_destination: _ArtifactsDestination = "./mlartifacts",
    serve_artifacts: _ServeArtifacts = True,
    artifacts_only: _ArtifactsOnly = False,
    host: _Host = "127.0.0.1",
    port: _Port = 5000,
    workers: _Workers = None,
    static_prefix: _StaticPrefix = "",
    allowed_hosts: _AllowedHosts = None,
    cors_allowed_origins: _CorsAllowedOrigins = None,
    auth: _Auth = None,
    max_waiting: _MaxWaiting = 2000,
    read_only: _ReadOnly = False,
) -> None:
    """Serve MLflow's REST API over a store."""
    try:
        from holdall.server.access import warn_if_open
        from holdall.server.options import ServerOptions
        from holdall.server.processes import serve
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("httptools", "orjson", "uvicorn"):
            raise
        raise MissingExtra(f"The server needs {error.name}; install it with: pip install 'holdall[server]'") from error
    options = ServerOptions(
        backend_store=backend_store_uri,
        default_artifact_root=default_artifact_root,
        artifacts_destination=artifacts_destination,
        serve_artifacts=serve_artifacts or artifacts_only,
        artifacts_only=artifacts_only,
        read_only=read_only,
        static_prefix=static_prefix,
        host=host,
        port=port,
        workers=workers,
        allowed_hosts=_listed(allowed_hosts),
        allowed_origins=_listed(cors_allowed_origins),
        auth_file=auth,
        max_waiting=max_waiting,
    )
    warn_if_open(options)
    serve(options)


def _listed(text: str | None) -> tuple[str, ...]:
    return tuple(item.strip() for item in (text or "").split(",") if item.strip())
