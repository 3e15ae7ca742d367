"""Which places a server opens: its own roots, and nothing that a client names besides.

A location that a client gives is kept for clients, which open it with their own rights. The server opens what lies
below a root that its operator has named; and it keeps no location by which somebody could send clients, or itself, to a
host of their choice.
"""

from __future__ import annotations

import os

from holdall.server.options import PROXIED_ROOT, ServerOptions
from holdall.stores.errors import InvalidParameterValue
from holdall.stores.paths import validate_artifact_path
from holdall.stores.uri import StoreURI

__all__ = ["is_within", "require_allowed_location", "roots_of"]

HOSTLESS = frozenset({"file", "gs", "mlflow-artifacts", "s3"})
"""Schemes whose URIs name no host to connect to. Of any other, only what lies below a root is kept."""


def roots_of(options: ServerOptions) -> tuple[StoreURI, ...]:
    """The roots that an operator has named."""
    named = [options.default_artifact_root, options.artifacts_destination if options.serve_artifacts else None]
    return tuple(StoreURI.parse(root).absolute() for root in named if root is not None)


def is_within(uri: StoreURI, root: StoreURI) -> bool:
    """Whether a place is a root or below it: on the same host, as the same user, with the same options.

    On the local file system it must be so by name, and also after symbolic links have been followed.

    Args:
        uri: Absolute.
        root: Absolute.
    """
    if _service_of(uri) != _service_of(root) or uri.password not in (None, root.password):
        return False
    if not _is_below(uri.path, root.path):
        return False
    return uri.scheme != "file" or _is_below(os.path.realpath(uri.path), os.path.realpath(root.path))


def require_allowed_location(options: ServerOptions, location: str) -> None:
    """Refuse an artifact location that leads to a host of somebody's choice, or not where it seems to.

    Raises:
        InvalidParameterValue: It is no URI and no path; it has `..` in it, however encoded; or it names a host, a user
            or options other than those of a root of the server.
    """
    uri = StoreURI.parse(location)
    validate_artifact_path(uri.path.removeprefix("./").strip("/"), name="artifact location")
    uri = uri.absolute()
    if any(is_within(uri, root) for root in roots_of(options)):
        return
    if uri.scheme not in HOSTLESS:
        raise InvalidParameterValue(
            f"Invalid artifact location {uri}: {uri.scheme}:// names a host other than the server's own artifact roots."
        )
    if uri.scheme == "mlflow-artifacts" and uri.host:
        raise InvalidParameterValue(f"Invalid artifact location {uri}: write {PROXIED_ROOT} without a host.")
    if uri.driver or uri.username is not None or uri.password is not None or uri.port is not None or uri.query:
        raise InvalidParameterValue(
            f"Invalid artifact location {uri}: users, ports and options are given with the server's own artifact roots."
        )


def _service_of(uri: StoreURI) -> tuple[object, ...]:
    return uri.scheme, uri.driver, uri.username, uri.host, uri.port, sorted(uri.query)


def _is_below(path: str, above: str) -> bool:
    above = above.rstrip("/")
    return path.rstrip("/") == above or path.startswith(f"{above}/")
