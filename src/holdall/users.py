"""The file of users: who may use a server, by which password or tokens, in which role.

A file in TOML. Of a password it holds an scrypt hash with its parameters, of a token the SHA-256: neither can be had
from it.

    [[users]]
    name = "alice"
    role = "writer"
    password = "scrypt:32768:8:2:<salt>:<key>"
    tokens = ["sha256:<digest>"]
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
import tomllib
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import cast

from holdall.stores.errors import HoldallError, InvalidParameterValue, NotFound

__all__ = [
    "PasswordHash",
    "Role",
    "User",
    "check_password",
    "edited_users",
    "load_users",
    "new_token",
    "save_users",
    "token_digest",
]

COST, BLOCK, LANES = 1 << 15, 8, 2
"""Parameters of scrypt for new passwords: some 32 MB, and a fifth of a second."""

MIN_PASSWORD = 8
MAX_PASSWORD = 1024
MAX_NAME = 255
MAX_MEMORY = 1 << 30
"""Bytes that the hash of one password may take to compute."""

TOKEN_PREFIX = "hld_"

_HEADER = """\
# Users of a holdall server. Edit this file with `holdall users`; a server sees changes within a second.
# Comments are not kept. Keep it private: hashes of weak passwords can be guessed.
"""
_KEYS = frozenset({"name", "role", "password", "tokens"})
_TOKEN = re.compile(r"sha256:[0-9a-f]{64}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class Role(StrEnum):
    """What a user may do; each includes those before it."""

    READER = "reader"
    WRITER = "writer"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, repr=False)
class PasswordHash:
    """What scrypt makes of a password.

    Attributes:
        cost: CPU and memory cost, a power of two (`N`).
        block: Block size (`r`).
        lanes: Parallelization (`p`).
        salt: Random bytes.
        key: The hash.
    """

    cost: int
    block: int
    lanes: int
    salt: bytes
    key: bytes

    @classmethod
    def of(cls, password: str, cost: int = COST, block: int = BLOCK, lanes: int = LANES) -> PasswordHash:
        """The hash of a new password, with a salt of its own."""
        salt = secrets.token_bytes(16)
        return cls(cost, block, lanes, salt, _scrypt(password, cost, block, lanes, salt))

    @classmethod
    def unguessable(cls, like: PasswordHash | None = None) -> PasswordHash:
        """A hash of no password that takes as long to verify as another one does, or as a new one."""
        cost, block, lanes = (like.cost, like.block, like.lanes) if like else (COST, BLOCK, LANES)
        return cls(cost, block, lanes, secrets.token_bytes(16), secrets.token_bytes(32))

    @classmethod
    def parse(cls, text: str) -> PasswordHash:
        """Read a hash as `str()` writes it.

        Raises:
            InvalidParameterValue: It is malformed, weaker than scrypt is meant to be, or would take too much memory.
        """
        match = re.fullmatch(r"scrypt:(\d{1,8}):(\d{1,3}):(\d{1,3}):([\w+/=]+):([\w+/=]+)", text, re.ASCII)
        if match is None:
            raise InvalidParameterValue("a password must be of the form scrypt:N:r:p:salt:key.")
        cost, block, lanes = (int(number) for number in match.group(1, 2, 3))
        try:
            salt, key = (b64decode(part, validate=True) for part in match.group(4, 5))
        except ValueError:
            raise InvalidParameterValue("salt and key of a password must be Base64.") from None
        if cost & (cost - 1) or cost < 1 << 10 or not block or not lanes or _memory(cost, block, lanes) > MAX_MEMORY:
            raise InvalidParameterValue("the parameters of scrypt are too weak, too costly, or make no sense.")
        if len(salt) < 8 or not 32 <= len(key) <= 64:
            raise InvalidParameterValue("the salt must have at least 8 bytes and the key 32 to 64.")
        return cls(cost, block, lanes, salt, key)

    def verify(self, password: str) -> bool:
        """Whether this is the password; takes as long whatever it is."""
        found = _scrypt(password, self.cost, self.block, self.lanes, self.salt, len(self.key))
        return hmac.compare_digest(found, self.key)

    def __str__(self) -> str:
        salt, key = (b64encode(part).decode() for part in (self.salt, self.key))
        return f"scrypt:{self.cost}:{self.block}:{self.lanes}:{salt}:{key}"


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who may use a server.

    Attributes:
        name: Unique, exact in case and form.
        role: What they may do.
        password: Its hash; None for no password.
        tokens: `sha256:` and the digest of each, in hexadecimal.
    """

    name: str
    role: Role
    password: PasswordHash | None = field(default=None, repr=False)
    tokens: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if not 0 < len(self.name) <= MAX_NAME or ":" in self.name or _CONTROL.search(self.name):
            raise InvalidParameterValue(
                f"Invalid user name {self.name[:100]!a}: 1 to {MAX_NAME} characters, no ':', no control characters."
            )


