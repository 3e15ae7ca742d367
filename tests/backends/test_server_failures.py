"""Servers and networks that fail: what was called happens once, or an error says that it did not, and what to do."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tests.backends.server_harness import ServerHarness, held, open_transactions, until, waiting
from tests.backends.wire import Wire

from holdall.conformance_tests.emulators import DatabaseServer, new_server, shared_server
from holdall.stores import (
    BackendStore,
    Dataset,
    DatasetInput,
    ExperimentTag,
    HoldallError,
    InvalidParameterValue,
    Metric,
    MissingExtra,
    NotFound,
    Param,
    ReadOnly,
    RunTag,
    TemporarilyUnavailable,
    Unauthenticated,
    ViewType,
    open_backend_store,
)

pytestmark = pytest.mark.extras

SCHEMES = ["postgresql", "mariadb"]


@pytest.fixture(params=SCHEMES)
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServerHarness]:
    """An empty database."""
    harness = ServerHarness(shared_server(request.param), tmp_path)
    yield harness
    harness.remove()


@pytest.fixture
def wire(harness: ServerHarness) -> Iterator[Wire]:
    with Wire(harness.server.port) as wire:
        yield wire


@pytest.fixture
def uri(harness: ServerHarness, wire: Wire) -> str:
    return harness.server.uri(harness.database, port=wire.port)


@pytest.fixture
def store(uri: str) -> Iterator[BackendStore]:
    with open_backend_store(uri) as opened:
        yield opened


# Connections that break


@dataclass(frozen=True)
class Call:
    """A call, and what it leaves.

    Attributes:
        act: Makes the call on a run and its experiment.
        effect: Looks for what it left.
        expected: What is found when it was done once.
        prepare: What must be done before.
        end: Text that is in the request that ends its transaction, and in none before.
    """

    act: Callable[[BackendStore, str, str], object]
    effect: Callable[[BackendStore, str, str], object]
    expected: object
    prepare: Callable[[BackendStore, str, str], object] = lambda store, run_id, experiment: None
    end: bytes = b"COMMIT"


BATCH = ([Metric(f"m{place}", place / 7, 1, place) for place in range(20)], [Param("p", "1")], [RunTag("t", "1")])


def _data(store: BackendStore, run_id: str, experiment: str) -> object:
    data = store.get_run(run_id).data
    points = [len(store.get_metric_history(run_id, key)) for key in data.metrics]
    return (sum(points), data.metrics.get("m19"), data.params, data.tags.get("t"))


def _stages(store: BackendStore, run_id: str, experiment: str) -> object:
    return store.get_experiment(experiment).lifecycle_stage, store.get_run(run_id).info.lifecycle_stage


def _names(store: BackendStore, run_id: str, experiment: str) -> object:
    return sorted(found.name for found in store.search_experiments(ViewType.ALL))


def _experiment_tags(store: BackendStore, run_id: str, experiment: str) -> object:
    return dict(store.get_experiment(experiment).tags)


CALLS = {
    "create_experiment": Call(
        lambda store, run_id, experiment: store.create_experiment("new", tags=[ExperimentTag("a", "b")]),
        _names,
        ["Default", "named", "new"],
    ),
    "rename_experiment": Call(
        lambda store, run_id, experiment: store.rename_experiment(experiment, "renamed"),
        _names,
        ["Default", "renamed"],
    ),
    "delete_experiment": Call(
        lambda store, run_id, experiment: store.delete_experiment(experiment), _stages, ("deleted", "deleted")
    ),
    "restore_experiment": Call(
        lambda store, run_id, experiment: store.restore_experiment(experiment),
        _stages,
        ("active", "active"),
        lambda store, run_id, experiment: store.delete_experiment(experiment),
    ),
    "set_experiment_tag": Call(
        lambda store, run_id, experiment: store.set_experiment_tag(experiment, ExperimentTag("a", "b")),
        _experiment_tags,
        {"a": "b"},
    ),
    "delete_experiment_tag": Call(
        lambda store, run_id, experiment: store.delete_experiment_tag(experiment, "a"),
        _experiment_tags,
        {},
        lambda store, run_id, experiment: store.set_experiment_tag(experiment, ExperimentTag("a", "b")),
    ),
    "create_run": Call(
        lambda store, run_id, experiment: store.create_run(experiment, tags=[RunTag("a", "b")], run_name="second"),
        lambda store, run_id, experiment: sorted(
            run.data.tags.get("a", "") for run in store.search_runs([experiment]) if run.info.run_id != run_id
        ),
        ["b"],
        end=b"INSERT INTO runs",
    ),
    "update_run_info": Call(
        lambda store, run_id, experiment: store.update_run_info(run_id, run_name="other", end_time=5),
        lambda store, run_id, experiment: (store.get_run(run_id).info.run_name, store.get_run(run_id).info.end_time),
        ("other", 5),
    ),
    "delete_run": Call(lambda store, run_id, experiment: store.delete_run(run_id), _stages, ("active", "deleted")),
    "restore_run": Call(
        lambda store, run_id, experiment: store.restore_run(run_id),
        _stages,
        ("active", "active"),
        lambda store, run_id, experiment: store.delete_run(run_id),
    ),
    "log_metric": Call(
        lambda store, run_id, experiment: store.log_metric(run_id, BATCH[0][19]),
        _data,
        (1, 19 / 7, {}, None),
        end=b"latest_metrics",
    ),
    "log_metrics": Call(
        lambda store, run_id, experiment: store.log_batch(run_id, BATCH[0]),
        _data,
        (20, 19 / 7, {}, None),
        end=b"latest_metrics",
    ),
    "log_batch": Call(
        lambda store, run_id, experiment: store.log_batch(run_id, *BATCH), _data, (20, 19 / 7, {"p": "1"}, "1")
    ),
    "log_param": Call(
        lambda store, run_id, experiment: store.log_param(run_id, BATCH[1][0]),
        _data,
        (0, None, {"p": "1"}, None),
        end=b"INSERT",
    ),
    "set_tag": Call(
        lambda store, run_id, experiment: store.set_tag(run_id, BATCH[2][0]), _data, (0, None, {}, "1"), end=b"INSERT"
    ),
    "delete_tag": Call(
        lambda store, run_id, experiment: store.delete_tag(run_id, "t"),
        _data,
        (0, None, {}, None),
        lambda store, run_id, experiment: store.set_tag(run_id, BATCH[2][0]),
    ),
    "log_inputs": Call(
        lambda store, run_id, experiment: store.log_inputs(run_id, [DatasetInput(Dataset("d", "1", "local", "{}"))]),
        lambda store, run_id, experiment: [found.dataset.name for found in store.get_run(run_id).inputs.dataset_inputs],
        ["d"],
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_call_whose_acknowledgement_is_lost_succeeds_and_happens_once(
    store: BackendStore, wire: Wire, name: str
) -> None:
    """The connection breaks when COMMIT was sent and is not answered: the call is made again by itself."""
    call = CALLS[name]
    experiment = store.create_experiment("named")
    run_id = store.create_run(experiment).info.run_id
    call.prepare(store, run_id, experiment)
    connections = wire.connections
    wire.lose_next_answer(call.end)
    call.act(store, run_id, experiment)
    assert wire.connections == connections + 1
    assert call.effect(store, run_id, experiment) == call.expected


@pytest.mark.parametrize("name", CALLS)
def test_call_on_connection_that_broke_while_idle_succeeds(store: BackendStore, wire: Wire, name: str) -> None:
    call = CALLS[name]
    experiment = store.create_experiment("named")
    run_id = store.create_run(experiment).info.run_id
    call.prepare(store, run_id, experiment)
    wire.cut()
    call.act(store, run_id, experiment)
    wire.cut()
    assert call.effect(store, run_id, experiment) == call.expected


@pytest.mark.parametrize(
    "name", ["log_metric", "log_metrics", "log_batch", "delete_tag", "update_run_info", "delete_run"]
)
def test_call_whose_connection_breaks_in_the_middle_of_a_statement_happens_once(
    store: BackendStore, harness: ServerHarness, wire: Wire, name: str
) -> None:
    call = CALLS[name]
    experiment = store.create_experiment("named")
    run_id = store.create_run(experiment).info.run_id
    call.prepare(store, run_id, experiment)
    with ThreadPoolExecutor(1) as threads:
        with held(harness, run_id):
            done = threads.submit(call.act, store, run_id, experiment)
            until(lambda: waiting(harness) > 0)
            connections = wire.connections
            wire.cut()
            until(lambda: wire.connections > connections)
        done.result(60)
    assert call.effect(store, run_id, experiment) == call.expected


def test_call_with_pre_ping_finds_dead_connections_before_they_are_used(uri: str, wire: Wire) -> None:
    with open_backend_store(f"{uri}?pool_pre_ping=true&retry_timeout=0") as store:
        run_id = store.create_run("0").info.run_id
        wire.cut()
        store.log_metric(run_id, Metric("m", 1.0, 1))
        assert store.get_run(run_id).data.metrics == {"m": 1.0}


def test_use_of_pool_full_of_dead_connections_costs_one_failure(store: BackendStore, wire: Wire) -> None:
    """When one connection turns out to be dead, others that are as old are not tried."""
    run_id = store.create_run("0").info.run_id
    with ThreadPoolExecutor(5) as threads:
        list(threads.map(lambda _: store.get_run(run_id), range(50)))
    wire.cut()
    connections = wire.connections
    for value in range(2):
        store.set_tag(run_id, RunTag("t", str(value)))
    assert wire.connections <= connections + 2


def test_read_while_a_table_is_made_succeeds(store: BackendStore, harness: ServerHarness) -> None:
    """MariaDB refuses to read a table newer than the view, as another process's creation: the call begins anew."""
    from holdall.backends.sql.database import Session
    from holdall.backends.sql.store import SqlBackendStore

    assert isinstance(store, SqlBackendStore)
    attempts = 0

    def work(session: Session) -> int:
        nonlocal attempts
        attempts += 1
        session.text("SELECT count(*) FROM experiments")
        if attempts == 1:
            _execute(harness, "CREATE TABLE fresh (number INTEGER)")
        return int(session.text("SELECT count(*) FROM fresh")[0][0])

    assert store._database.read(work) == 0
    assert attempts == (2 if harness.server.scheme == "mariadb" else 1)


