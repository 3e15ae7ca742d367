"""Where proxied artifacts are: from `mlflow-artifacts:` to the address of a tracking server."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

from holdall.stores.errors import InvalidParameterValue
from holdall.stores.uri import StoreURI

__all__ = ["ROUTE", "SCHEME", "locate_artifacts", "split_address"]

SCHEME = "mlflow-artifacts"

ROUTE = "/mlflow-artifacts/artifacts"
"""What the path of an address holds between the prefix of the API and the path of the artifacts."""

_HTTP = ("http", "https")
_API = "/api/2.0"
_TRACKING_URI = "MLFLOW_TRACKING_URI"
_WITHOUT_CREDENTIALS = ("credentials", "none")


def locate_artifacts(
    uri: StoreURI, tracking: StoreURI | None = None, environment: Mapping[str, str] = os.environ
) -> StoreURI:
    """The address of artifacts that a tracking server moves; other URIs as they are.

    Credentials are those of the tracking server and never leave it: a run may name any host.

    Args:
        uri: `mlflow-artifacts:/path`, `mlflow-artifacts://host[:port]/path`, or another one.
        tracking: Of the store whose run keeps them; unless that is a tracking server, `MLFLOW_TRACKING_URI` names one.
        environment: Variables by name.

    Raises:
        InvalidParameterValue: No tracking server is known, or the URI is malformed.
    """
    if uri.scheme not in (SCHEME, *_HTTP):
        return uri
    server = tracking if tracking is not None and tracking.scheme in _HTTP else _configured(environment)
    if uri.scheme != SCHEME:
        return uri if server is None or _is_on(uri, server) else _without_credentials(uri)
    if server is None or server.scheme not in _HTTP:
        raise InvalidParameterValue(
            f"{uri} is moved by a tracking server: its address must be known, as an http:// or https:// tracking URI; "
            f"set {_TRACKING_URI} to it."
        )
    if uri.port is not None and not uri.host:
        raise InvalidParameterValue(f"Invalid artifact URI {uri}: it has a port and no host.")
    below = f"{_API}{ROUTE}/{uri.path.strip('/')}".rstrip("/")
    base = replace(server, path=server.path.rstrip("/") + below, query=(*server.query, *uri.query))
    if not uri.host:
        return base
    there = replace(base, host=uri.host, port=uri.port, path=below)
    if _is_on(there, server):
        return base if uri.username is None else replace(base, username=uri.username, password=uri.password)
    return _without_credentials(replace(there, username=uri.username, password=uri.password))


def split_address(uri: StoreURI) -> tuple[str, str, bool]:
    """Prefix of the server, path of the artifacts, and whether the environment's credentials are meant for it.

    Raises:
        InvalidParameterValue: The address is not one of artifacts, or lies outside of them.
    """
    before, route, after = uri.path.partition(ROUTE)
    if not route or (after and not after.startswith("/")) or not before.endswith(_API):
        raise InvalidParameterValue(
            f"{uri} is no address of artifacts; these begin with http://host{_API}{ROUTE}/, or write {SCHEME}:/path."
        )
    return before.removesuffix(_API), after.strip("/"), _WITHOUT_CREDENTIALS not in uri.query


def _configured(environment: Mapping[str, str]) -> StoreURI | None:
    text = environment.get(_TRACKING_URI, "")
    return StoreURI.parse(text) if text else None


def _is_on(uri: StoreURI, server: StoreURI) -> bool:
    """Whether two URIs name the same server."""
    return (uri.scheme, uri.host.lower(), _port(uri)) == (server.scheme, server.host.lower(), _port(server))


def _port(uri: StoreURI) -> int:
    return uri.port or (443 if uri.scheme == "https" else 80)


def _without_credentials(uri: StoreURI) -> StoreURI:
    return uri if _WITHOUT_CREDENTIALS in uri.query else replace(uri, query=(*uri.query, _WITHOUT_CREDENTIALS))