def new_token() -> str:
    """A token that nobody has."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def token_digest(token: str) -> str:
    """What is kept of a token. Tokens are random and long, so a fast hash is as good as a slow one."""
    return "sha256:" + hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def check_password(password: str) -> str:
    """The same password, if it may be one.

    Raises:
        InvalidParameterValue: It is too short, too long, or holds control characters.
    """
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise InvalidParameterValue(f"A password must have {MIN_PASSWORD} to {MAX_PASSWORD} characters.")
    if _CONTROL.search(password):
        raise InvalidParameterValue("A password must be of UTF-8 text without control characters.")
    return password


def load_users(file: Path) -> dict[str, User]:
    """The users in a file, by name.

    Raises:
        NotFound: There is no such file.
        InvalidParameterValue: It is malformed; nothing of it is used then.
    """
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFound(f"There is no file of users {file}; begin one with: holdall users add") from None
    except OSError as error:
        raise HoldallError(f"The file of users {file} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise InvalidParameterValue(f"The file of users {file} is not TOML in UTF-8: {error}.") from None
    entries = document.pop("users", [])
    if document or not isinstance(entries, list):
        raise InvalidParameterValue(f"The file of users {file} must hold [[users]] and nothing else.")
    found: dict[str, User] = {}
    for number, entry in enumerate(cast("list[object]", entries), start=1):
        try:
            user = _parse_user(entry)
            if user.name in found:
                raise InvalidParameterValue(f"{user.name!r} is there twice.")
        except InvalidParameterValue as error:
            raise InvalidParameterValue(f"User number {number} in {file}: {error.message}") from None
        found[user.name] = user
    return found


def save_users(file: Path, users: Iterable[User]) -> None:
    """Write a file of users that nobody else can read; it appears whole."""
    text = _HEADER + "".join(f"\n{_render_user(user)}" for user in sorted(users, key=lambda user: user.name))
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "w", encoding="utf-8") as output:
            output.write(text)
            output.flush()
            os.fsync(descriptor)
        draft.replace(file)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


@contextmanager
def edited_users(file: Path) -> Iterator[dict[str, User]]:
    """The users in a file, to be changed; saved at the end unless an error is raised. Two that edit take turns.

    Raises:
        InvalidParameterValue: The file is malformed.
    """
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        users = load_users(file) if file.exists() else {}
        yield users
        save_users(file, users.values())
    finally:
        os.close(folder)


def _parse_user(entry: object) -> User:
    if not isinstance(entry, dict) or not {"name", "role"} <= entry.keys() <= _KEYS:
        raise InvalidParameterValue("it must have name and role, may have password and tokens, and nothing else.")
    fields = cast("dict[str, object]", entry)
    name, role, password, tokens = (fields.get(key) for key in ("name", "role", "password", "tokens"))
    if not isinstance(name, str) or role not in list(Role):
        raise InvalidParameterValue(f"name must be text and role one of {', '.join(Role)}.")
    if password is not None and not isinstance(password, str):
        raise InvalidParameterValue("a password must be text.")
    hashed = None if password is None else PasswordHash.parse(password)
    return User(name, Role(cast(str, role)), hashed, _parse_tokens([] if tokens is None else tokens))


def _parse_tokens(tokens: object) -> tuple[str, ...]:
    listed = cast("list[object]", tokens) if isinstance(tokens, list) else [None]
    found = tuple(token for token in listed if isinstance(token, str) and _TOKEN.fullmatch(token))
    if len(found) < len(listed):
        raise InvalidParameterValue("tokens must be a list of sha256:<64 hexadecimal digits>.")
    return found


def _render_user(user: User) -> str:
    lines = ["[[users]]", f"name = {_quoted(user.name)}", f"role = {_quoted(user.role)}"]
    if user.password is not None:
        lines.append(f"password = {_quoted(str(user.password))}")
    if user.tokens:
        lines.append(f"tokens = [{', '.join(map(_quoted, user.tokens))}]")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A basic string of TOML; of what JSON writes otherwise, names have nothing."""
    return json.dumps(text, ensure_ascii=False)


def _memory(cost: int, block: int, lanes: int) -> int:
    return 128 * block * (cost + lanes + 2)


def _scrypt(password: str, cost: int, block: int, lanes: int, salt: bytes, length: int = 32) -> bytes:
    secret = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(
        secret, salt=salt, n=cost, r=block, p=lanes, maxmem=_memory(cost, block, lanes) + (1 << 20), dklen=length
    )
