"""What requests to a tracking server need to know: its address, credentials, time-outs, TLS.

All of it comes from the URI and from the environment variables that MLflow's clients obey, read once.
"""

from __future__ import annotations

import configparser
import os
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

from holdall.stores.errors import InvalidParameterValue
from holdall.stores.http_client import HttpSettings
from holdall.stores.retries import RetryPolicy
from holdall.stores.uri import StoreURI

__all__ = ["ServerSettings"]

_CREDENTIALS_FILE = "~/.mlflow/credentials"
_USERNAME, _PASSWORD, _TOKEN = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"
_TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"
_INSECURE, _SERVER_CERTIFICATE, _CLIENT_CERTIFICATE = (
    f"MLFLOW_TRACKING_{name}" for name in ("INSECURE_TLS", "SERVER_CERT_PATH", "CLIENT_CERT_PATH")
)
_LONGEST_CONNECT = 10.0


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """How a tracking server is reached.

    Attributes:
        origin: `http://host:port` or `https://host:port`.
        prefix: Encoded path before `/api/…`, without a slash at its end.
        connections: Time-outs and TLS.
        retries: How long to repeat what may succeed a moment later.
        authorization: Value of the header, or None.
        secrets: What must not be seen in a message, encoded forms included.
    """

    origin: str
    prefix: str
    connections: HttpSettings
    retries: RetryPolicy
    authorization: str | None = field(default=None, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def of(
        cls, uri: StoreURI, environment: Mapping[str, str] = os.environ, *, with_credentials: bool = True
    ) -> ServerSettings:
        """Settings for the server at a URI.

        Args:
            uri: `http://[user[:password]@]host[:port][/prefix][?patience=SECONDS]`; user information in it goes before
                what the environment says.
            environment: Variables by name.
            with_credentials: Whether those that the URI does not hold are looked for elsewhere.

        Raises:
            InvalidParameterValue: The URI, a variable, or the file of credentials is malformed.
        """
        if not uri.host:
            raise InvalidParameterValue(f"Invalid tracking URI {uri}: it names no host.")
        options = uri.options("patience")
        bare = replace(uri, username=None, password=None, path="", query=())
        known = with_credentials or uri.username is not None
        authorization, secrets = _authorization(uri, environment) if known else (None, ())
        return cls(
            origin=bare.render(),
            prefix=quote(uri.path.rstrip("/"), safe="/-._~"),
            connections=_connections(environment),
            retries=RetryPolicy(_seconds(options, "patience", 30.0)),
            authorization=authorization,
            secrets=secrets,
        )


def _connections(environment: Mapping[str, str]) -> HttpSettings:
    timeout = _seconds(environment, _TIMEOUT, 120.0)
    insecure = environment.get(_INSECURE, "").strip().lower() in ("true", "1")
    bundle = environment.get(_SERVER_CERTIFICATE) or None
    if insecure and bundle:
        raise InvalidParameterValue(
            f"{_INSECURE} switches off what {_SERVER_CERTIFICATE} is for: unset one of these variables."
        )
    return HttpSettings(
        connect_timeout=min(timeout, _LONGEST_CONNECT),
        timeout=timeout,
        verify=bundle or not insecure,
        client_certificate=environment.get(_CLIENT_CERTIFICATE) or None,
        remedy=f"name the file of certificates that vouches for it in {_SERVER_CERTIFICATE}",
    )


def _seconds(given: Mapping[str, str], name: str, default: float) -> float:
    text = given.get(name) or str(default)
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e6:
        raise InvalidParameterValue(f"{name} must be a number of seconds, got {text!r}.")
    return value


def _authorization(uri: StoreURI, environment: Mapping[str, str]) -> tuple[str | None, tuple[str, ...]]:
    """The header and all that must stay secret of it."""
    account = _account(uri, environment)
    if account is not None:
        encoded = b64encode(":".join(account).encode()).decode()
        return f"Basic {encoded}", tuple(filter(None, (encoded, account[1], quote(account[1], safe=""))))
    token = environment.get(_TOKEN, "").strip()
    if not token:
        return None, ()
    if not (token.isascii() and token.isprintable()):
        raise InvalidParameterValue(f"{_TOKEN} holds characters that no token has.")
    return f"Bearer {token}", (token,)


def _account(uri: StoreURI, environment: Mapping[str, str]) -> tuple[str, str] | None:
    """User and password: of the URI, else of the environment, each completed from the file of credentials."""
    if uri.username is not None:
        return uri.username, uri.password or ""
    username, password = environment.get(_USERNAME), environment.get(_PASSWORD)
    if not (username and password):
        known = _read_credentials(Path(_CREDENTIALS_FILE))
        username, password = username or known.get(_USERNAME), password or known.get(_PASSWORD)
    return (username, password) if username and password else None


def _read_credentials(file: Path) -> dict[str, str]:
    """What the section `[mlflow]` of a file says, by the names of the variables; nothing if there is no file."""
    try:
        text = file.expanduser().read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError, RuntimeError):  # no file, or no home to look for it
        return {}
    except (OSError, ValueError) as error:
        raise InvalidParameterValue(f"Cannot read credentials from {file}: {type(error).__name__}.") from error
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text)
    except configparser.Error:  # its message holds lines of the file
        raise InvalidParameterValue(
            f"The file of credentials {file} is malformed; write [mlflow], then lines such as {_USERNAME.lower()} = me."
        ) from None
    return {name.upper(): value for name, value in parser.items("mlflow")} if parser.has_section("mlflow") else {}
