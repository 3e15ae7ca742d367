"""`StoreURI`: where a store is, parsed exactly once.

About twenty path CVEs of this field share one cause: a URI is parsed by one function, checked by a second and opened
by a third. Here `StoreURI.parse` is the only parser, and what it returns is what is opened.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote_to_bytes, urlencode

from holdall.stores.errors import InvalidParameterValue

__all__ = ["StoreURI"]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9.\-]*)(?:\+([A-Za-z0-9_.\-]+))?:", re.ASCII)
_DRIVE = re.compile(r"[A-Za-z]:")
_LIKE_URI = re.compile(r"[^/]*://")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SECRET = "***"
_SECRET_NAMES = "pass|pwd|secret|token|key|credential|sas|sig|auth"

_DATABASE_FILE_SCHEMES = frozenset({"sqlite"})
"""Schemes whose path is a file name in SQLAlchemy's sense: `///` before a relative one, never percent-decoded."""


@dataclass(frozen=True, slots=True, repr=False)
class StoreURI:
    """An immutable, parsed URI of a store or an artifact root.

    `str()` and `repr()` hide the password; `render(hide_password=False)` is for drivers only.

    Attributes:
        scheme: Lower case, without driver: `file`, `sqlite`, `postgresql`, `s3` …; plain paths are `file`.
        driver: What followed `+` in the scheme, or None.
        username: Decoded, or None.
        password: Decoded, or None.
        host: Host, bucket or container as it was written, or ''.
        port: Port, or None.
        path: Decoded exactly once. For `file` and `sqlite` a path of the file system as text, relative or absolute.
        query: Options in order of appearance.
        plain: Whether the text was a bare path, so that `str()` gives one back.
    """

    scheme: str
    driver: str | None = None
    username: str | None = None
    password: str | None = None
    host: str = ""
    port: int | None = None
    path: str = ""
    query: tuple[tuple[str, str], ...] = ()
    plain: bool = False

    @classmethod
    def parse(cls, uri: str | os.PathLike[str] | StoreURI) -> StoreURI:
        """Parse the text of a URI, or take a path as it is.

        Args:
            uri: `scheme://[user[:password]@][host[:port]]/path[?query]`, a path, or an already parsed value.

        Returns:
            The parsed value. Bare paths are taken literally: `%20`, `#` and `?` are part of the name.

        Raises:
            InvalidParameterValue: The text is no URI and no path, holds a fragment, control characters or a Windows
                drive, or has parts that mean nothing for its scheme.
        """
        if isinstance(uri, StoreURI):
            return uri
        if isinstance(uri, os.PathLike):
            uri = os.fspath(uri)
            if isinstance(uri, str):
                return cls._from_path(uri)
        if not isinstance(uri, str):
            raise InvalidParameterValue(f"A store URI must be text or a path, got {type(uri).__name__}.")
        if not uri or uri != uri.strip() or _CONTROL.search(uri):
            raise InvalidParameterValue(
                f"Invalid store URI {_without_password(uri)!r}: empty, or with blanks around it or control characters."
            )
        match = _SCHEME.match(uri)
        if match is None and _LIKE_URI.match(uri) is None:
            return cls._from_path(uri)
        if match is None:
            raise InvalidParameterValue(
                f"Invalid store URI {_without_password(uri)!r}: this is no scheme; write ./ before such a path."
            )
        if _DRIVE.match(uri) and len(match.group(1)) == 1:
            raise InvalidParameterValue(
                f"Invalid store URI {_without_password(uri)!r}: Windows drives are not supported; use a POSIX path."
            )
        scheme, driver = match.group(1).lower(), match.group(2)
        rest = uri[match.end() :]
        try:
            return cls._from_parts(scheme, driver, rest)
        except InvalidParameterValue as error:
            raise InvalidParameterValue(f"Invalid store URI {_without_password(uri)!r}: {error.message}") from None

    @classmethod
    def _from_path(cls, path: str) -> StoreURI:
        if "\0" in path or not path:
            raise InvalidParameterValue(f"Invalid path {path!r}: it is empty or holds a NUL character.")
        if path.startswith(("//", "\\\\")):
            raise InvalidParameterValue(
                f"Invalid path {_without_password(path)!r}: network paths are not supported; mount it and use its path."
            )
        return cls("file", path=path, plain=True)

    @classmethod
    def _from_parts(cls, scheme: str, driver: str | None, rest: str) -> StoreURI:
        if "#" in rest:
            raise InvalidParameterValue("a fragment ('#') means nothing here; write %23 for the character.")
        rest, question_mark, query_text = rest.partition("?")
        query = _parse_query(query_text) if question_mark else ()
        if not rest.startswith("//"):
            if (scheme == "file" and rest.startswith("/")) or (scheme == "mlflow-artifacts" and rest.startswith("/")):
                rest = "//" + rest
            else:
                raise InvalidParameterValue(f"write {scheme}:// followed by where it is.")
        authority, slash, tail = rest[2:].partition("/")
        if scheme in _DATABASE_FILE_SCHEMES:
            if authority:
                raise InvalidParameterValue(
                    f"write three slashes before a relative file, {scheme}:///runs.db, and four before an absolute one."
                )
            return cls(scheme, driver, path=tail, query=query)
        username, password, host, port = _parse_authority(authority)
        path = _decode(slash + tail)
        if ";" in path.rpartition("/")[2] and scheme in ("http", "https", "mlflow-artifacts"):
            raise InvalidParameterValue("path parameters (';') mean nothing here.")
        if scheme == "file":
            _require_local(authority, query_text)
            if not path:
                raise InvalidParameterValue("a file URI needs an absolute path, as in file:///data/runs.")
            if path.startswith("//") or ".." in path.split("/"):
                raise InvalidParameterValue("the path of a file URI must be absolute, without '..' and network hosts.")
        elif ".." in path.split("/"):
            raise InvalidParameterValue("'..' is not allowed in the path.")
        return cls(scheme, driver, username, password, host, port, path, query)

    def render(self, *, hide_password: bool = True) -> str:
        """The URI as text.

        Args:
            hide_password: Write `***` for the password and for query values that look like secrets.
        """
        if self.plain:
            return self.path
        text = self.scheme + (f"+{self.driver}" if self.driver else "") + ("://" if self._has_authority else ":")
        if self.username is not None or self.password is not None:
            text += quote(self.username or "", safe="")
            if self.password is not None:
                text += ":" + (_SECRET if hide_password else quote(self.password, safe=""))
            text += "@"
        text += f"[{self.host}]" if ":" in self.host else self.host
        text += f":{self.port}" if self.port is not None else ""
        text += (
            f"/{self.path}" if self.scheme in _DATABASE_FILE_SCHEMES else quote(self.path, safe="/:@!$&'()*+,;=~-._")
        )
        if self.query:
            shown = [(key, _SECRET if hide_password and _is_secret(key) else value) for key, value in self.query]
            text += "?" + urlencode(shown, safe="/:*")
        return text

    @property
    def _has_authority(self) -> bool:
        """Whether `//` comes before the path: not in `mlflow-artifacts:/path`, which is how MLflow writes that."""
        named = self.host or self.username is not None or self.password is not None or self.port is not None
        return bool(named) or self.scheme != "mlflow-artifacts" or self.path.startswith("//")

    def __str__(self) -> str:
        return self.render()

    def __repr__(self) -> str:
        return f"StoreURI({self.render()!r})"

    def options(self, *known: str) -> dict[str, str]:
        """The query as a dict.

        Args:
            known: Names that mean something for the store at hand.

        Raises:
            InvalidParameterValue: An option is unknown or given twice.
        """
        found: dict[str, str] = {}
        for key, value in self.query:
            if key not in known:
                listed = ", ".join(sorted(known)) or "none"
                raise InvalidParameterValue(f"Unknown option {key!r} in {self}; known options: {listed}.")
            if key in found:
                raise InvalidParameterValue(f"Option {key!r} is given twice in {self}.")
            found[key] = value
        return found

    def join(self, *segments: str) -> StoreURI:
        """The URI of something below this one; the query is kept.

        Args:
            segments: Names, appended to the path as they are; each must be a plain name without `/`.
        """
        for segment in segments:
            if segment in ("", ".", "..") or "/" in segment or "\0" in segment:
                raise InvalidParameterValue(f"Invalid path segment {segment!r}.")
        return replace(self, path="/".join([self.path.rstrip("/"), *segments]))

    def absolute(self) -> StoreURI:
        """The same place independent of the working directory; only local paths change."""
        if self.scheme == "file" or (self.scheme in _DATABASE_FILE_SCHEMES and self.path not in ("", ":memory:")):
            return replace(self, path=os.path.abspath(self.path))
        return self

    @property
    def local_path(self) -> Path:
        """The file or folder of a `file` or `sqlite` URI."""
        if self.scheme != "file" and self.scheme not in _DATABASE_FILE_SCHEMES:
            raise InvalidParameterValue(f"{self} is not on the local file system.")
        return Path(self.path)