# Servers that stop


@pytest.fixture(params=SCHEMES, scope="module")
def own(request: pytest.FixtureRequest) -> Iterator[DatabaseServer]:
    """A server that may be stopped."""
    server = new_server(request.param)
    server.start()
    yield server
    server.remove()


def test_call_while_server_is_stopped_waits_and_succeeds_when_it_is_back(own: DatabaseServer) -> None:
    calls = ("log_batch", "create_run", "create_experiment", "delete_tag", "set_tag")
    with open_backend_store(own.uri(own.create_database())) as store, ThreadPoolExecutor(len(calls)) as threads:
        experiment = store.create_experiment("named")
        runs = {name: store.create_run(experiment).info.run_id for name in calls}
        for name, run_id in runs.items():
            CALLS[name].prepare(store, run_id, experiment)
        own.stop()
        pending = {name: threads.submit(CALLS[name].act, store, run_id, experiment) for name, run_id in runs.items()}
        assert wait(pending.values(), timeout=0.3).done == set()
        own.start()
        for future in pending.values():
            future.result(60)
        for name in ("log_batch", "create_experiment", "delete_tag", "set_tag"):
            assert CALLS[name].effect(store, runs[name], experiment) == CALLS[name].expected
        assert len(store.search_runs([experiment])) == len(calls) + 1


