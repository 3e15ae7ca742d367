"""Who asks, and whether they may: Basic and Bearer credentials against the file of users."""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import logging
import os
import secrets
import time
from base64 import b64decode
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from holdall.server.guards import is_loopback
from holdall.server.lanes import Lane
from holdall.server.messages import Request
from holdall.server.options import ServerOptions
from holdall.server.routes import Access
from holdall.server.throttle import Throttle
from holdall.stores.errors import HoldallError, PermissionDenied, Unauthenticated
from holdall.users import PasswordHash, Role, User, load_users, token_digest

__all__ = ["Gate", "warn_if_open"]

logger = logging.getLogger("holdall.server")

ROLES: Mapping[Role, Access] = {Role.READER: Access.READ, Role.WRITER: Access.WRITE, Role.ADMIN: Access.ADMIN}
"""What each role allows."""

REMEMBER_SECONDS = 300.0
"""How long a password that was right need not be hashed again."""

MOST_REMEMBERED = 10_000
LOOK_SECONDS = 1.0
"""How long a change of the file may go unnoticed."""

HASHING_THREADS = 2
MOST_HASHING = 100
"""Passwords that may wait to be hashed; more are told to come again."""

OF_USER = (10, 6.0)
OF_ADDRESS = (100, 1.0)
"""Wrong passwords at once, and seconds for each afterwards: for one user from one address, and from one address."""


def warn_if_open(options: ServerOptions) -> None:
    """Say so where everybody who reaches the server may do everything."""
    if options.auth_file is None and not is_loopback(options.host):
        logger.warning(
            "WARNING: everybody who can reach %s port %d may read, change and delete everything, since there is no "
            "--auth FILE. Begin one with: holdall users add FILE NAME --role admin",
            options.host,
            options.port,
        )


class Gate:
    """Lets those in whom the file of users names. To be made in the event loop of a worker.

    Args:
        file: Of the users.

    Raises:
        HoldallError: The file is missing or malformed.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._users: dict[str, User] = {}
        self._tokens: dict[str, User] = {}
        self._stamp = _stamp(file)
        self._looked = time.monotonic()
        self._secret = secrets.token_bytes(32)
        self._remembered: dict[bytes, tuple[User, float]] = {}
        self._pending: dict[bytes, asyncio.Task[User]] = {}
        self._of_user = Throttle(*OF_USER)
        self._of_address = Throttle(*OF_ADDRESS)
        self._nobody = PasswordHash.unguessable()
        self._use(load_users(file))
        self._lane = Lane("passwords", HASHING_THREADS, MOST_HASHING, batch=1)

    def close(self) -> None:
        """Let passwords that are being hashed be finished."""
        self._lane.close()

    async def admit(self, request: Request, needed: Access) -> None:
        """Find out who asks, before anything of the body is read, and note it in the request.

        Raises:
            Unauthenticated: No known user, or not their password or token.
            PermissionDenied: Their role does not allow it.
            TooManyAttempts: Too many passwords were wrong.
        """
        if needed is Access.PUBLIC:
            return
        self._look()
        header = request.headers.get(b"authorization")
        if header is None:
            raise Unauthenticated("This server wants a user name and a password, or a token.")
        user = await self._find(header, request.client)
        request.user = user.name
        if ROLES[user.role] < needed:
            lowest = next(role for role in Role if ROLES[role] >= needed)
            raise PermissionDenied(f"User {user.name!r} has the role {user.role}; this needs the role {lowest}.")

    async def _find(self, header: bytes, client: str) -> User:
        digest = hashlib.blake2b(header, key=self._secret, digest_size=32).digest()
        known = self._remembered.get(digest)
        if known is not None and known[1] > time.monotonic():
            return known[0]
        scheme, _, rest = header.partition(b" ")
        if scheme.lower() == b"bearer":
            return self._find_token(rest)
        if scheme.lower() != b"basic":
            raise Unauthenticated("Credentials must be of the scheme Basic or Bearer.")
        task = self._pending.get(digest)  # many connections that begin at once with one password hash it once
        if task is None:
            task = asyncio.create_task(self._find_password(rest, client, digest))
            self._pending[digest] = task
            task.add_done_callback(lambda _: self._pending.pop(digest, None))
        return await asyncio.shield(task)

    def _find_token(self, token: bytes) -> User:
        """Looking up digests tells by its time nothing from which a token could be guessed."""
        user = self._tokens.get(token_digest(token.strip().decode("latin-1")))
        if user is None:
            raise Unauthenticated("The token is unknown, or has been withdrawn.")
        return user

    async def _find_password(self, encoded: bytes, client: str, digest: bytes) -> User:
        name, password = _parse_basic(encoded)
        user = self._users.get(name)
        hashed = user.password if user is not None else None
        right = await self._try(hashed or self._nobody, password, name, _network(client))
        if user is None or hashed is None or not right or self._users.get(name) != user:
            logger.warning("Wrong password for user %.100r from %s.", name, client)
            raise Unauthenticated("The user name or the password is wrong.")
        self._remember(digest, user)
        return user

    async def _try(self, hashed: PasswordHash, password: str, name: str, address: str) -> bool:
        """Whether a password is right; a wrong one counts as an attempt."""
        self._of_user.take((address, name))
        self._of_address.take(address)
        wrong = False
        try:
            wrong = not await self._lane.run(partial(hashed.verify, password))
        finally:
            if not wrong:
                self._of_user.give_back((address, name))
                self._of_address.give_back(address)
        return not wrong

    def _remember(self, digest: bytes, user: User) -> None:
        while len(self._remembered) >= MOST_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[digest] = (user, time.monotonic() + REMEMBER_SECONDS)

    def _look(self) -> None:
        """Read the file again if it has changed; if it cannot be used, the users stay as they were."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        stamp = _stamp(self._file)
        if _is_same(stamp, self._stamp):
            return
        self._stamp = stamp
        try:
            self._use(load_users(self._file))
        except HoldallError as error:
            logger.error("%s The users are still those of before.", error.message)

    def _use(self, users: dict[str, User]) -> None:
        self._users = users
        self._tokens = {token: user for user in users.values() for token in user.tokens}
        known = (user.password for user in users.values() if user.password is not None)
        self._nobody = PasswordHash.unguessable(next(known, None))
        self._remembered.clear()
        logger.info("%d users in %s", len(users), self._file)
        if self._stamp is not None and self._stamp.st_mode & 0o077:
            logger.warning("Others can read %s, the file of users; chmod 600 it.", self._file)


def _stamp(file: Path) -> os.stat_result | None:
    """Differs when the file does."""
    try:
        return file.stat()
    except OSError:
        return None


def _is_same(one: os.stat_result | None, other: os.stat_result | None) -> bool:
    if one is None or other is None:
        return one is other
    return (one.st_ino, one.st_mtime_ns, one.st_size, one.st_mode) == (
        other.st_ino,
        other.st_mtime_ns,
        other.st_size,
        other.st_mode,
    )


def _parse_basic(encoded: bytes) -> tuple[str, str]:
    """Name and password, in UTF-8 as the standard asks, or in Latin-1 as some clients send them."""
    try:
        raw = b64decode(encoded.strip(), validate=True)
    except ValueError:
        raise Unauthenticated("The Basic credentials are malformed.") from None
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    name, colon, password = text.partition(":")
    if not colon or len(text) > 4096:
        raise Unauthenticated("The Basic credentials are malformed.")
    return name, password


def _network(client: str) -> str:
    """The address, or the network of a /64 that one household or machine has to itself."""
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return client
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return client