def _decode(text: str) -> str:
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        raise InvalidParameterValue("'%' must be followed by two hexadecimal digits; write %25 for the character.")
    try:
        decoded = unquote_to_bytes(text).decode("utf-8")
    except UnicodeError:
        raise InvalidParameterValue("text and percent-encoded bytes must be UTF-8.") from None
    if _CONTROL.search(decoded):
        raise InvalidParameterValue("control characters are not allowed.")
    return decoded


def _parse_query(text: str) -> tuple[tuple[str, str], ...]:
    try:
        pairs = tuple(parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), errors="strict"))
    except ValueError:
        raise InvalidParameterValue("the query must be of the form name=value&name=value.") from None
    if any(_CONTROL.search(part) for pair in pairs for part in pair):
        raise InvalidParameterValue("control characters are not allowed.")
    return pairs


def _parse_authority(text: str) -> tuple[str | None, str | None, str, int | None]:
    userinfo, at, hostport = text.rpartition("@")
    username: str | None = None
    password: str | None = None
    if at:
        name, colon, secret = userinfo.partition(":")
        username, password = _decode(name), _decode(secret) if colon else None
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]*)(?::([0-9]*))?", hostport)
    if match is None or not _valid_port(match.group(2)) or not _valid_host(match.group(1)):
        raise InvalidParameterValue("the host and port are malformed.")
    return username, password, match.group(1).strip("[]"), int(match.group(2)) if match.group(2) else None


def _valid_host(text: str) -> bool:
    """Whether a host means the same decoded and not, and can be no step on a path (CVE-2023-2780)."""
    return text not in (".", "..") and re.search(r"[%\\\s]", text) is None


def _valid_port(text: str | None) -> bool:
    return not text or (len(text) <= 5 and int(text) <= 65535)


def _require_local(authority: str, query_text: str) -> None:
    if authority.lower() not in ("", "localhost"):
        raise InvalidParameterValue("a file URI names no host; write file:///absolute/path.")
    if query_text:
        raise InvalidParameterValue("a query ('?') means nothing in a file URI; write %3F for the character.")


def _is_secret(key: str) -> bool:
    return re.search(_SECRET_NAMES, key, re.IGNORECASE) is not None


def _without_password(text: str) -> str:
    """`text` fit for a message although it could not be parsed."""
    text = re.sub(r"(?s)^((?:[A-Za-z][\w+.\-]*:)?/*).*@", rf"\1{_SECRET}@", text)
    return re.sub(rf"(?i)((?:{_SECRET_NAMES})[^=&]*=)[^&]*", rf"\1{_SECRET}", text)