@pytest.mark.parametrize("patience", ["0", "0.3"])
def test_call_while_server_is_stopped_for_longer_is_temporarily_unavailable(own: DatabaseServer, patience: str) -> None:
    with open_backend_store(f"{own.uri(own.create_database())}?retry_timeout={patience}") as store:
        experiment = store.create_experiment("named")
        run_id = store.create_run(experiment).info.run_id
        before = {name: call.effect(store, run_id, experiment) for name, call in CALLS.items()}
        own.stop()
        try:
            for name in ("log_batch", "create_run", "set_tag", "rename_experiment"):
                with pytest.raises(TemporarilyUnavailable, match="cannot be reached") as raised:
                    CALLS[name].act(store, run_id, experiment)
                assert raised.value.http_status == 503
                assert own.password not in _told(raised.value)
            with pytest.raises(TemporarilyUnavailable):
                store.get_run(run_id)
        finally:
            own.start()
        assert {name: _eventually(call, store, run_id, experiment) for name, call in CALLS.items()} == before
        store.log_batch(run_id, *BATCH)
        assert store.get_run(run_id).data.params == {"p": "1"}


def _eventually(call: Call, store: BackendStore, run_id: str, experiment: str) -> object:
    """What is found, however many connections turn out to be dead first."""
    while True:
        try:
            return call.effect(store, run_id, experiment)
        except TemporarilyUnavailable:
            continue


