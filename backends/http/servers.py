"""What a tracking server says of itself, and what is known of those that say little."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import cast

from holdall.backends.http.client import ApiClient
from holdall.stores.capabilities import Capabilities
from holdall.stores.errors import InternalError, NotFound, Unsupported

__all__ = ["ServerFacts", "ask_server"]

_INFO = "/api/3.0/mlflow/server-info"
_FIRST_WITH_MODELS = 3
"""Major version of MLflow."""

_OWN = {"negative_zero", "exact_names", "datasets", "logged_models", "restores_by_cause", "max_experiment_id"}
"""What depends on the store behind a server. The rest is the same for all: whoever opens a server creates nothing,
writes beside others, and need not live on for what was acknowledged to stay."""


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """A server.

    Attributes:
        name: Product and version, for people.
        is_holdall: Whether it is ours, whose answers are those of a direct store.
        capabilities: What a store at this server can do.
    """

    name: str
    is_holdall: bool
    capabilities: Capabilities


def ask_server(client: ApiClient) -> ServerFacts:
    """Ask a server what it is; raises as calls do if it cannot be reached."""
    try:
        own = client.get(_INFO).get("holdall")
    except (NotFound, Unsupported):  # MLflow before 3.10
        own = None
    if isinstance(own, dict):
        return _of_holdall(cast(dict[str, object], own))
    version = _version(client)
    name = f"MLflow {version}" if version else "a server of MLflow's API"
    major = int(version.partition(".")[0]) if version else 0
    return ServerFacts(name, is_holdall=False, capabilities=_of_mlflow(logged_models=major >= _FIRST_WITH_MODELS))


def _of_holdall(own: dict[str, object]) -> ServerFacts:
    said = own.get("capabilities")
    given = cast(dict[str, object], said) if isinstance(said, dict) else {}
    default = Capabilities()
    known: dict[str, bool | int] = {}
    for name in (field.name for field in fields(Capabilities) if field.name in _OWN):
        value = given.get(name, getattr(default, name))
        if type(value) is not type(getattr(default, name)):
            raise InternalError(f"The server says of its store that {name} is {str(value)[:40]!r}.")
        known[name] = cast(bool | int, value)
    version = own.get("version")
    name = f"holdall {version[:40]}" if isinstance(version, str) else "holdall"
    return ServerFacts(name, is_holdall=True, capabilities=Capabilities(remote=True, **known))  # type: ignore[arg-type]


def _of_mlflow(*, logged_models: bool) -> Capabilities:
    """What holds for MLflow whatever database is behind it, which it does not say.

    SQLite loses the sign of zero, MySQL compares names by a collation, ids have 32 bits in PostgreSQL. A batch is
    written in several transactions. An experiment is restored with all of its runs.
    """
    return Capabilities(
        atomic_batches=False,
        negative_zero=False,
        exact_names=False,
        logged_models=logged_models,
        remote=True,
        restores_by_cause=False,
        max_experiment_id=2**31 - 1,
    )


def _version(client: ApiClient) -> str:
    """MLflow's version; '' if the server does not tell."""
    try:
        text = client.text("/version")
    except (NotFound, Unsupported):
        return ""
    match = re.fullmatch(r"\d{1,4}\.\d{1,4}[\w.]{0,20}", text.strip())
    return match.group() if match else ""
