"""Locks between processes: who waits, who gives up, who takes over from whom, and that no two ever hold one."""

from __future__ import annotations

import errno
import inspect
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from holdall.backends.file import locks
from holdall.backends.file.files import Folder
from holdall.backends.file.locks import ABANDONED_SECONDS, IDENTITY_PREFIX, Locks, Owner
from holdall.stores import RunTag, TemporarilyUnavailable, open_backend_store

HOLD = """
import sys
from holdall.backends.file.files import Folder
from holdall.backends.file.locks import Locks

root, folder, name = sys.argv[1:]
with Folder(folder) as place, Locks(root).hold(place, name, "it"):
    print("held", flush=True)
    sys.stdin.read()
"""

COUNT = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
from holdall.backends.file.files import Folder
from holdall.backends.file.locks import Locks

root, threads, rounds, without_links = sys.argv[1:]
if without_links == "True":
    def refuse(*args, **keywords):
        raise PermissionError(1, "no links here")
    os.link = refuse
locks = [Locks(root), Locks(root)]
print("ready", flush=True)
sys.stdin.readline()


def work(thread):
    for _ in range(int(rounds)):
        with Folder(root) as place, locks[thread % 2].hold(place, "lock", "the counter"):
            value = int(place.read("counter") or b"0")
            place.create("counter", b"%d" % (value + 1))


with ThreadPoolExecutor(int(threads)) as pool:
    list(pool.map(work, range(int(threads))))
"""

INHERIT = """
import os, signal, sys
from holdall.backends.file.files import Folder
from holdall.backends.file.locks import Locks

root = sys.argv[1]
print("ready", flush=True)
sys.stdin.readline()
with Folder(root) as place, Locks(root).hold(place, "lock", "it"):
    inside = os.open(f"{root}/inside", os.O_CREAT | os.O_EXCL)
    os.sched_yield()
    os.unlink(f"{root}/inside")
    print("alone", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""

Process = subprocess.Popen[str]


def _start(program: str, *arguments: object) -> Process:
    process = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() != ""
    return process


@contextmanager
def _held_elsewhere(root: Path, folder: Path, name: str) -> Iterator[Process]:
    """A lock that another process holds."""
    with _start(HOLD, root, folder, name) as holder:
        try:
            yield holder
        finally:
            holder.kill()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Folder]:
    with Folder(str(tmp_path)) as folder:
        yield folder


def _acquired_within(folder: Folder, own: Locks, seconds: float) -> bool:
    begun = time.monotonic()
    with own.hold(folder, "lock", "it"):
        return time.monotonic() - begun < seconds


def _leave_lock_of(folder: Folder, change: Callable[[Owner], Owner]) -> None:
    folder.create("lock", change(Owner.here()).encode())


def test_kill_holder_of_a_lock_lets_the_next_one_have_it_at_once(tmp_path: Path, place: Folder) -> None:
    with _held_elsewhere(tmp_path, tmp_path, "lock") as holder:
        holder.kill()
        holder.wait()
        assert place.stat("lock") is not None
        assert _acquired_within(place, Locks(str(tmp_path)), 5)


def test_kill_holder_that_nobody_has_waited_for_yet_lets_the_next_one_have_it(tmp_path: Path, place: Folder) -> None:
    """A dead process whose parent has not asked for it yet is still listed by the system."""
    with _held_elsewhere(tmp_path, tmp_path, "lock") as holder:
        holder.kill()
        os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
        assert _acquired_within(place, Locks(str(tmp_path)), 5)


def test_kill_holder_of_a_run_lets_others_write_to_it(tmp_path: Path) -> None:
    with open_backend_store(tmp_path / "m") as store:
        run_id = store.create_run("0").info.run_id
        store.set_tag(run_id, RunTag("t", "1"))
        with _held_elsewhere(tmp_path / "m", tmp_path / "m" / "0", f".holdall/locks/{run_id}") as holder:
            holder.kill()
            holder.wait()
            begun = time.monotonic()
            store.set_tag(run_id, RunTag("t", "2"))
            assert time.monotonic() - begun < 5
        assert store.get_run(run_id).data.tags["t"] == "2"