# Opening


def _told(error: BaseException) -> str:
    return "".join([str(error), repr(error), *traceback.format_exception(error)])


SECRET = "hunter2-secret"

OPENINGS: dict[str, tuple[str, type[HoldallError], str, str]] = {
    "wrong password": ("{scheme}://{user}:" + SECRET + "@{where}/{database}", Unauthenticated, "UNAUTHENTICATED", ""),
    "unknown user": ("{scheme}://nobody9:" + SECRET + "@{where}/{database}", Unauthenticated, "UNAUTHENTICATED", ""),
    "no password": ("{scheme}://{user}@{where}/{database}", Unauthenticated, "UNAUTHENTICATED", ""),
    "unknown database": ("{account}@{where}/nowhere", NotFound, "RESOURCE_DOES_NOT_EXIST", "CREATE DATABASE"),
    "no database": ("{account}@{where}", InvalidParameterValue, "INVALID_PARAMETER_VALUE", "names no database"),
    "no database, slash": ("{account}@{where}/", InvalidParameterValue, "INVALID_PARAMETER_VALUE", "no database"),
    "two names": ("{account}@{where}/a/b", InvalidParameterValue, "INVALID_PARAMETER_VALUE", "names no database"),
    "unknown option": ("{good}?pool_sise=3", InvalidParameterValue, "INVALID_PARAMETER_VALUE", "pool_sise"),
    "no number": ("{good}?pool_size=x", InvalidParameterValue, "INVALID_PARAMETER_VALUE", "pool_size"),
    "nothing kept": ("{good}?pool_size=0", InvalidParameterValue, "INVALID_PARAMETER_VALUE", "pool_size"),
    "not a number": ("{good}?retry_timeout=nan", InvalidParameterValue, "INVALID_PARAMETER_VALUE", "retry_timeout"),
    "no flag": ("{good}?pool_pre_ping=maybe", InvalidParameterValue, "INVALID_PARAMETER_VALUE", "pool_pre_ping"),
    "option twice": ("{good}?pool_size=1&pool_size=2", InvalidParameterValue, "INVALID_PARAMETER_VALUE", "pool_size"),
    "two passwords": ("{good}?password_file=/x", InvalidParameterValue, "INVALID_PARAMETER_VALUE", "source"),
    "unknown driver": ("{good+nodriver}", InvalidParameterValue, "INVALID_PARAMETER_VALUE", "known drivers"),
    "wrong port": ("{account}@127.0.0.1:1/{database}", TemporarilyUnavailable, "TEMPORARILY_UNAVAILABLE", "reached"),
    "wrong host": (
        "{account}@nowhere.invalid/{database}",
        TemporarilyUnavailable,
        "TEMPORARILY_UNAVAILABLE",
        "reached",
    ),
}


