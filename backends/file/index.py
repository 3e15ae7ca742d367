"""The index of a folder: what its runs are, kept so that a search need not read them again. Derived, never the truth.

Before each search the index is brought up to date. On a local disk the kernel tells which runs have changed since the
last time (`Watch`); elsewhere, and when an index is first opened, the stamps of all files are compared with those of
the last reading. A run whose files differ is read again. A file that was changed so shortly before it was read that its
stamp may stay the same at another change is not trusted to be unchanged.

Several processes may share an index: a run is read inside the transaction that writes it, so that no older reading
replaces a newer one.
"""

from __future__ import annotations

import hashlib
import json
import logging
import marshal
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from holdall.backends.file.experiments import ExperimentRecord, Experiments
from holdall.backends.file.files import Folder
from holdall.backends.file.index_place import NoIndex, index_files, index_places, is_temporary, remove_index
from holdall.backends.file.index_rows import (
    Entry,
    boot_of,
    collector_paused,
    create_tables,
    delete_runs,
    runs_of,
    write_runs,
)
from holdall.backends.file.journal import JOURNAL
from holdall.backends.file.keyed import Stamps
from holdall.backends.file.layout import DATASETS, INPUTS, METRICS, OUTPUTS, OWN, PARAMS, TAGS, is_run_name
from holdall.backends.file.locks import boot_id
from holdall.backends.file.runs import Runs
from holdall.backends.file.tree import Tree
from holdall.backends.file.watch import Watch, WatchLost, is_local_disk
from holdall.backends.sql.search import search_run_ids
from holdall.backends.sql.sqlite import SqliteDatabase, SqliteSession, open_database
from holdall.stores.entities import Run
from holdall.stores.errors import HoldallError
from holdall.stores.queries import RunQuery

__all__ = ["RunIndex"]

logger = logging.getLogger("holdall")

_UNSETTLED_NS = 2_000_000_000
"""Stamps newer than this may stay the same at another change: file systems count time in steps of up to two seconds."""

_MARSHAL = 2
"""Later versions of the format write equal values differently."""

_CHUNK = 500
"""Runs that are read in one transaction, so that other processes need not wait long."""

_WATCHED = ("", METRICS, PARAMS, TAGS, INPUTS, OUTPUTS, JOURNAL)
"""What is watched of a run, besides folders in these; of holdall's own writes the journal tells."""

Token = tuple[str, str | None]
"""What is watched: the id of an experiment, and of a run in it; `_FOLDER` for its folder, None for what runs share."""

_FOLDER = ""


@dataclass(slots=True)
class _Known:
    """What this process knows of an experiment in the index.

    Attributes:
        experiment_id: The experiment.
        number: Its number there.
        inode: Of its folder.
        facts: What its runs depend on.
        is_current: Whether all that changed since it was last compared is in `changed`.
        changed: Runs that changed since.
    """

    experiment_id: str
    number: int
    inode: int
    facts: str
    is_current: bool = False
    changed: set[str] = field(default_factory=set)