def test_wait_for_live_holder_too_long_names_it_and_changes_nothing(tmp_path: Path, place: Folder) -> None:
    with _held_elsewhere(tmp_path, tmp_path, "lock") as holder:
        with (
            pytest.raises(TemporarilyUnavailable) as raised,
            Locks(str(tmp_path), timeout=0.2).hold(place, "lock", "Run 'r'"),
        ):
            pytest.fail("two hold it")
        message = str(raised.value)
        assert f"process {holder.pid} on {socket.gethostname()}" in message
        assert "Run 'r'" in message
        assert place.read("lock") is not None
        assert holder.poll() is None


def test_wait_for_live_holder_gets_the_lock_when_it_is_given_back(tmp_path: Path, place: Folder) -> None:
    with _held_elsewhere(tmp_path, tmp_path, "lock") as holder, ThreadPoolExecutor(1) as pool:
        waiter = pool.submit(_acquired_within, place, Locks(str(tmp_path)), 60)
        with pytest.raises(TimeoutError):
            waiter.result(timeout=0.2)
        assert holder.stdin is not None
        holder.stdin.close()
        assert waiter.result(timeout=30)


def test_wait_for_thread_of_the_same_store_too_long_is_unavailable(tmp_path: Path, place: Folder) -> None:
    own = Locks(str(tmp_path), timeout=0.1)

    def wait_for_it() -> None:
        with own.hold(place, "lock", "it"):
            pytest.fail("two hold it")

    with own.hold(place, "lock", "it"), ThreadPoolExecutor(1) as pool, pytest.raises(TemporarilyUnavailable):
        pool.submit(wait_for_it).result(timeout=30)
    assert _acquired_within(place, own, 5)


def test_wait_for_other_store_of_the_same_process_does_not_take_its_lock_away(tmp_path: Path, place: Folder) -> None:
    other = Locks(str(tmp_path), timeout=0.1)
    with (
        Locks(str(tmp_path)).hold(place, "lock", "it"),
        pytest.raises(TemporarilyUnavailable, match=f"process {os.getpid()}"),
        other.hold(place, "lock", "it"),
    ):
        pytest.fail("two hold it")


def test_wait_for_live_holder_longer_than_a_lock_takes_to_be_abandoned_leaves_it(
    tmp_path: Path, place: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the same machine it is known that the holder lives, however long it takes."""
    monkeypatch.setattr(locks, "ABANDONED_SECONDS", 0.1)
    with (
        _held_elsewhere(tmp_path, tmp_path, "lock") as holder,
        pytest.raises(TemporarilyUnavailable, match=f"process {holder.pid}"),
        Locks(str(tmp_path), timeout=0.5).hold(place, "lock", "it"),
    ):
        pytest.fail("two hold it")


def test_find_abandoned_lock_of_another_host_takes_it_after_a_while_and_not_before(
    tmp_path: Path, place: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "ABANDONED_SECONDS", 0.3)
    _leave_lock_of(place, lambda owner: replace(owner, host="elsewhere", pid=1))
    begun = time.monotonic()
    assert _acquired_within(place, Locks(str(tmp_path)), 30)
    assert time.monotonic() - begun >= 0.3


def test_find_lock_of_another_host_before_it_counts_as_abandoned_names_that_host(tmp_path: Path, place: Folder) -> None:
    _leave_lock_of(place, lambda owner: replace(owner, host="elsewhere", pid=4711))
    with (
        pytest.raises(TemporarilyUnavailable, match="process 4711 on elsewhere"),
        Locks(str(tmp_path), timeout=0.1).hold(place, "lock", "it"),
    ):
        pytest.fail("it was taken away")


def test_find_lock_of_another_host_that_is_refreshed_leaves_it(
    tmp_path: Path, place: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A holder says that it lives by touching its lock."""
    monkeypatch.setattr(locks, "ABANDONED_SECONDS", 0.3)
    _leave_lock_of(place, lambda owner: replace(owner, host="elsewhere"))
    ended = threading.Event()

    def refresh() -> None:
        while not ended.wait(0.02):
            os.utime(tmp_path / "lock")

    with ThreadPoolExecutor(1) as pool:
        pool.submit(refresh)
        try:
            with (
                pytest.raises(TemporarilyUnavailable, match="elsewhere"),
                Locks(str(tmp_path), timeout=1.5).hold(place, "lock", "it"),
            ):
                pytest.fail("it was taken away")
        finally:
            ended.set()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda owner: replace(owner, boot="another"), id="before-a-restart"),
        pytest.param(lambda owner: replace(owner, started="1"), id="pid-used-again"),
        pytest.param(lambda owner: replace(owner, pid=2**22 + 1, started="5"), id="no-such-pid"),
    ],
)
def test_find_lock_of_dead_process_of_this_host_takes_it_at_once(
    tmp_path: Path, place: Folder, change: Callable[[Owner], Owner]
) -> None:
    _leave_lock_of(place, change)
    assert _acquired_within(place, Locks(str(tmp_path)), 5)