@pytest.mark.parametrize("name", OPENINGS)
def test_open_wrong_says_at_once_what_is_wrong_and_no_password(
    harness: ServerHarness, wire: Wire, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    template, kind, code, words = OPENINGS[name]
    server = harness.server
    good = server.uri(harness.database, port=wire.port)
    account = good.partition("@")[0]
    uri = template.replace("{good+nodriver}", good.replace("://", "+nodriver://", 1)).format(
        scheme=server.scheme,
        user=server.user,
        account=account,
        where=f"127.0.0.1:{wire.port}",
        database=harness.database,
        good=good,
    )
    with caplog.at_level(logging.DEBUG), pytest.raises(kind, match=words or None) as raised:
        open_backend_store(uri)
    assert raised.value.error_code == code
    assert wire.connections <= 1, "it was tried again"
    for text in (_told(raised.value), caplog.text):
        assert SECRET not in text
        assert server.password not in text
    assert harness.raw.counts() == {}


@pytest.mark.parametrize("name", ["wrong password", "wrong port", "unknown option"])
def test_show_info_of_store_that_cannot_be_opened_tells_no_password(harness: ServerHarness, name: str) -> None:
    where = "127.0.0.1:1" if name == "wrong port" else f"127.0.0.1:{harness.server.port}"
    option = "?x=1" if name == "unknown option" else ""
    uri = f"{harness.server.scheme}://{harness.server.user}:{SECRET}@{where}/{harness.database}{option}"
    done = _info(uri)
    assert done.returncode != 0
    assert done.stderr
    assert SECRET not in done.stdout + done.stderr


def test_show_info_of_store_tells_no_password(harness: ServerHarness) -> None:
    assert harness.uri is not None
    open_backend_store(harness.uri).close()
    done = _info(harness.uri)
    assert done.returncode == 0, done.stderr
    assert harness.database in done.stdout
    assert harness.server.password not in done.stdout + done.stderr


def _info(uri: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from holdall.cli import main; main()", "--debug", "info", uri]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    ("uri", "module", "remedy"),
    [
        ("postgresql://u:p@127.0.0.1/d", "psycopg", "holdall[postgres]"),
        ("postgresql+psycopg2://u:p@127.0.0.1/d", "psycopg2", "psycopg2-binary"),
        ("mysql://u:p@127.0.0.1/d", "pymysql", "holdall[mysql]"),
        ("mariadb://u:p@127.0.0.1/d", "pymysql", "holdall[mysql]"),
        ("mysql+mysqldb://u:p@127.0.0.1/d", "MySQLdb", "mysqlclient"),
    ],
)
def test_open_without_driver_names_what_to_install(
    monkeypatch: pytest.MonkeyPatch, uri: str, module: str, remedy: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=r"pip install") as raised:
        open_backend_store(uri)
    assert remedy in str(raised.value)
    assert ":p@" not in _told(raised.value)


def test_open_with_password_of_every_character_works(harness: ServerHarness) -> None:
    password = "a b/ö?#@:%'\\\"&=+"
    with _user(harness, password) as user:
        uri = harness.server.uri(harness.database).partition("@")[2]
        account = f"{user}:{quote(password, safe='')}"
        with open_backend_store(f"{harness.server.scheme}://{account}@{uri}") as store:
            assert password not in f"{store!r} {store.uri} {store.describe()}"


# Pools


def test_call_while_all_connections_are_in_use_says_how_to_have_more(uri: str, harness: ServerHarness) -> None:
    options = "pool_size=1&max_overflow=0&pool_timeout=0.2"
    with open_backend_store(f"{uri}?{options}") as store, ThreadPoolExecutor(1) as threads:
        run_id = store.create_run("0").info.run_id
        with held(harness, run_id):
            pending = threads.submit(store.log_metric, run_id, Metric("m", 1.0, 1))
            until(lambda: waiting(harness) > 0)
            with pytest.raises(TemporarilyUnavailable, match="pool_size") as raised:
                store.get_experiment("0")
            assert harness.server.password not in _told(raised.value)
        pending.result(60)
        assert store.get_run(run_id).data.metrics == {"m": 1.0}


def test_call_after_recycling_takes_a_new_connection(uri: str, wire: Wire) -> None:
    with open_backend_store(f"{uri}?pool_recycle=0") as store:
        connections = wire.connections
        for _ in range(3):
            store.get_experiment("0")
        assert wire.connections == connections + 3


# Passwords


@contextmanager
def _user(harness: ServerHarness, password: str, *, rights: str = "") -> Iterator[str]:
    """A user of the server, who may do anything or has `rights` on the tables there are."""
    name = f"user_{os.urandom(6).hex()}"
    if harness.server.scheme == "postgresql":
        _execute(harness, f"CREATE ROLE {name} LOGIN PASSWORD {_quoted(harness, password)}")
        _execute(harness, f'GRANT ALL ON DATABASE "{harness.database}" TO {name}')
        _execute(harness, f"GRANT {'USAGE' if rights else 'ALL'} ON SCHEMA public TO {name}")
        if rights:
            _execute(harness, f"GRANT {rights} ON ALL TABLES IN SCHEMA public TO {name}")
    else:
        _execute(harness, f"CREATE USER {name} IDENTIFIED BY {_quoted(harness, password)}")
        _execute(harness, f"GRANT {rights or 'ALL'} ON `{harness.database}`.* TO {name}")
    yield name
    if harness.server.scheme == "postgresql":
        _execute(harness, f"DROP OWNED BY {name}")
    _execute(harness, f"DROP {'ROLE' if harness.server.scheme == 'postgresql' else 'USER'} {name}")


def _set_password(harness: ServerHarness, user: str, password: str) -> None:
    change = "ALTER ROLE {} PASSWORD {}" if harness.server.scheme == "postgresql" else "ALTER USER {} IDENTIFIED BY {}"
    _execute(harness, change.format(user, _quoted(harness, password)))


def _quoted(harness: ServerHarness, text: str) -> str:
    if harness.server.scheme == "mariadb":
        text = text.replace("\\", "\\\\")
    return "'" + text.replace("'", "''") + "'"


def _execute(harness: ServerHarness, sql: str, parameters: Sequence[object] = ()) -> None:
    harness.server.execute(harness.database, sql, parameters)


PROVIDER = """
asked = []
password = "first"

def give(uri):
    asked.append(str(uri))
    return password

def fail(uri):
    raise RuntimeError("the secret is hunter2-secret")

def nothing(uri):
    return None
"""


@pytest.fixture
def provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Module of password providers, installed with an entry point `vault`."""
    module = f"provider_{os.urandom(6).hex()}"
    info = tmp_path / "site" / f"{module}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[holdall.password_providers]\nvault = {module}:give\n", encoding="utf-8")
    (info.parent / f"{module}.py").write_text(PROVIDER, encoding="utf-8")
    monkeypatch.syspath_prepend(str(info.parent))
    return module


def _at(wire: Wire, harness: ServerHarness, user: str, option: str) -> str:
    return f"{harness.server.scheme}://{user}@127.0.0.1:{wire.port}/{harness.database}?{option}"


def test_change_password_file_is_read_for_the_next_connection(
    harness: ServerHarness, wire: Wire, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text("first\n", encoding="utf-8")
    with (
        _user(harness, "first") as user,
        open_backend_store(_at(wire, harness, user, f"password_file={file}")) as store,
    ):
        run_id = store.create_run("0").info.run_id
        _set_password(harness, user, "second")
        store.set_tag(run_id, RunTag("t", "the connection is open"))
        file.write_text("second", encoding="utf-8")
        wire.cut()
        store.set_tag(run_id, RunTag("t", "and another is made"))
        file.unlink()
        wire.cut()
        with pytest.raises(Unauthenticated, match="FileNotFoundError"):
            store.get_run(run_id)


@pytest.mark.parametrize("name", ["{}:give", "vault"])
def test_ask_password_provider_for_every_connection(
    harness: ServerHarness, wire: Wire, provider: str, name: str
) -> None:
    option = f"password_provider={name.format(provider)}"
    with _user(harness, "first") as user, open_backend_store(_at(wire, harness, user, option)) as store:
        run_id = store.create_run("0").info.run_id
        module: Any = sys.modules[provider]
        asked = len(module.asked)
        assert asked == wire.connections
        assert module.asked[0].startswith(f"{harness.server.scheme}://{user}@127.0.0.1:{wire.port}/")
        _set_password(harness, user, "second")
        module.password = "second"
        wire.cut()
        store.set_tag(run_id, RunTag("t", "1"))
        assert len(module.asked) == asked + 1


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("{}:fail", Unauthenticated, "RuntimeError"),
        ("{}:nothing", Unauthenticated, "no text"),
        ("{}:absent", InvalidParameterValue, "cannot be loaded"),
        ("no_module_of_this_name:give", InvalidParameterValue, "cannot be loaded"),
        ("vaultt", InvalidParameterValue, "known: vault"),
    ],
)
def test_open_with_password_provider_that_fails_says_which(
    harness: ServerHarness, wire: Wire, provider: str, name: str, kind: type[HoldallError], words: str
) -> None:
    with pytest.raises(kind, match=words) as raised:
        open_backend_store(_at(wire, harness, "somebody", f"password_provider={name.format(provider)}"))
    assert SECRET not in str(raised.value)
    assert wire.connections == 0


# Read-only


def test_open_empty_database_read_only_finds_nothing_and_creates_nothing(harness: ServerHarness, uri: str) -> None:
    with pytest.raises(NotFound, match="empty"):
        open_backend_store(uri, read_only=True)
    with pytest.raises(NotFound, match="empty"):
        open_backend_store(uri, create=False)
    assert harness.raw.counts() == {}


def test_use_as_user_who_may_only_read_reads_and_is_refused_writes(harness: ServerHarness) -> None:
    assert harness.uri is not None
    with open_backend_store(harness.uri) as store:
        run_id = store.create_run("0").info.run_id
        store.log_batch(run_id, *BATCH)
    before = harness.raw.digest()
    with _user(harness, "p", rights="SELECT") as user:
        reader = harness.uri.replace(harness.uri.partition("://")[2].partition("@")[0], f"{user}:p")
        for read_only in (False, True):
            with open_backend_store(reader, read_only=read_only) as store:
                assert not store.created
                assert store.get_run(run_id).data.params == {"p": "1"}
                assert len(store.search_runs(["0"], "metrics.m1 > 0", order_by=["metrics.m1 DESC"])) == 1
                assert len(store.get_metric_history(run_id, "m1")) == 1
                writes: list[Callable[[], object]] = [
                    lambda: store.set_tag(run_id, RunTag("t", "2")),
                    lambda: store.log_metric(run_id, Metric("m", 1.0, 1)),
                    lambda: store.log_batch(run_id, *BATCH),
                    lambda: store.create_run("0"),
                    lambda: store.create_experiment("x"),
                    lambda: store.delete_experiment("0"),
                    lambda: store.delete_run(run_id),
                ]
                for write in writes:
                    with pytest.raises(ReadOnly) as raised:
                        write()
                    assert raised.value.error_code == "PERMISSION_DENIED"
    assert harness.raw.digest() == before


# Creation


def test_open_database_of_others_is_refused_and_leaves_it_alone(harness: ServerHarness, uri: str) -> None:
    _execute(harness, "CREATE TABLE invoices (number INTEGER)")
    before = harness.server.dump(harness.database)
    with pytest.raises(InvalidParameterValue, match="invoices"):
        open_backend_store(uri)
    assert harness.server.dump(harness.database) == before


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.6, 0.9, 1.0])
def test_open_mariadb_whose_creation_was_interrupted_completes_it(tmp_path: Path, share: float) -> None:
    """Every table and index is committed by itself there: the creator may have died between any two."""
    from sqlalchemy.engine import make_url

    from holdall.backends.sql import opening
    from holdall.backends.sql.schema import MARIADB_COLLATION

    harness = ServerHarness(shared_server("mariadb"), tmp_path)
    whole = harness.another()
    assert harness.uri is not None
    assert whole.uri is not None
    open_backend_store(whole.uri).close()
    statements = opening.definitions(make_url("mariadb+pymysql://").get_dialect()())
    _execute(harness, f"ALTER DATABASE CHARACTER SET utf8mb4 COLLATE {MARIADB_COLLATION}")
    for statement in statements[: max(1, round(len(statements) * share))]:
        _execute(harness, statement)
    with open_backend_store(harness.uri) as store:
        assert store.created
        run_id = store.create_run("0").info.run_id
        store.log_batch(run_id, *BATCH)
        assert store.get_experiment("0").name == "Default"
    assert sorted(harness.raw.counts()) == sorted(whole.raw.counts())
    with open_backend_store(harness.uri) as store:
        assert not store.created
    harness.remove()


def test_open_mariadb_again_when_the_answer_to_its_creation_was_lost_completes_it(tmp_path: Path) -> None:
    harness = ServerHarness(shared_server("mariadb"), tmp_path)
    with Wire(harness.server.port) as wire:
        uri = harness.server.uri(harness.database, port=wire.port)
        wire.lose_next_answer(b"ALTER DATABASE")
        with pytest.raises(TemporarilyUnavailable):
            open_backend_store(uri)
        with open_backend_store(uri) as store:
            assert store.get_experiment("0").name == "Default"
            assert store.create_run("0").info.experiment_id == "0"
    harness.remove()


def test_open_postgresql_whose_creation_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    harness = ServerHarness(shared_server("postgresql"), tmp_path)
    assert harness.uri is not None
    with closing(harness.server.connect(harness.database)) as other, ThreadPoolExecutor(1) as threads:
        cursor = other.cursor()
        cursor.execute("BEGIN")
        cursor.execute("CREATE TABLE latest_metrics (x INTEGER)")  # the creator waits here, in the middle
        pending = threads.submit(open_backend_store, harness.uri)
        until(lambda: waiting(harness) > 0)
        _execute(
            harness,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'",
            [harness.database],
        )
        with pytest.raises(TemporarilyUnavailable):
            pending.result(60)
        cursor.execute("ROLLBACK")
    assert harness.raw.counts() == {}
    with open_backend_store(harness.uri) as store:
        assert store.created
    harness.remove()


# Experiment ids from elsewhere


def test_create_experiment_among_ids_from_elsewhere_goes_on(harness: ServerHarness, store: BackendStore) -> None:
    """MLflow's file store makes ids of 18 digits, and what is copied keeps its id (mlflow#8430)."""
    wide, ahead = 944140571234832402, [1, 2, 3, 7]
    for number in [*ahead, wide]:
        _execute(
            harness,
            "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage) "
            "VALUES (%s, %s, '/data', 'active')",
            [number, f"from elsewhere {number}"],
        )
    created = [store.create_experiment(f"new {number}") for number in range(8)]
    assert len({*created, *map(str, ahead), str(wide), "0"}) == len(created) + len(ahead) + 2
    for experiment_id in [*map(str, ahead), str(wide), *created]:
        run_id = store.create_run(experiment_id).info.run_id
        store.log_metric(run_id, Metric("m", 1.0, 1))
        assert [run.info.run_id for run in store.search_runs([experiment_id])] == [run_id]
        assert store.get_experiment(experiment_id).experiment_id == experiment_id
    found = store.search_experiments(filter_string=f"experiment_id = '{wide}'")
    assert [experiment.name for experiment in found] == [f"from elsewhere {wide}"]


# Interruptions


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", ["log_batch", "log_metrics", "set_tag", "create_run", "get_run", "search"])
def test_interrupt_in_the_middle_of_a_call_leaves_no_connection_half_read(
    store: BackendStore, harness: ServerHarness, name: str, when: str
) -> None:
    """Ctrl-C, wherever it comes in the conversation: the answer to one request is never taken for that to another."""
    import psycopg
    import pymysql

    kind, method = (
        (psycopg.Connection, "wait")
        if harness.server.scheme == "postgresql"
        else (pymysql.connections.Connection, "_read_packet")
    )
    reads: dict[str, Callable[[BackendStore, str, str], object]] = {
        "get_run": lambda store, run_id, experiment: store.get_run(run_id),
        "search": lambda store, run_id, experiment: store.search_runs(["0"], order_by=["metrics.m1"]),
    }
    act = reads[name] if name in reads else CALLS[name].act
    experiment = store.create_experiment("named")
    store.log_batch(store.create_run("0").info.run_id, *BATCH)
    for step in range(500):
        run_id = store.create_run(experiment, run_name=f"run {step}").info.run_id
        if _interrupted(kind, method, step, when, partial(act, store, run_id, experiment)):
            assert step > 0
            break
        assert store.get_run(run_id).info.run_name == f"run {step}"
        assert store.get_experiment("0").name == "Default"
        store.log_metric(run_id, Metric("after", step, 1))
        assert store.get_run(run_id).data.metrics["after"] == step
        assert open_transactions(harness) == 0
    else:
        raise AssertionError("a call that has no end")


def _interrupted(kind: type, method: str, last: int, when: str, call: Callable[[], object]) -> bool:
    """Interrupt the call at one use of a method; whether the call was done before that."""
    genuine = getattr(kind, method)
    left = last

    def interrupting(*arguments: object, **named: object) -> object:
        nonlocal left
        left -= 1
        if left == -1 and when == "before":
            raise KeyboardInterrupt
        result = genuine(*arguments, **named)
        if left == -1:
            raise KeyboardInterrupt
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, method, interrupting)
        try:
            call()
        except KeyboardInterrupt:
            return False
    return True
