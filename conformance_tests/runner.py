"""Run the suite on a URI from a program: `holdall conformance URI` and tests of the suite itself use it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence

from holdall.conformance_tests.harness import PLACEHOLDER
from holdall.conformance_tests.matrix import ConformanceReport, TestRecord
from holdall.stores import InvalidParameterValue, MissingExtra, StoreURI

__all__ = ["run_conformance", "run_pytest"]

_PLUGIN = "holdall.conformance_tests.plugin"


def run_conformance(
    uri: str | None,
    artifact_uri: str | None = None,
    *,
    artifact_root: str | None = None,
    keyword: str | None = None,
    profile: str = "default",
    workers: int = 0,
    on_record: Callable[[TestRecord], None] | None = None,
) -> ConformanceReport:
    """Run the suite on the stores at URIs, in another process.

    Args:
        uri: The backend store, or None. `{tmp}` in it is a fresh folder of each test, as in `sqlite:///{tmp}/db.sqlite`.
            Without it the tests write into the store itself, under names of their own.
        artifact_uri: The artifact store, or None; `{tmp}` as above.
        artifact_root: Artifact root that the backend is opened with.
        keyword: Run tests whose names match only, as pytest's `-k`.
        profile: How long the comparison with the memory store takes: `default`, `ci` or `nightly`.
        workers: Number of processes, which needs pytest-xdist; 0 for one.
        on_record: Called with each result as it comes.

    Raises:
        InvalidParameterValue: Both URIs are None, or one is malformed.
        MissingExtra: pytest or hypothesis is not installed.
    """
    if uri is None and artifact_uri is None:
        raise InvalidParameterValue("Say what to test: give the URI of a backend store, of an artifact store, or both.")
    shown, artifacts_shown = _shown(uri), _shown(artifact_uri)
    options = {
        "--backend-uri": uri,
        "--artifact-uri": artifact_uri,
        "--artifact-root": artifact_root,
        "--conformance-profile": profile,
    }
    arguments = ["--pyargs", "holdall.conformance_tests"]
    arguments += [f"{name}={value}" for name, value in options.items() if value is not None]
    arguments += ["-k", keyword] if keyword else []
    arguments += ["-p", "xdist", "-n", str(workers)] if workers else []
    records, exit_code, output = run_pytest(arguments, on_record)
    return ConformanceReport(shown, artifacts_shown, tuple(records), exit_code, output)


def run_pytest(
    arguments: Sequence[str], on_record: Callable[[TestRecord], None] | None = None
) -> tuple[list[TestRecord], int, str]:
    """Run pytest with the suite's plugin and no other in another process with this one's import path.

    Args:
        arguments: Of pytest.
        on_record: Called with the result of each of the suite's tests as it comes.

    Returns:
        Results, exit code, and what pytest printed.
    """
    for needed in ("pytest", "hypothesis"):
        if importlib.util.find_spec(needed) is None:
            raise MissingExtra(f"The suite needs {needed}; install it with: pip install 'holdall[conformance]'")
    with tempfile.TemporaryDirectory(prefix="holdall-conformance-") as folder, tempfile.TemporaryFile() as printed:
        code = f"import sys; sys.path[:] = {sys.path!r}; import pytest; sys.exit(pytest.main(sys.argv[1:]))"
        reader, writer = os.pipe()
        process = subprocess.Popen(
            [
                *(sys.executable, "-c", code, "-c", os.devnull, "--rootdir", folder, "--basetemp", f"{folder}/tmp"),
                *("--import-mode=importlib", "-p", _PLUGIN, "-p", "no:cacheprovider", "-q", "-rf"),
                *(f"--conformance-report=/dev/fd/{writer}", *arguments),
            ],
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            pass_fds=[writer],
            env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "HYPOTHESIS_STORAGE_DIRECTORY": folder},
        )
        os.close(writer)
        records = []
        try:
            for record in _read_records(reader):
                records.append(record)
                if on_record is not None:
                    on_record(record)
        except BaseException:
            process.kill()
            raise
        finally:
            process.wait()
        printed.seek(0)
        return _latest(records), process.returncode, printed.read().decode("utf-8", "replace")


def _read_records(descriptor: int) -> Iterator[TestRecord]:
    with open(descriptor, encoding="utf-8") as lines:
        for line in lines:
            yield TestRecord.from_json(line)


def _latest(records: list[TestRecord]) -> list[TestRecord]:
    """One record for each test: a failure in its tear-down replaces what was said before."""
    return list({(record.suite, record.test): record for record in records}.values())


def _shown(uri: str | None) -> str | None:
    """A URI, template or not, without its password."""
    if uri is None:
        return None
    template = uri.replace(f"://{PLACEHOLDER}", f":///{PLACEHOLDER}")
    return str(StoreURI.parse(template)).replace("%7Btmp%7D", PLACEHOLDER)
