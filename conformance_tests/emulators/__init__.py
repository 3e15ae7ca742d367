"""Real servers for tests: started by the project itself on free ports, in folders that are gone afterwards.

    server = shared_server("postgresql")
    with open_backend_store(server.uri(server.create_database())) as store: ...

`python -m holdall.conformance_tests.emulators install` installs the servers where apt is; `… run postgresql` starts one
to try things with.
"""

from __future__ import annotations

from holdall.conformance_tests.emulators.installation import install
from holdall.conformance_tests.emulators.mariadb import MariadbServer
from holdall.conformance_tests.emulators.postgresql import PostgresqlServer
from holdall.conformance_tests.emulators.server import DatabaseServer
from holdall.conformance_tests.emulators.sharing import new_server, shared_server

__all__ = ["DatabaseServer", "MariadbServer", "PostgresqlServer", "install", "new_server", "shared_server"]
