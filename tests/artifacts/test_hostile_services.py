"""Servers that lie, credentials that end, users who interrupt: nothing is written elsewhere, and nothing is left."""

from __future__ import annotations

import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import cycle
from pathlib import Path
from queue import SimpleQueue
from types import FrameType

import pytest
from tests.artifacts.faulty_services import LAST_PART, MOTO, SERVICES, Rig, Service
from tests.artifacts.faulty_wire import ALWAYS, Answer, Damage

from holdall.artifacts.remote import RemoteArtifactStore
from holdall.stores import HoldallError, InternalError, Unauthenticated

pytestmark = pytest.mark.extras

LISTING = [service for service in SERVICES if service.listing]
PARTED = [service for service in SERVICES if "part" in service.kinds]
BEGUN = [service for service in SERVICES if service.kinds.get("begin") and service.listing]
HOSTILE_NAMES = [
    "../outside",
    "{folder}/../outside",
    "{folder}/../../outside",
    "/{target}/outside",
    "{folder}//{target}/outside",
    "{folder}/a\\..\\..\\outside",
    "{folder}/C:\\outside",
    "{folder}/%2e%2e/outside",
    "{folder}/./outside",
    "{folder}-beside/outside",
    "elsewhere/outside",
]


def of(services: Sequence[Service]) -> pytest.MarkDecorator:
    """Run a test for each of these services."""
    return pytest.mark.parametrize("rig", services, indirect=True, ids=str)


@pytest.fixture
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    with closing(Rig(request.param)) as rig:
        rig.begin()
        yield rig


# Listings


def lied_to(
    rig: Rig, names: Sequence[str], tokens: Sequence[str | None] = (None,), *, times: int = ALWAYS
) -> RemoteArtifactStore:
    """A store whose requests for listings are answered with these names, and one token after the other."""
    make, more = rig.service.listing, cycle(tokens)
    assert make is not None
    store = rig.open()
    rig.wire.on(rig.service.kinds["list"], Answer(200, {}, lambda _: make(names, next(more))), times=times)
    return store


@pytest.mark.parametrize("name", HOSTILE_NAMES)
@of(LISTING)
def test_download_of_listing_with_hostile_name_writes_nothing_outside(rig: Rig, tmp_path: Path, name: str) -> None:
    target = tmp_path / "deep" / "target"
    name = name.format(folder=rig.folder, target=str(target.parent).lstrip("/"))
    rig.write({"good.bin": b"good"})
    rig.raw.write("elsewhere/outside", b"bad")
    store = lied_to(rig, [f"{rig.folder}/good.bin", name])
    with suppress(HoldallError):
        store.download_artifacts(rig.folder, target)
    written = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()}
    assert written <= {f"deep/target/{rig.folder}/good.bin"}


@pytest.mark.parametrize("name", ["{folder}-beside/kept", "kept"])
@of(LISTING)
def test_delete_of_listing_with_other_names_keeps_them(rig: Rig, name: str) -> None:
    name = name.format(folder=rig.folder)
    rig.write({"mine": b"mine"})
    rig.raw.write(name, b"kept")
    store = lied_to(rig, [f"{rig.folder}/mine", name])
    with pytest.raises(InternalError, match="kept"):
        store.delete_artifacts(rig.folder)
    assert rig.raw.read(name) == b"kept"


@of(LISTING)
def test_listing_with_duplicates_shows_each_name_once(rig: Rig, tmp_path: Path) -> None:
    rig.write({"a": b"1", "b": b"2"})
    store = lied_to(rig, [f"{rig.folder}/{name}" for name in ("a", "b", "a", "a")])
    assert [info.path for info in store.list_artifacts(rig.folder)] == [f"{rig.folder}/a", f"{rig.folder}/b"]
    store.download_artifacts(rig.folder, tmp_path)
    assert sorted(file.name for file in (tmp_path / rig.folder).iterdir()) == ["a", "b"]


@pytest.mark.parametrize("tokens", [["one"], ["one", "two", "three"]], ids=["same", "cycle"])
@of(LISTING)
def test_listing_whose_pages_go_round_ends_with_error(rig: Rig, tokens: list[str]) -> None:
    store = lied_to(rig, [f"{rig.folder}/a"], tokens, times=100)
    for action in (store.list_artifacts, store.delete_artifacts, lambda path: list(store.walk(path))):
        with pytest.raises(InternalError, match="listing"):
            action(rig.folder)
    assert rig.wire.hits_left > 0


# Errors that come after a success


@of([MOTO])
def test_completion_that_fails_after_its_status_is_repeated(rig: Rig, tmp_path: Path) -> None:
    failed = Answer(200, {}, b"<Error><Code>InternalError</Code><Message>Please try again.</Message></Error>")
    rig.wire.on(rig.service.kinds["finish"], failed)
    upload_in_parts(rig, tmp_path)
    assert rig.count("finish") == 2
    assert rig.stored().keys() == {"large.bin"}
    assert rig.unfinished() == []


