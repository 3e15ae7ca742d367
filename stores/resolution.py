"""From a URI to an open store: scheme → class, imported on first use; plugins by entry point.

A plugin declares, in its own `pyproject.toml`, one entry point per scheme in one of the groups
`holdall.backend_stores`, `holdall.artifact_stores`, `holdall.model_registries`:

    [project.entry-points."holdall.backend_stores"]
    redis = "holdall_redis:RedisBackendStore"

Entry points are read when a scheme is first asked for that is not built in, and only the one that matches is loaded: a
broken plugin breaks nothing but itself. Built-in schemes cannot be taken over.
"""

from __future__ import annotations

import importlib
import logging
import os
from dataclasses import dataclass
from importlib import metadata
from typing import Protocol, TypeVar, cast

from holdall.stores.artifacts import ArtifactStore
from holdall.stores.backend import BackendStore
from holdall.stores.errors import HoldallError, InternalError, MissingExtra, UnsupportedScheme
from holdall.stores.model_registry import ModelRegistry
from holdall.stores.uri import StoreURI

__all__ = ["known_schemes", "open_artifact_store", "open_backend_store", "open_model_registry"]

logger = logging.getLogger("holdall")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Entry:
    """A built-in store: where its class is, and the extra that brings what it needs."""

    target: str
    extra: str | None = None
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of store: what to call it, its entry point group, its built-in schemes in alphabetical order."""

    name: str
    group: str
    builtin: dict[str, _Entry]


_BACKENDS = _Kind(
    "backend store",
    "holdall.backend_stores",
    {
        "file": _Entry("holdall.backends.file:FileBackendStore"),
        "http": _Entry("holdall.backends.http.store:HttpBackendStore"),
        "https": _Entry("holdall.backends.http.store:HttpBackendStore"),
        "mariadb": _Entry("holdall.backends.sql.mysql:MysqlBackendStore", "mysql", ("pymysql",)),
        "memory": _Entry("holdall.backends.memory:MemoryBackendStore"),
        "mysql": _Entry("holdall.backends.sql.mysql:MysqlBackendStore", "mysql", ("pymysql",)),
        "postgresql": _Entry("holdall.backends.sql.postgresql:PostgresqlBackendStore", "postgres", ("psycopg",)),
        "sqlite": _Entry("holdall.backends.sql.sqlite:SqliteBackendStore"),
    },
)
_ARTIFACTS = _Kind(
    "artifact store",
    "holdall.artifact_stores",
    {
        "abfs": _Entry("holdall.artifacts.azure.store:AzureArtifactStore", "azure", ("azure",)),
        "abfss": _Entry("holdall.artifacts.azure.store:AzureArtifactStore", "azure", ("azure",)),
        "file": _Entry("holdall.artifacts.local:LocalArtifactStore"),
        "gs": _Entry("holdall.artifacts.gcs.store:GcsArtifactStore", "gcs", ("google", "google_crc32c")),
        "http": _Entry("holdall.artifacts.http.store:ProxiedArtifactStore"),
        "https": _Entry("holdall.artifacts.http.store:ProxiedArtifactStore"),
        "mlflow-artifacts": _Entry("holdall.artifacts.http.store:ProxiedArtifactStore"),
        "s3": _Entry("holdall.artifacts.s3.store:S3ArtifactStore", "s3", ("boto3", "botocore")),
        "sftp": _Entry("holdall.artifacts.sftp.store:SftpArtifactStore", "sftp", ("paramiko",)),
        "wasb": _Entry("holdall.artifacts.azure.store:AzureArtifactStore", "azure", ("azure",)),
        "wasbs": _Entry("holdall.artifacts.azure.store:AzureArtifactStore", "azure", ("azure",)),
    },
)
_REGISTRIES = _Kind("model registry", "holdall.model_registries", {})


class _BackendFactory(Protocol):
    def __call__(
        self, uri: StoreURI, *, artifact_root: StoreURI | None, read_only: bool, create: bool
    ) -> BackendStore: ...


class _ArtifactFactory(Protocol):
    def __call__(self, uri: StoreURI, *, read_only: bool) -> ArtifactStore: ...


class _RegistryFactory(Protocol):
    def __call__(self, uri: StoreURI, *, read_only: bool, create: bool) -> ModelRegistry: ...


def open_backend_store(
    uri: str | os.PathLike[str] | StoreURI,
    *,
    artifact_root: str | os.PathLike[str] | StoreURI | None = None,
    read_only: bool = False,
    create: bool = True,
) -> BackendStore:
    """Open the store of experiments and runs at a URI.

    Args:
        uri: For example `sqlite:///runs.db` or `memory://`.
        artifact_root: Under which new experiments keep artifacts; by default the store's own choice.
        read_only: Refuse writes, and write nothing on opening.
        create: Create the store if there is none.

    Returns:
        The store; a log line at INFO says what was opened and whether it was created.

    Raises:
        InvalidParameterValue: The URI is malformed, or names something that is no store.
        UnsupportedScheme: No store is known for the scheme; the message lists the known ones.
        MissingExtra: The store needs packages that are not installed.
        NotFound: There is no store, and it was not to be created.
    """
    parsed = StoreURI.parse(uri)
    factory = cast(_BackendFactory, _resolve(_BACKENDS, parsed))
    root = None if artifact_root is None else StoreURI.parse(artifact_root)
    store = factory(parsed, artifact_root=root, read_only=read_only, create=create and not read_only)
    how = "created" if store.created else "opened read-only" if read_only else "opened"
    logger.info("%s %s, artifacts of new experiments under %s", how, store.uri, store.artifact_root)
    return store


def open_artifact_store(uri: str | os.PathLike[str] | StoreURI, *, read_only: bool = False) -> ArtifactStore:
    """Open the artifact store at a URI or path; raises as `open_backend_store` does."""
    parsed = StoreURI.parse(uri)
    factory = cast(_ArtifactFactory, _resolve(_ARTIFACTS, parsed))
    return factory(parsed, read_only=read_only)


def open_model_registry(
    uri: str | os.PathLike[str] | StoreURI, *, read_only: bool = False, create: bool = True
) -> ModelRegistry:
    """Open the model registry at a URI; raises as `open_backend_store` does."""
    parsed = StoreURI.parse(uri)
    factory = cast(_RegistryFactory, _resolve(_REGISTRIES, parsed))
    return factory(parsed, read_only=read_only, create=create and not read_only)


def known_schemes(kind: str) -> list[str]:
    """Schemes that can be opened, plugins included, sorted.

    Args:
        kind: `backend`, `artifact` or `registry`.
    """
    return _known({"backend": _BACKENDS, "artifact": _ARTIFACTS, "registry": _REGISTRIES}[kind])


def _known(kind: _Kind) -> list[str]:
    return sorted({*kind.builtin, *(point.name for point in metadata.entry_points(group=kind.group))})


def _resolve(kind: _Kind, uri: StoreURI) -> object:
    entry = kind.builtin.get(uri.scheme)
    if entry is not None:
        return _load_builtin(entry, uri)
    for point in metadata.entry_points(group=kind.group, name=uri.scheme):
        return _load_plugin(point, kind, uri)
    schemes = ", ".join(f"{scheme}://" for scheme in _known(kind)) or "none"
    what = f"the path {uri}" if uri.plain else f"{uri.scheme}://"
    raise UnsupportedScheme(f"No {kind.name} is known for {what}; known schemes: {schemes}.")


def _load_builtin(entry: _Entry, uri: StoreURI) -> object:
    module, _, name = entry.target.partition(":")
    try:
        return cast(object, getattr(importlib.import_module(module), name))
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if entry.extra is None or missing not in entry.needs:
            raise
        raise MissingExtra(
            f"{uri.scheme}:// needs {missing}; install it with: pip install 'holdall[{entry.extra}]'"
        ) from error


def _load_plugin(point: metadata.EntryPoint, kind: _Kind, uri: StoreURI) -> object:
    try:
        return cast(object, point.load())
    except HoldallError:
        raise
    except Exception as error:  # a plugin may fail in any way; the caller must learn which one it was
        origin = point.dist.name if point.dist else "unknown distribution"
        raise InternalError(
            f"The {kind.name} plugin {point.value!r} of {origin} for {uri.scheme}:// cannot be loaded: "
            f"{type(error).__name__}: {error}"
        ) from error
