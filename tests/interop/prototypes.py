"""Stores on database servers just as MLflow creates them: dumps kept as fixtures, and databases to make copies of."""

from __future__ import annotations

import gzip
import re
import tempfile
from functools import cache
from pathlib import Path

from tests.interop.peers import Peer
from tests.interop.snapshot import FIXTURES

from holdall.conformance_tests.emulators import DatabaseServer, shared_server

__all__ = ["KINDS", "make_prototype", "prototype"]

KINDS = {
    "postgresql": "",
    "mariadb": "CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",  # as distributions configure it
    "mariadb-latin1": "CHARACTER SET latin1 COLLATE latin1_swedish_ci",  # what a server has that nobody configured
}
"""Options of the database in which MLflow creates its tables, by name of the fixture after the version."""

_PREFACES = {
    "postgresql": "",
    "mariadb": "SET foreign_key_checks = 0, sql_mode = 'NO_AUTO_VALUE_ON_ZERO';\n",
}
"""All settings that a dump needs; its own are those of one version of the server."""

_NOISE = re.compile(
    r"^(DELIMITER ;;\n(.*\n)*?DELIMITER ;"  # a trigger on a table that nobody uses here, with a user's name
    r"|--.*|/\*M?!.*|SET .*|SELECT pg_catalog\.set_config.*|DROP TABLE .*|(UN)?LOCK TABLES.*|)\n",
    re.MULTILINE,
)
"""Lines that a dump can do without."""


@cache
def prototype(server: DatabaseServer, version: str, kind: str, options: str = "") -> str:
    """The name of a database with an empty store of MLflow `version`, made once per process; nobody writes there.

    Args:
        server: Where.
        version: MLflow's.
        kind: One of `KINDS`.
        options: Of the database instead of those with which MLflow was given it.
    """
    name = server.create_database(options=options or KINDS[kind])
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "dump.sql")
        script.write_bytes(gzip.decompress(_fixture(version, kind).read_bytes()))
        server.load(name, script)
    return name


def make_prototype(version: str, kind: str) -> Path:
    """Write the fixture of a version and a kind anew, and return it."""
    server = shared_server(kind.partition("-")[0])
    assert isinstance(server, DatabaseServer)
    name = server.create_database(options=KINDS[kind])
    Peer.of(version).use(server.uri(name))
    text = _PREFACES[server.scheme] + _NOISE.sub("", server.dump(name))
    made = _fixture(version, kind)
    made.write_bytes(gzip.compress(text.encode(), mtime=0))
    return made


def _fixture(version: str, kind: str) -> Path:
    return FIXTURES / f"mlflow-{version}.{kind}.sql.gz"