class RunIndex:
    """The index of one root, for one store; safe to share between threads.

    Args:
        tree: The folders.
        experiments: Reads experiments.
        runs: Reads runs.
        read_only: Whether the store is opened so: the index is then kept elsewhere than in its folder.
    """

    def __init__(self, tree: Tree, experiments: Experiments, runs: Runs, *, read_only: bool) -> None:
        self._tree = tree
        self._experiments = experiments
        self._runs = runs
        self._lock = threading.Lock()
        self._places = index_places(tree.root, read_only=read_only)
        self._path = ""
        self._database: SqliteDatabase | None = None
        self._watch: Watch[Token] | None = None
        self._may_watch = is_local_disk(tree.root)
        self._known: dict[str, _Known] = {}

    def search(self, query: RunQuery) -> list[Run]:
        """The page of a query.

        Raises:
            NoIndex: None can be kept anywhere.
        """
        while True:
            try:
                return self._search(query)
            except HoldallError as error:
                if not isinstance(error.__cause__, sqlite3.Error):
                    raise
                with self._lock:
                    self._give_up(error)

    def facts(self) -> dict[str, str]:
        """For people."""
        with self._lock:
            self._open()
            followed = "by inotify" if self._watch_now() is not None else "by comparing the stamps of all files"
            return {"index": self._path, "changes found": followed}

    def close(self) -> None:
        """Give back files; an index that was for this process alone is removed."""
        with self._lock:
            self._stop_watching()
            if self._database is not None:
                self._database.close()
                self._database = None
                if is_temporary(self._path):
                    remove_index(self._path)

    def _search(self, query: RunQuery) -> list[Run]:
        with self._lock:
            database = self._open()
            numbers = tuple(str(number) for number in self._refresh(database, query.experiment_ids))
        if not numbers:
            return []
        wanted = replace(query, experiment_ids=numbers)
        return database.read(lambda session: runs_of(session, search_run_ids(session, wanted)))

    # Opening, and opening elsewhere

    def _open(self) -> SqliteDatabase:
        while self._database is None:
            self._path = self._path or next(self._places, "")
            if not self._path:
                raise NoIndex
            if any(os.path.islink(path) for path in index_files(self._path)):
                logger.warning("The search index %s is a link, which is not followed", self._path)
                self._path = ""
                continue
            try:
                database = open_database(self._path)
                if (kept_since := database.read(boot_of)) is None:
                    database.write(partial(create_tables, boot_id()))
                elif kept_since != boot_id():  # it was not flushed to the disk before the machine went down
                    database.close()
                    remove_index(self._path)
                    continue
            except HoldallError as error:
                self._give_up(error)
                continue
            self._database = database
        return self._database

    def _give_up(self, error: HoldallError) -> None:
        """Begin a new index in this place, if it is damaged; else in the next."""
        if self._database is not None:
            self._database.close()
            self._database = None
        self._known.clear()
        code = getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF
        logger.warning("The search index %s is given up: %s", self._path, error)
        damaged = code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)
        if damaged and os.path.exists(self._path):
            try:
                remove_index(self._path)
            except OSError:
                self._path = ""
        else:
            self._path = ""

    # Watching

    def _watch_now(self) -> Watch[Token] | None:
        """The watch, if there can be one; one that was inherited through a fork belongs to the parent."""
        if self._watch is not None and self._watch.pid != os.getpid():
            self._stop_watching()
        if self._watch is None and self._may_watch:
            try:
                self._watch = Watch()
            except WatchLost as lost:
                self._watch_no_more(lost)
        return self._watch

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        for known in self._known.values():
            known.is_current = False
            known.changed.clear()

    def _watch_no_more(self, lost: WatchLost) -> None:
        logger.info("Changes in %s are found by comparing stamps: %s", self._tree.root, lost)
        self._may_watch = False
        self._stop_watching()

    def _take_events(self) -> None:
        """Note what has changed since the last time."""
        watch = self._watch_now()
        if watch is None:
            return
        try:
            for (experiment_id, run_id), name in watch.events():
                known = self._known.get(experiment_id)
                if known is None:
                    continue
                if run_id is None or (run_id == _FOLDER and not name):
                    known.is_current = False
                elif run_id != _FOLDER:
                    known.changed.add(run_id)
                elif is_run_name(name):
                    known.changed.add(name)
                elif name == DATASETS:
                    known.is_current = False
        except WatchLost:
            self._stop_watching()

    def _watch_run(self, experiment_id: str, path: str, run_id: str) -> None:
        watch = self._watch
        if watch is None:
            return
        token = experiment_id, run_id
        for name in _WATCHED:
            is_there = watch.add(f"{self._tree.root}/{path}/{run_id}/{name}".rstrip("/"), token)
            if name == JOURNAL and not is_there:  # there may be a folder for it, left by a writer that died
                watch.add(f"{self._tree.root}/{path}/{run_id}/{OWN}", token)

    def _watch_also(self, known: _Known, path: str, run_id: str, stamps: Stamps) -> bool:
        """Watch what a reading came upon besides the usual: folders in folders, datasets; whether there was any."""
        watch = self._watch
        folders = {name.rpartition("/")[0] for name, _ in stamps} - {*_WATCHED, OWN}
        if watch is None or not folders:
            return False
        for name in folders:
            is_shared = name.startswith("../")
            token = (known.experiment_id, None if is_shared else run_id)
            if not watch.add(os.path.normpath(f"{self._tree.root}/{path}/{run_id}/{name}"), token) and is_shared:
                known.changed.add(run_id)  # a dataset that is missing: nobody tells when it comes
        return True

    # Refreshing

    def _refresh(self, database: SqliteDatabase, experiment_ids: Iterable[str]) -> list[int]:
        """Bring the index up to date for some experiments; their numbers in it."""
        self._take_events()
        numbers: list[int] = []
        for experiment_id in experiment_ids:
            with self._tree.experiment(experiment_id) as opened:
                record = None if opened is None else self._experiments.try_brief(*opened, experiment_id)
                if opened is None or record is None:
                    self._known.pop(experiment_id, None)
                    continue
                try:
                    numbers.append(self._refresh_experiment(database, *opened, record))
                except WatchLost as lost:
                    self._watch_no_more(lost)
                    numbers.append(self._refresh_experiment(database, *opened, record))
                except BaseException:
                    self._known.pop(experiment_id, None)
                    raise
        return numbers

    def _refresh_experiment(self, database: SqliteDatabase, folder: Folder, path: str, record: ExperimentRecord) -> int:
        experiment_id = record.entity.experiment_id
        inode = os.fstat(folder.fd).st_ino
        facts = json.dumps([record.entity.artifact_location, repr(record.transition)])
        known = self._known.get(experiment_id)
        if known is None:
            number = database.write(lambda session: _number(session, experiment_id))
            known = self._known[experiment_id] = _Known(experiment_id, number, inode, "")
        if not known.is_current or (known.inode, known.facts) != (inode, facts):
            known.changed.clear()
            self._compare_all(database, folder, path, record, known, facts)
            known.inode, known.facts = inode, facts
            known.is_current = self._watch is not None
        elif known.changed:
            changed = sorted(known.changed)
            known.changed.clear()
            for chunk in _chunks(changed):
                database.write(partial(self._read_again, folder, path, record, known, chunk))
        return known.number

    def _compare_all(
        self,
        database: SqliteDatabase,
        folder: Folder,
        path: str,
        record: ExperimentRecord,
        known: _Known,
        facts: str,
    ) -> None:
        """Read again those runs whose files are not as they were, and forget those that are gone."""
        experiment_id = record.entity.experiment_id
        if self._watch is not None:
            self._watch.add(f"{self._tree.root}/{path}", (experiment_id, _FOLDER))
        signatures = database.write(partial(self._take_stock, folder, experiment_id, known.number, facts))
        for chunk in _chunks(list(signatures)):
            changed = []
            for run_id in chunk:
                signature = signatures[run_id]
                if signature is None or signature != self._signature(folder, path, run_id, known):
                    changed.append(run_id)
            if changed:
                database.write(partial(self._read_again, folder, path, record, known, changed))

    def _take_stock(
        self, folder: Folder, experiment_id: str, number: int, facts: str, session: SqliteSession
    ) -> dict[str, bytes | None]:
        """The runs there are, with the signatures that can be trusted; what is indexed of others is removed.

        The folder is listed within the transaction: what another process has indexed before it is in the list.
        """
        _set_facts(session, number, facts)
        indexed: dict[str, bytes | None] = dict(
            session.text("SELECT run_id, signature FROM entries WHERE experiment = ?", (experiment_id,))
        )
        run_ids = self._tree.run_ids(folder)
        delete_runs(session, indexed.keys() - set(run_ids))
        return {run_id: indexed.get(run_id) for run_id in run_ids}

    def _signature(self, folder: Folder, path: str, run_id: str, known: _Known) -> bytes | None:
        """The signature of a run's files as they are, which are watched from before they were looked at."""
        self._watch_run(known.experiment_id, path, run_id)
        stamps = self._runs.stamps(folder, run_id)
        if stamps is not None and self._watch_also(known, path, run_id, stamps):
            stamps = self._runs.stamps(folder, run_id)
        return None if stamps is None else _sign(stamps)

    def _read_again(
        self,
        folder: Folder,
        path: str,
        record: ExperimentRecord,
        known: _Known,
        run_ids: Sequence[str],
        session: SqliteSession,
    ) -> None:
        with collector_paused():
            entries = list(self._entries(folder, path, record, known, run_ids))
            delete_runs(session, run_ids)
            write_runs(session, known.number, entries)

    def _entries(
        self, folder: Folder, path: str, record: ExperimentRecord, known: _Known, run_ids: Sequence[str]
    ) -> Iterator[Entry]:
        for run_id in run_ids:
            self._watch_run(known.experiment_id, path, run_id)
            reading = self._runs.read(folder, run_id, record)
            if self._watch_also(known, path, run_id, reading.stamps):
                reading = self._runs.read(folder, run_id, record)
            if reading.run is not None:
                yield reading.run, _sign(reading.stamps)