# Credentials that end in the middle of an upload


@pytest.fixture
def issued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of how many credentials the profile `short-lived` may give out, others each time."""
    allowed, program, config = tmp_path / "allowed", tmp_path / "issue.py", tmp_path / "config"
    allowed.write_text("9", encoding="ascii")
    program.write_text(
        f"""
import json, pathlib
allowed = pathlib.Path({str(allowed)!r})
left = int(allowed.read_text()) - 1
assert left >= 0, "no more credentials"
allowed.write_text(str(left))
answer = {{"AccessKeyId": "AKIA{{left}}", "SecretAccessKey": "secret", "SessionToken": f"token-{{left}}"}}
print(json.dumps({{**answer, "Version": 1, "Expiration": "2999-01-01T00:00:00Z"}}))
""",
        encoding="utf-8",
    )
    process = shlex.join([sys.executable, str(program)])
    config.write_text(f"[profile short-lived]\ncredential_process = {process}\n", encoding="utf-8")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    return allowed


EXPIRED = Answer(400, {}, b"<Error><Code>ExpiredToken</Code><Message>The token has expired.</Message></Error>")


def upload_in_parts(rig: Rig, folder: Path, *, profile: str = "") -> None:
    (folder / "large.bin").write_bytes(bytes(2 * rig.service.part_size + LAST_PART))
    store = rig.open(profile=profile)
    store.log_artifact(folder / "large.bin", rig.folder)


@of([MOTO])
def test_credentials_that_expire_in_mid_upload_are_renewed(rig: Rig, tmp_path: Path, issued: Path) -> None:
    rig.wire.on(rig.service.kinds["part"], EXPIRED, skip=1, times=2)
    upload_in_parts(rig, tmp_path, profile="short-lived")
    assert rig.wire.hits_left == 0
    assert rig.stored().keys() == {"large.bin"}
    assert rig.count("part") == 3 + 2, "more was repeated than what was refused"
    assert issued.read_text(encoding="ascii") == "7", "the credentials were not renewed once"
    tokens = [request.headers.get("x-amz-security-token") for request in rig.wire.requests]
    assert tokens[-1] == "token-7"


@pytest.mark.parametrize("allowed", ["1", "9"], ids=["none", "useless"])
@of([MOTO])
def test_credentials_that_cannot_be_renewed_end_upload_and_leave_nothing(
    rig: Rig, tmp_path: Path, issued: Path, allowed: str
) -> None:
    issued.write_text(allowed, encoding="ascii")
    rig.wire.on(rig.service.kinds["part"], EXPIRED, skip=1, times=ALWAYS)
    with pytest.raises(Unauthenticated):
        upload_in_parts(rig, tmp_path, profile="short-lived")
    assert rig.stored() == {}
    assert rig.unfinished() == []


# Users who interrupt


@contextmanager
def interruptible() -> Iterator[Callable[[], None]]:
    """Gives what interrupts the main thread as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    main = threading.main_thread().ident
    assert main is not None
    try:
        yield lambda: signal.pthread_kill(main, signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


@of(PARTED)
def test_interrupt_while_part_is_under_way_aborts_after_it(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "large.bin").write_bytes(bytes(2 * rig.service.part_size + LAST_PART))
    store = rig.open()

    def upload() -> None:
        store.log_artifact(tmp_path / "large.bin", rig.folder)

    others = rig.traffic("upload", upload).counts["part"] - 1
    rig.begin()
    aborted_early: SimpleQueue[bool] = SimpleQueue()
    with interruptible() as interrupt:

        def hold() -> None:
            rig.wire.wait_until_answered(rig.service.kinds["part"], others, seconds=5.0)
            time.sleep(0.05)  # by then, what is waited for is this part
            interrupt()
            aborted_early.put(rig.wire.wait_for(rig.service.kinds["abort"], seconds=0.3))

        rig.wire.on(rig.service.kinds["part"], Damage("request", "start", hold), skip=others)
        with pytest.raises(KeyboardInterrupt):
            upload()
    assert not aborted_early.get(timeout=10), "a part that arrives after the abort stays for ever"
    assert rig.stored() == {}
    assert rig.unfinished() == []


@of(BEGUN)
def test_interrupt_while_upload_is_begun_leaves_no_upload(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "large.bin").write_bytes(bytes(rig.service.part_size + LAST_PART))
    store = rig.open()
    with interruptible() as interrupt:
        ended = threading.Event()

        def hold() -> None:
            interrupt()
            ended.wait(10)

        rig.wire.on(rig.service.kinds["begin"], Damage("answer", "start", hold))
        with pytest.raises(KeyboardInterrupt):
            store.log_artifact(tmp_path / "large.bin", rig.folder)
        ended.set()
    assert rig.unfinished() == []
