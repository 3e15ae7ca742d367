"""Real servers for tests: started by the project itself on free ports, in folders that are gone afterwards.

    server = shared_server("postgresql")
    with open_backend_store(server.uri(server.create_database())) as store: ...
    storage = shared_server("moto")
    with open_artifact_store(storage.uri(storage.create_place())) as store: ...

`python -m holdall.conformance_tests.emulators install` installs the servers where apt and npm are; `… run postgresql`
starts one to try things with.
"""

from __future__ import annotations

from holdall.conformance_tests.emulators.azurite import AzuriteServer
from holdall.conformance_tests.emulators.database import DatabaseServer
from holdall.conformance_tests.emulators.fake_gcs import FakeGcsServer
from holdall.conformance_tests.emulators.installation import install
from holdall.conformance_tests.emulators.mariadb import MariadbServer
from holdall.conformance_tests.emulators.moto import MotoServer
from holdall.conformance_tests.emulators.node import emulators_dir
from holdall.conformance_tests.emulators.postgresql import PostgresqlServer
from holdall.conformance_tests.emulators.seaweedfs import SeaweedfsServer
from holdall.conformance_tests.emulators.server import Server
from holdall.conformance_tests.emulators.sharing import DatabaseName, StorageName, new_server, shared_server
from holdall.conformance_tests.emulators.sshd import SshdServer
from holdall.conformance_tests.emulators.storage import RawPlace, StorageServer

__all__ = [
    "AzuriteServer",
    "DatabaseName",
    "DatabaseServer",
    "FakeGcsServer",
    "MariadbServer",
    "MotoServer",
    "PostgresqlServer",
    "RawPlace",
    "SeaweedfsServer",
    "Server",
    "SshdServer",
    "StorageName",
    "StorageServer",
    "emulators_dir",
    "install",
    "new_server",
    "shared_server",
]
