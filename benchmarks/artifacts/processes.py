"""Processes with what they cost: time, processor time, memory. Linux only, by /proc."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.peer import BenchmarkError

__all__ = ["Cost", "Watch", "busy_seconds", "peak_bytes", "processor_seconds", "run"]

_TICKS = os.sysconf("SC_CLK_TCK")
_LIMIT = 3600.0
_INTERVAL = 0.1


@dataclass(frozen=True, slots=True)
class Cost:
    """What a process came to, with those that it started.

    Attributes:
        seconds: From its start to its end.
        net_seconds: Time of the transfer alone, as the process says; all of its time if it says nothing.
        cpu_seconds: Processor time, user's and system's, of all of it.
        net_cpu_seconds: Processor time since the transfer began.
        peak: The most bytes that were resident, where that was asked for; of several processes the sum of their peaks.
    """

    seconds: float
    net_seconds: float
    cpu_seconds: float
    net_cpu_seconds: float
    peak: int = 0


def processor_seconds(pid: int) -> float:
    """Processor time of a process, user's and system's, without its children's; 0 if it is gone."""
    fields = _statistics(pid)
    return (int(fields[11]) + int(fields[12])) / _TICKS if fields else 0.0


def busy_seconds() -> float:
    """Processor time of all processes since the machine was started, and what the kernel took for itself."""
    user, nice, system, _, _, *interrupts = (
        Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]
    )
    return sum(map(int, (user, nice, system, *interrupts))) / _TICKS


def peak_bytes(pid: int) -> float:
    """The most bytes of a process that were resident; 0 if it is gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return float(line.split()[1]) * 1024
    return 0.0


class Watch:
    """Looks at a process and at all that it starts, ten times a second, until the end of the block.

    Those that outlive the process that started them belong to it all the same.

    Args:
        root: The process.
        read: Something of a process that only grows, and is 0 once the process is gone.
    """

    def __init__(self, root: int, read: Callable[[int], float]) -> None:
        self._read = read
        self._values = {root: 0.0}
        self._strangers: set[int] = set()
        self._first = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._look()
        self._first = self.total
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._look()

    @property
    def total(self) -> float:
        """The sum over all processes."""
        return sum(self._values.values())

    @property
    def growth(self) -> float:
        """By how much the sum has grown since the beginning of the block."""
        return self.total - self._first

    def _watch(self) -> None:
        while not self._ended.wait(_INTERVAL):
            self._look()

    def _look(self) -> None:
        pids = {int(name) for name in os.listdir("/proc") if name.isdecimal()}  # ten times as fast as Path.iterdir
        for pid in sorted(pids - self._values.keys() - self._strangers):
            fields = _statistics(pid)
            if fields and int(fields[1]) in self._values:
                self._values[pid] = 0.0
            else:
                self._strangers.add(pid)
        for pid, value in self._values.items():
            self._values[pid] = max(value, self._read(pid))


def run(
    command: Sequence[str | Path], environment: Mapping[str, str], *, stdin: str = "", memory: bool = False
) -> Cost:
    """Run a command to its end.

    Args:
        command: Its last line may be JSON: `seconds` of the transfer alone, processor time `cpu_before` it began.
        environment: All of its environment.
        stdin: What it reads.
        memory: Whether to watch its memory.

    Raises:
        BenchmarkError: It failed, or took longer than an hour.
    """
    start = time.perf_counter()
    with _started(command, environment) as process, _watched(process.pid, memory) as watch:
        # What they print and read is short: no pipe fills up.
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError), process.stdin:
            process.stdin.write(stdin.encode())
        output = process.stdout.read().decode(errors="replace")
        status, usage = _wait(process)
    seconds = time.perf_counter() - start
    if status != 0:
        raise BenchmarkError(f"{Path(command[0]).name} ended with exit code {status}:\n{output[-3000:]}")
    said = _said(output)
    cpu_seconds = usage.ru_utime + usage.ru_stime
    net_cpu_seconds = cpu_seconds - said.get("cpu_before", 0.0)
    peak = 0 if watch is None else round(watch.total)
    return Cost(seconds, said.get("seconds", seconds), cpu_seconds, net_cpu_seconds, peak)


@contextmanager
def _started(command: Sequence[str | Path], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A new process, killed with those it started when the block fails or takes too long."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,
    )
    timer = threading.Timer(_LIMIT, _kill, [process])
    timer.daemon = True
    timer.start()
    try:
        with process:
            yield process
    except BaseException:
        _kill(process)
        raise
    finally:
        timer.cancel()


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def _watched(pid: int, memory: bool) -> Iterator[Watch | None]:
    if not memory:
        yield None
        return
    with Watch(pid, peak_bytes) as watch:
        yield watch


def _wait(process: subprocess.Popen[bytes]) -> tuple[int, resource.struct_rusage]:
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage


def _said(output: str) -> dict[str, float]:
    lines = output.splitlines()
    if not lines or not lines[-1].startswith("{"):
        return {}
    return {name: float(value) for name, value in json.loads(lines[-1]).items()}


def _statistics(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on: state, parent, …; none if the process is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    return []
