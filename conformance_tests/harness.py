"""Harnesses: where the suite finds the store under test, and how it gets behind the store's back."""

from __future__ import annotations

import dataclasses
import itertools
from abc import ABC, abstractmethod
from pathlib import Path

from holdall.stores import BackendStore, InvalidParameterValue, Metric, StoreURI, Unsupported, open_backend_store

__all__ = ["PLACEHOLDER", "BackendHarness", "RawAccess", "UriHarness", "place_uri"]

PLACEHOLDER = "{tmp}"
"""In a URI: a fresh, empty folder of each test, as an absolute path."""


class RawAccess:
    """Ways to the storage that do not use the store under test, so that it cannot vouch for itself.

    Override what your storage allows. A hook that is not overridden selects away the tests that need it; the run says
    so. A hook opens and closes what it needs by itself: the store may be open or closed when it is called.
    """

    def metric_points(self, run_id: str) -> list[Metric]:
        """Every stored point of a run, one for each row, with values decoded to what they mean."""
        raise NotImplementedError

    def write_metric_point(self, run_id: str, metric: Metric) -> None:
        """Store a point of an existing run as another program would."""
        raise NotImplementedError

    def params(self, run_id: str) -> dict[str, str]:
        """The stored params of a run."""
        raise NotImplementedError

    def tags(self, run_id: str) -> dict[str, str]:
        """The stored tags of a run."""
        raise NotImplementedError

    def counts(self) -> dict[str, int]:
        """How many things there are, by table, file or the like."""
        raise NotImplementedError

    def digest(self) -> str:
        """A digest of all that is stored: another one after any write, the same after none."""
        raise NotImplementedError

    def provides(self, hook: str) -> bool:
        """Whether this class overrides a hook."""
        return getattr(type(self), hook) is not getattr(RawAccess, hook)


class BackendHarness(ABC):
    """One place for a backend store, made anew for each test.

    Attributes:
        isolated: Whether the place is empty at first and this test's alone. Tests that need it are selected away where
            it is not; all others use names of their own.
        uri: What another process opens the same place by; None if none can.
        artifact_root: Parent of artifact locations, given on opening; None for the store's choice.
        raw: Access to the storage behind the store's back.
    """

    isolated: bool = True
    uri: str | None = None
    artifact_root: str | None = None
    raw: RawAccess = RawAccess()

    @abstractmethod
    def open(self, *, read_only: bool = False, create: bool = True) -> BackendStore:
        """Open the store at this place; may be called several times, also while it is open."""

    def another(self) -> BackendHarness:
        """A harness for another fresh place of the same kind; needed where `isolated` is set and places persist."""
        raise Unsupported(f"{type(self).__name__} makes no other places; set isolated = False.")


class UriHarness(BackendHarness):
    """A place named by a URI, opened as any user would open it.

    Args:
        template: A URI; `{tmp}` in it stands for `folder`. Without it all tests share one store, unless the store is
            not persistent.
        folder: An empty folder.
        artifact_root: Parent of artifact locations; `{tmp}` as above.
    """

    def __init__(self, template: str, folder: Path, artifact_root: str | None = None) -> None:
        self._template, self._folder, self._root_template = template, folder, artifact_root
        self._numbers = itertools.count()
        self.uri = place_uri(template, folder)
        self.artifact_root = None if artifact_root is None else place_uri(artifact_root, folder)
        self.isolated = PLACEHOLDER in template

    def open(self, *, read_only: bool = False, create: bool = True) -> BackendStore:
        assert self.uri is not None
        store = open_backend_store(self.uri, artifact_root=self.artifact_root, read_only=read_only, create=create)
        self.isolated = self.isolated or not store.capabilities.persistent
        return store

    def another(self) -> UriHarness:
        folder = self._folder / f"another-{next(self._numbers)}"
        folder.mkdir()
        return type(self)(self._template, folder, self._root_template)


def place_uri(template: str, folder: Path) -> str:
    """A URI with the absolute path of `folder` in place of `{tmp}`, quoted as its scheme needs it."""
    if PLACEHOLDER not in template:
        return template
    uri = StoreURI.parse(template.replace(f"://{PLACEHOLDER}", f":///{PLACEHOLDER}"))
    before, _, after = uri.path.partition(PLACEHOLDER)
    if before not in ("", "/", "./"):
        raise InvalidParameterValue(f"Invalid URI {uri}: {PLACEHOLDER} is an absolute path and must begin the path.")
    return dataclasses.replace(uri, path=f"{folder.resolve()}{after}").render(hide_password=False)