def _sign(stamps: Stamps) -> bytes | None:
    """A digest of stamps; None if one is too new to be trusted."""
    if max((stamp[2] for _, stamp in stamps), default=0) > time.time_ns() - _UNSETTLED_NS:
        return None
    return hashlib.blake2b(marshal.dumps(sorted(stamps), _MARSHAL), digest_size=16).digest()


def _number(session: SqliteSession, experiment_id: str) -> int:
    session.text("INSERT OR IGNORE INTO experiments (experiment, facts) VALUES (?, '')", (experiment_id,))
    [(number,)] = session.text("SELECT number FROM experiments WHERE experiment = ?", (experiment_id,))
    return int(number)


def _set_facts(session: SqliteSession, number: int, facts: str) -> None:
    """Note what the runs depend on; where that has changed, none of them is trusted."""
    [(known,)] = session.text("SELECT facts FROM experiments WHERE number = ?", (number,))
    if known != facts:
        session.text(
            "UPDATE entries SET signature = NULL WHERE experiment = "
            "(SELECT experiment FROM experiments WHERE number = ?)",
            (number,),
        )
        session.text("UPDATE experiments SET facts = ? WHERE number = ?", (facts, number))


def _chunks(items: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(items), _CHUNK):
        yield items[start : start + _CHUNK]
