"""How to connect to a server: options of the URI's query, and where its password comes from."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import TypeVar, cast

from holdall.stores.errors import HoldallError, InvalidParameterValue, Unauthenticated
from holdall.stores.uri import StoreURI

__all__ = ["PasswordProvider", "ServerOptions", "flag", "number", "whole"]

T = TypeVar("T", int, float)

PasswordProvider = Callable[[StoreURI], str]
"""Gives a password or token; called for every new connection, with the URI that was opened."""

_PROVIDERS = "holdall.password_providers"
"""Entry point group of named password providers."""

_OWN = (
    "pool_size",
    "max_overflow",
    "pool_timeout",
    "pool_recycle",
    "pool_pre_ping",
    "retry_timeout",
    "password_provider",
    "password_file",
)


class ServerOptions:
    """Options of the URI's query.

    Args:
        uri: What was opened.
        driver_options: Names of what is passed on to the driver.

    Attributes:
        uri: What was opened; hides its password.
        pool_size: Connections that are kept.
        max_overflow: Connections beyond those while there is need.
        pool_timeout: Seconds to wait for a connection when all are in use.
        pool_recycle: Seconds after which a connection is replaced; −1 for never.
        pool_pre_ping: Whether a kept connection is tried out before it is used, at the cost of a round trip. Without
            it, a call whose connection turns out to be dead is run again.
        retry_timeout: Seconds for which a server that went away is waited for.
        driver: What is passed on, as text by name.

    Raises:
        InvalidParameterValue: An option is unknown, given twice, or out of range.
    """

    def __init__(self, uri: StoreURI, driver_options: Mapping[str, Callable[[str, str], object]]) -> None:
        given = uri.options(*_OWN, *driver_options)
        self.uri = uri
        self.pool_size = whole("pool_size", given.get("pool_size", "5"), 1, 10_000)
        self.max_overflow = whole("max_overflow", given.get("max_overflow", "45"), 0, 10_000)
        self.pool_timeout = number("pool_timeout", given.get("pool_timeout", "60"), 0, 86_400)
        self.pool_recycle = whole("pool_recycle", given.get("pool_recycle", "1800"), -1, 10**9)
        self.pool_pre_ping = flag("pool_pre_ping", given.get("pool_pre_ping", "false"))
        self.retry_timeout = number("retry_timeout", given.get("retry_timeout", "30"), 0, 86_400)
        self.driver: dict[str, object] = {
            name: convert(name, given[name]) for name, convert in driver_options.items() if name in given
        }
        self._password = _source(uri, given.get("password_provider"), given.get("password_file"))

    def password(self) -> str | None:
        """The password for a new connection.

        Raises:
            Unauthenticated: Where it should come from, none came.
        """
        return self._password()


def _source(uri: StoreURI, provider: str | None, file: str | None) -> Callable[[], str | None]:
    if [provider, file, uri.password].count(None) < 2:
        raise InvalidParameterValue(
            f"{uri} names more than one source of the password; keep one: the URI itself, password_provider or "
            "password_file."
        )
    if provider is not None:
        provide = _provider(provider)
        return lambda: _ask(provide, provider, uri)
    if file is not None:
        return lambda: _read(Path(file), uri)
    return lambda: uri.password


def _provider(name: str) -> PasswordProvider:
    for point in metadata.entry_points(group=_PROVIDERS, name=name):
        return cast(PasswordProvider, _load(name, point.load))
    module, colon, attribute = name.partition(":")
    if not colon:
        known = ", ".join(sorted(point.name for point in metadata.entry_points(group=_PROVIDERS))) or "none"
        raise InvalidParameterValue(
            f"No password provider is named {name!r}; known: {known}. A function is named as module:function."
        )
    return cast(PasswordProvider, _load(name, lambda: getattr(importlib.import_module(module), attribute)))


def _load(name: str, load: Callable[[], object]) -> object:
    try:
        return load()
    except Exception as error:  # other people's code may fail in any way
        raise InvalidParameterValue(f"The password provider {name!r} cannot be loaded: {error}") from error


def _ask(provide: PasswordProvider, name: str, uri: StoreURI) -> str:
    try:
        password = provide(uri)
    except HoldallError:
        raise
    except Exception as error:  # its text may hold a secret
        raise Unauthenticated(f"The password provider {name!r} failed for {uri}: {type(error).__name__}.") from error
    if not isinstance(password, str):
        raise Unauthenticated(f"The password provider {name!r} gave no text for {uri}.")
    return password


def _read(file: Path, uri: StoreURI) -> str:
    try:
        return file.read_text(encoding="utf-8").rstrip("\n")
    except (OSError, UnicodeError) as error:
        raise Unauthenticated(f"The password file {file} of {uri} cannot be read: {type(error).__name__}.") from error


def whole(name: str, text: str, low: int, high: int) -> int:
    """A whole number."""
    return _in_range(name, text, low, high, int)


def number(name: str, text: str, low: float, high: float) -> float:
    """A number."""
    return _in_range(name, text, low, high, float)


def _in_range(name: str, text: str, low: T, high: T, convert: Callable[[str], T]) -> T:
    try:
        value = convert(text)
    except ValueError:
        value = None
    if value is None or not low <= value <= high:
        raise InvalidParameterValue(f"Invalid value {text!r} for option {name}; give a number, {low} … {high}.")
    return value


def flag(name: str, text: str) -> bool:
    """A truth value."""
    if text.lower() in ("true", "1", "yes", "on"):
        return True
    if text.lower() in ("false", "0", "no", "off"):
        return False
    raise InvalidParameterValue(f"Invalid value {text!r} for option {name}; give true or false.")
