"""The servers that tests start keep what they are told, come back after any end, and leave nothing behind."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from holdall.conformance_tests.emulators import (
    DatabaseName,
    DatabaseServer,
    install,
    installation,
    new_server,
    shared_server,
)
from holdall.conformance_tests.emulators.installation import NAMES
from holdall.stores import InternalError, InvalidParameterValue, MissingExtra, StoreURI

pytestmark = pytest.mark.extras

DATABASES: tuple[DatabaseName, ...] = ("mariadb", "postgresql")


@pytest.fixture(params=DATABASES)
def server(request: pytest.FixtureRequest) -> DatabaseServer:
    name: DatabaseName = request.param
    return shared_server(name)


@pytest.fixture
def database(server: DatabaseServer) -> Iterator[str]:
    name = server.create_database()
    server.execute(name, "CREATE TABLE parent (id BIGINT PRIMARY KEY, name VARCHAR(50) NOT NULL)")
    server.execute(name, "CREATE TABLE child (id INT PRIMARY KEY, parent BIGINT REFERENCES parent (id))")
    server.execute(name, "INSERT INTO parent VALUES (%s, %s)", [0, "ä 100% \N{GRINNING FACE}"])
    yield name
    server.drop_database(name)


def names(server: DatabaseServer, database: str) -> list[tuple[object, ...]]:
    return server.execute(database, "SELECT id, name FROM parent ORDER BY id")


def test_get_shared_server_twice_starts_one(server: DatabaseServer) -> None:
    assert shared_server(server.scheme) is server


def test_parse_uri_of_database_finds_its_parts(server: DatabaseServer) -> None:
    uri = StoreURI.parse(server.uri("some name", scheme="mysql", port=5))
    assert (uri.scheme, uri.username, uri.password) == ("mysql", server.user, server.password)
    assert (uri.host, uri.port, uri.path) == ("127.0.0.1", 5, "/some name")


def test_create_database_from_template_copies_rows_once(server: DatabaseServer, database: str) -> None:
    copy = server.create_database(template=database)
    assert names(server, copy) == names(server, database) == [(0, "ä 100% \N{GRINNING FACE}")]
    server.execute(copy, "INSERT INTO parent VALUES (1, 'one')")
    assert len(names(server, database)) == 1
    server.drop_database(copy)


def test_load_dump_into_new_database_dumps_the_same(server: DatabaseServer, database: str, tmp_path: Path) -> None:
    script = tmp_path / "dump.sql"
    script.write_text(server.dump(database), encoding="utf-8")
    copy = server.create_database()
    server.load(copy, script)
    assert names(server, copy) == names(server, database)
    assert server.dump(copy).replace(copy, database) == server.dump(database)
    server.drop_database(copy)


def test_load_broken_script_is_an_error(server: DatabaseServer, database: str, tmp_path: Path) -> None:
    script = tmp_path / "broken.sql"
    script.write_text("SELECT nothing FROM nowhere;", encoding="utf-8")
    with pytest.raises(InternalError, match="nowhere"):
        server.load(database, script)


def test_drop_database_with_open_transaction_ends_it(server: DatabaseServer) -> None:
    name = server.create_database()
    server.execute(name, "CREATE TABLE t (id INT)")
    with closing(server.connect(name)) as connection:
        connection.cursor().execute("BEGIN")
        connection.cursor().execute("INSERT INTO t VALUES (1)")
        server.drop_database(name)
        server.drop_database(name)
        with pytest.raises(Exception, match=r"(?i)terminat|lost|gone|killed"):
            connection.cursor().execute("SELECT 1")


def test_create_database_with_options_has_them() -> None:
    mariadb, postgresql = shared_server("mariadb"), shared_server("postgresql")
    latin = mariadb.create_database(options="CHARACTER SET latin1 COLLATE latin1_swedish_ci")
    copy = mariadb.create_database(template=latin)
    for name in (latin, copy):
        assert mariadb.execute(name, "SELECT @@collation_database") == [("latin1_swedish_ci",)]
    german = postgresql.create_database(options="LOCALE_PROVIDER icu ICU_LOCALE 'de'")
    ordered = "SELECT x FROM (VALUES ('b'), ('A'), ('a')) AS t (x) ORDER BY x"
    assert postgresql.execute(german, ordered) == [("a",), ("A",), ("b",)]


@pytest.mark.parametrize("name", DATABASES)
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_start_server_again_finds_its_data_at_the_same_port(name: DatabaseName, end: str) -> None:
    server = new_server(name)
    try:
        server.start()
        port, database = server.port, server.create_database()
        server.execute(database, "CREATE TABLE t (id INT)")
        server.execute(database, "INSERT INTO t VALUES (7)")
        getattr(server, end)()
        server.stop()
        server.start()
        server.start()
        assert server.port == port
        assert server.execute(database, "SELECT id FROM t") == [(7,)]
    finally:
        server.remove()


def test_start_server_with_flags_obeys_them() -> None:
    server = new_server("mariadb", "--innodb-flush-log-at-trx-commit=1")
    try:
        server.start()
        assert server.execute("", "SELECT @@innodb_flush_log_at_trx_commit") == [(1,)]
    finally:
        server.remove()


def test_start_server_with_unknown_flag_shows_its_log() -> None:
    server = new_server("postgresql", "--no_such_setting=1")
    with pytest.raises(InternalError, match="no_such_setting"):
        server.start()


SERVE = """
import sys, time
from holdall.conformance_tests.emulators import new_server
server = new_server(sys.argv[1])
server.start()
print(server.port, server.folder, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("name", NAMES)
def test_kill_process_that_started_a_server_leaves_nothing_behind(name: str) -> None:
    command = [sys.executable, "-c", SERVE, name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        port, folder = running.stdout.readline().split()
        assert Path(folder).is_dir()
        assert listens(int(port))
        running.kill()
    deadline = time.monotonic() + 30
    while (Path(folder).exists() or listens(int(port))) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not Path(folder).exists()
    assert not listens(int(port))


def listens(port: int) -> bool:
    """Whether anybody accepts connections at a port."""
    with closing(socket.socket()) as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("name", NAMES)
def test_run_server_from_command_line_serves_until_terminated(name: str) -> None:
    command = [sys.executable, "-m", "holdall.conformance_tests.emulators", "run", name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        found = re.search(r"127\.0\.0\.1:(\d+)", running.stdout.readline())
        assert found is not None
        with socket.create_connection(("127.0.0.1", int(found[1]))):
            running.terminate()
            assert running.wait(30) == 0
        assert not listens(int(found[1]))


FORK = """
import os, sys
from holdall.conformance_tests.emulators import shared_server
server = shared_server(sys.argv[1])
if (child := os.fork()) == 0:
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
assert server.execute("", "SELECT 1") == [(1,)]
print(server.folder)
"""


def test_end_forked_child_leaves_the_server_to_its_parent() -> None:
    done = subprocess.run([sys.executable, "-c", FORK, "mariadb"], capture_output=True, text=True, check=True)
    assert not Path(done.stdout.strip()).exists()


def test_install_what_is_there_is_quick_and_silent(capfd: pytest.CaptureFixture[str]) -> None:
    for name in NAMES:
        shared_server(name)
    start = time.monotonic()
    install()
    assert time.monotonic() - start < 1
    assert capfd.readouterr() == ("", "")


def test_install_as_ordinary_user_names_the_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(installation, "_find", lambda name: None)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(MissingExtra, match=r"apt-get install mariadb-server-core mariadb-client$"):
        install("mariadb")


def test_name_unknown_server_is_refused() -> None:
    for call in (install, new_server, shared_server):
        with pytest.raises(InvalidParameterValue, match=f"known are {', '.join(NAMES)}"):
            call("oracle")
