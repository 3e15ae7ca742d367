"""Where the artifacts at a URI are: in which store, opened by the operator's own URI, and under which path.

A URI of a run comes from a client. Nothing of it is opened: it must lie below a root that the operator has named, then
that root is opened, with the operator's options and credentials, and only the path below it is the client's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from holdall.server.locations import is_within, roots_of
from holdall.server.options import PROXIED_ROOT
from holdall.server.service import Service
from holdall.stores.artifacts import ArtifactStore
from holdall.stores.errors import PermissionDenied, Unsupported
from holdall.stores.paths import validate_artifact_path
from holdall.stores.uri import StoreURI

__all__ = ["artifacts_at", "lend_artifacts_at", "served_artifacts"]

_PROXIED = StoreURI.parse(PROXIED_ROOT).scheme


def served_artifacts(service: Service) -> ArtifactStore:
    """The store of the artifacts that clients move through the server.

    Raises:
        Unsupported: There is none.
    """
    if service.artifacts is None:
        raise Unsupported(
            "This server moves no artifacts (it runs with --no-serve-artifacts); clients reach their store directly."
        )
    return service.artifacts


@contextmanager
def artifacts_at(service: Service, uri: str) -> Iterator[tuple[ArtifactStore, str]]:
    """The store that holds what is at a URI, and the folder in it; may block.

    Raises:
        PermissionDenied: The URI is below none of the roots of the server.
        InvalidParameterValue: It is malformed.
    """
    root, folder = _place(service, uri)
    if root is None:
        yield served_artifacts(service), folder
        return
    with service.run_artifacts.lend(root.render(hide_password=False)) as store:
        yield store, folder


@asynccontextmanager
async def lend_artifacts_at(service: Service, uri: str) -> AsyncIterator[tuple[ArtifactStore, str]]:
    """The same for the event loop: what may block is done in a thread."""
    loan = artifacts_at(service, uri)
    lent = await service.transfers.run(loan.__enter__)
    try:
        yield lent
    finally:
        await asyncio.to_thread(loan.__exit__, None, None, None)


def _place(service: Service, text: str) -> tuple[StoreURI | None, str]:
    """The root to open, None for that of the served artifacts; and the folder below it."""
    uri = StoreURI.parse(text).absolute()
    if uri.scheme == _PROXIED and not uri.host:
        return None, validate_artifact_path(uri.path.strip("/"))
    for root in (*roots_of(service.options), service.store.artifact_root.absolute()):
        if root.scheme != _PROXIED and is_within(uri, root):
            below = uri.path.rstrip("/")[len(root.path.rstrip("/")) :]
            return root, validate_artifact_path(below.strip("/"))
    raise PermissionDenied(
        f"The artifacts at {uri} are outside the roots of this server, which it does not leave; clients reach them "
        "directly, or the server is started with --default-artifact-root or --artifacts-destination above them."
    )
