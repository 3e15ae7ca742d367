"""`MotoServer`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from holdall.conformance_tests.emulators.process import ServerProcess
from holdall.conformance_tests.emulators.s3 import S3Server

__all__ = ["MotoServer"]


class MotoServer(S3Server):
    """moto: S3 in memory and ready soon, but it verifies neither signatures nor checksums."""

    name = "moto"
    keeps_data = False
    gaps: ClassVar[Mapping[str, str]] = {
        "test_keep_strange_name_of_file_and_folder[newline-and-tab]": "moto answers 404 where a key holds a newline",
        "test_find_strange_names_written_by_others": "moto answers 404 where a key holds a newline",
    }
    _modules = (*S3Server._modules, ("moto", "moto[server]"), ("flask_cors", "moto[server]"))

    def _initialise(self, process: ServerProcess) -> None:
        pass

    def _command(self, folder: Path) -> list[str | Path]:
        return [sys.executable, "-m", "moto.server", "-H", self.host, "-p", str(self.port), *self._flags]

    def _answers(self) -> bool:
        return self._says(f"Running on {self._url()}")