def test_find_lock_from_another_space_of_process_ids_does_not_take_it_at_once(tmp_path: Path, place: Folder) -> None:
    """In another container the same number is another process."""
    _leave_lock_of(place, lambda owner: replace(owner, space="pid:[1]", pid=2**22 + 1))
    with pytest.raises(TemporarilyUnavailable), Locks(str(tmp_path), timeout=0.1).hold(place, "lock", "it"):
        pytest.fail("it was taken away")


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"[]", b'["h", "b", "s", "no number", ""]', b"\xff\x00", b"[" * 9999]
)
def test_find_lock_that_says_nothing_waits_and_names_no_process(tmp_path: Path, place: Folder, content: bytes) -> None:
    place.create("lock", content)
    with (
        pytest.raises(TemporarilyUnavailable, match="an unknown process"),
        Locks(str(tmp_path), timeout=0.1).hold(place, "lock", "it"),
    ):
        pytest.fail("it was taken away")


def test_wait_as_long_as_by_default_outlasts_the_time_after_which_a_lock_is_abandoned() -> None:
    """Else whoever waits gives up at the moment at which it might take over, and the next one begins to count anew."""
    assert inspect.signature(Locks).parameters["timeout"].default > ABANDONED_SECONDS


def test_take_over_lock_while_its_holder_is_slow_leaves_the_new_one(
    tmp_path: Path, place: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever comes back after its lock was taken away must not remove that of its successor."""
    own = Locks(str(tmp_path))
    successor = replace(Owner.here(), host="elsewhere").encode()
    with own.hold(place, "lock", "it"):
        place.remove("lock")
        place.create("lock", successor)
    assert place.read("lock") == successor


@pytest.mark.parametrize("without_links", [False, True])
def test_count_under_a_lock_by_threads_and_processes_loses_no_step(tmp_path: Path, without_links: bool) -> None:
    processes, threads, rounds = 4, 4, 25
    counters = [_start(COUNT, tmp_path, threads, rounds, without_links) for _ in range(processes)]
    for counter in counters:
        assert counter.stdin is not None
        counter.stdin.write("go\n")
        counter.stdin.flush()
    for counter in counters:
        counter.communicate(timeout=120)
    assert [counter.returncode for counter in counters] == [0] * processes
    assert (tmp_path / "counter").read_text() == str(processes * threads * rounds)
    assert not (tmp_path / "lock").exists()


def test_take_over_from_one_dead_holder_after_another_lets_no_two_in(tmp_path: Path) -> None:
    """Many wait for the locks of dead processes at once; each takes what one has left, never what another just made."""
    heirs = [_start(INHERIT, tmp_path) for _ in range(12)]
    for heir in heirs:
        assert heir.stdin is not None
        heir.stdin.write("go\n")
        heir.stdin.flush()
    said = [heir.communicate(timeout=120)[0] for heir in heirs]
    assert said == ["alone\n"] * len(heirs)
    assert {heir.returncode for heir in heirs} == {-signal.SIGKILL}
    assert [path.name for path in tmp_path.glob("lock*")] == ["lock"]


@pytest.mark.parametrize("code", [errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP, errno.EMLINK])
def test_log_where_there_are_no_links_works_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*args: object, **keywords: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)
    with open_backend_store(tmp_path / "m") as store:
        run_id = store.create_run(store.create_experiment("x")).info.run_id
        store.set_tag(run_id, RunTag("t", "v"))
        assert store.get_run(run_id).data.tags["t"] == "v"
        with Folder(str(tmp_path)) as place:
            with Locks(str(tmp_path)).hold(place, "lock", "it"):
                assert Owner.decode((tmp_path / "lock").read_bytes()) == Owner.here()
                with pytest.raises(TemporarilyUnavailable), Locks(str(tmp_path), 0.05).hold(place, "lock", "it"):
                    pytest.fail("two hold it")
            assert place.stat("lock") is None
    assert list((tmp_path / "m").glob("**/.holdall/locks/*")) == []


def test_log_after_identity_file_was_removed_works_all_the_same(tmp_path: Path) -> None:
    with open_backend_store(tmp_path / "m") as store:
        run_id = store.create_run("0").info.run_id
        for path in (tmp_path / "m").glob(f"{IDENTITY_PREFIX}*"):
            path.unlink()
        store.set_tag(run_id, RunTag("t", "v"))
        assert store.get_run(run_id).data.tags["t"] == "v"


def test_fork_while_nothing_is_held_gives_the_child_an_identity_of_its_own(tmp_path: Path) -> None:
    program = (
        "import os, sys\n"
        "from holdall.backends.file.files import Folder\n"
        "from holdall.backends.file.locks import Locks, Owner\n"
        "root = sys.argv[1]\n"
        "locks, place = Locks(root), Folder(root)\n"
        "def holder():\n"
        "    with locks.hold(place, 'lock', 'it'):\n"
        "        return Owner.decode(place.read('lock'))\n"
        "assert holder() == Owner.here()\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    own = holder() == Owner.here()\n"
        "    locks.close()\n"
        "    os._exit(0 if own else 1)\n"
        "assert os.waitpid(pid, 0)[1] == 0\n"
        "assert holder() == Owner.here()\n"
        "assert len([name for name in os.listdir(root) if name.startswith('.holdall-process-')]) == 1\n"
        "locks.close()\n"
        "assert os.listdir(root) == []\n"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_fork_while_a_thread_holds_a_lock_lets_the_child_have_it_once_it_is_given_back(tmp_path: Path) -> None:
    """The child has no such thread: what the thread holds within the process must not count in the child."""
    program = (
        "import os, sys, threading\n"
        "from holdall.backends.file.files import Folder\n"
        "from holdall.backends.file.store import FileBackendStore\n"
        "from holdall.stores import StoreURI\n"
        "store, place = FileBackendStore(StoreURI.parse(sys.argv[1])), Folder(sys.argv[1])\n"
        "held, release = threading.Event(), threading.Event()\n"
        "def hold():\n"
        "    with store._locks.hold(place, 'lock', 'it'):\n"
        "        held.set()\n"
        "        release.wait()\n"
        "thread = threading.Thread(target=hold)\n"
        "thread.start()\n"
        "held.wait()\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    try:\n"
        "        with store._locks.hold(place, 'lock', 'it'):\n"
        "            os._exit(0)\n"
        "    except BaseException as error:\n"
        "        os.write(2, str(error).encode())\n"
        "        os._exit(1)\n"
        "release.set()\n"
        "thread.join()\n"
        "sys.exit(os.waitpid(pid, 0)[1] != 0)\n"
    )
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def test_close_store_leaves_no_lock_and_no_identity(tmp_path: Path) -> None:
    with open_backend_store(tmp_path / "m") as store:
        store.set_tag(store.create_run("0").info.run_id, RunTag("t", "v"))
    names = [path.name for path in (tmp_path / "m").rglob("*")]
    assert [name for name in names if re.match(rf"{IDENTITY_PREFIX}|.*lock$", name)] == []
    assert list((tmp_path / "m").glob("**/.holdall/locks/*")) == []


def test_open_store_after_processes_were_killed_removes_their_identities(tmp_path: Path) -> None:
    """Else each killed process leaves a file in the root for ever."""
    root = tmp_path / "m"
    open_backend_store(root).close()
    for _ in range(2):
        with _held_elsewhere(root, root, "lock") as holder:
            holder.kill()
    assert list(root.glob(f"{IDENTITY_PREFIX}*")) != []
    with open_backend_store(root) as store:
        store.create_experiment("x")
    assert list(root.glob(f"{IDENTITY_PREFIX}*")) == []
