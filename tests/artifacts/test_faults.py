"""What networks and servers do to transfers: they end in success or in a clear error, never in a wrong file."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

import pytest
from tests.artifacts.faulty_services import (
    LAST_PART,
    MIB,
    RESTARTED,
    SERVICES,
    Rig,
    Service,
    Traffic,
    described,
    files_of,
)
from tests.artifacts.faulty_wire import ALWAYS, Answer, Damage, Direction, Fault, HttpRequest, Spot

from holdall.stores import DataLoss, TemporarilyUnavailable, TransferProgress

pytestmark = pytest.mark.extras

T = TypeVar("T")

UPLOAD_KINDS = ("put", "begin", "part", "finish")
DOWNLOAD_KINDS = ("get", "list", "stat")
CUTS = (Fault.RESET, Fault.END)
ANSWERS = {
    "500": Answer(500, {"Content-Type": "text/html"}, b"<html>a proxy's page</html>"),
    "503": Answer(503, {"Retry-After": "0"}),
    "429": Answer(429),
}
IMPATIENT = 0.1
STILL = 0.4
"""Seconds without a byte after which a connection is given up."""


def of(services: Sequence[Service]) -> pytest.MarkDecorator:
    """Run a test for each of these services."""
    return pytest.mark.parametrize("rig", services, indirect=True, ids=str)


def of_http(*kinds: str) -> pytest.MarkDecorator:
    """Run a test for each of these kinds of request of each service that has it."""
    cases = [(service, kind) for service in SERVICES for kind in kinds if kind in service.kinds]
    return pytest.mark.parametrize(("rig", "kind"), cases, indirect=["rig"], ids=str)


DIRECTIONS = pytest.mark.parametrize("direction", ["request", "answer"])
FILES = pytest.mark.parametrize("files", ["small", "large"])
ON_THE_WAY_UP = pytest.mark.parametrize(("files", "direction"), [("small", "answer"), ("large", "request")])
ON_THE_WAY_DOWN = pytest.mark.parametrize(("files", "direction"), [("small", "request"), ("large", "answer")])
DOWNLOADED = [service for service in SERVICES if service.name != "gcs-resumable"]
"""Those whose downloads are not another's."""
TRANSPORTS = [next(service for service in SERVICES if bool(service.kinds) == http) for http in (True, False)]
"""One for each way of carrying bytes."""


@pytest.fixture(scope="module")
def rigs() -> Iterator[dict[str, Rig]]:
    """Those made so far, by the names of their services."""
    made: dict[str, Rig] = {}
    yield made
    for rig in made.values():
        rig.close()


@pytest.fixture(params=SERVICES, ids=str)
def rig(request: pytest.FixtureRequest, rigs: dict[str, Rig]) -> Iterator[Rig]:
    service: Service = request.param
    if service.name not in rigs:
        rigs[service.name] = Rig(service)
    rig = rigs[service.name]
    rig.begin()
    yield rig
    rig.end()


@dataclass(frozen=True)
class Source:
    """Two local folders, `small` and `large`, and what is in them.

    Attributes:
        folders: Where they are.
        data: The content of their files.
        files: The same, described.
    """

    folders: Mapping[str, Path]
    data: Mapping[str, Mapping[str, bytes]]
    files: Mapping[str, Mapping[str, str]]


@pytest.fixture
def source(rig: Rig, sources: Callable[[Service], Source]) -> Source:
    return sources(rig.service)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Service], Source]:
    """Makes what is to be moved, once for each service."""

    @cache
    def make(service: Service) -> Source:
        data = files_of(service)
        folders = {name: tmp_path_factory.mktemp(name) for name in data}
        for name, folder in folders.items():
            for file, content in data[name].items():
                (folder / file).write_bytes(content)
        return Source(folders, data, {name: local_files(folder) for name, folder in folders.items()})

    return make


def local_files(folder: Path) -> dict[str, str]:
    """What is in a folder, described, hidden and unfinished files included."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {str(file.relative_to(folder)): described(file.read_bytes()) for file in files}


def upload(rig: Rig, source: Source, files: str, *, patience: float = 5.0, timeout: float = 10.0) -> None:
    rig.open(patience=patience, timeout=timeout).log_artifacts(source.folders[files], rig.folder)


def download(rig: Rig, target: Path, *, patience: float = 5.0, timeout: float = 10.0) -> dict[str, str]:
    """Download the folder of the test; what came, described."""
    store = rig.open(patience=patience, timeout=timeout, part_size=MIB)
    return local_files(store.download_artifacts(rig.folder, target))


def upload_traffic(rig: Rig, source: Source, files: str) -> Traffic:
    return rig.traffic(f"upload {files}", lambda: upload(rig, source, files))


def download_traffic(rig: Rig, target: Path, files: str) -> Traffic:
    return rig.traffic(f"download {files}", lambda: download(rig, target))


def until_sprung(rig: Rig, action: Callable[[], T]) -> T:
    """Do something until what was set in its way has happened: how many bytes pass varies a little."""
    done = action()
    while not rig.wire.sprung:
        done = action()
    return done


def files_for(kind: str) -> str:
    """The files whose upload takes requests of a kind."""
    return "small" if kind == "put" else "large"


def require_whole(rig: Rig, source: Source, files: str) -> None:
    """The files are there as they were sent, and nothing else."""
    assert rig.stored() == source.files[files]
    assert rig.unfinished() == []


def require_nothing(rig: Rig) -> None:
    """Nothing is there, and nothing of an upload is left."""
    assert rig.stored() == {}
    assert rig.unfinished() == []


def write_old(rig: Rig, source: Source, files: str) -> dict[str, str]:
    """Put old files where new ones will be; what is there then."""
    rig.write(dict.fromkeys(source.data[files], b"old"))
    return dict.fromkeys(source.data[files], described(b"old"))


def require_old_or_new(rig: Rig, new: Mapping[str, str], old: Mapping[str, str]) -> None:
    """Every file is there as it was, or whole and new, or not at all if it was not; nothing else is."""
    stored = rig.stored(private=False)
    assert stored.keys() <= new.keys()
    for path, content in new.items():
        assert stored.get(path) in (old.get(path), content), f"{path} is neither the old file nor the new one"


# Connections that are cut


@dataclass(frozen=True)
class Cut:
    """Where a seed cuts: in a folder of small files or in a large one, in what is sent or in what is answered."""

    seed: int

    @property
    def files(self) -> str:
        return ("small", "large")[self.seed % 2]

    def set(self, rig: Rig, traffic: Traffic) -> None:
        direction: Direction = ("request", "answer")[self.seed // 2 % 2]
        at = int(random.Random(self.seed).uniform(0, 0.95) * traffic.sizes[direction])
        rig.wire.trap(direction, at, CUTS[self.seed // 4 % 2])


@pytest.mark.parametrize("seed", range(20))
def test_upload_cut_once_at_random_byte_arrives_whole(rig: Rig, source: Source, seed: int) -> None:
    cut = Cut(seed)
    cut.set(rig, upload_traffic(rig, source, cut.files))
    until_sprung(rig, lambda: upload(rig, source, cut.files))
    require_whole(rig, source, cut.files)


@pytest.mark.parametrize("seed", range(20))
@of(DOWNLOADED)
def test_download_cut_once_at_random_byte_arrives_whole(rig: Rig, source: Source, tmp_path: Path, seed: int) -> None:
    cut = Cut(seed)
    rig.write(source.data[cut.files])
    cut.set(rig, download_traffic(rig, tmp_path / "whole", cut.files))
    assert until_sprung(rig, lambda: download(rig, tmp_path / "cut")) == source.files[cut.files]


@pytest.mark.parametrize(
    ("direction", "spot"), [("request", "head"), ("request", "body"), ("answer", "start"), ("answer", "body")]
)
@of_http(*UPLOAD_KINDS)
def test_upload_request_cut_once_arrives_whole(
    rig: Rig, source: Source, kind: str, direction: Direction, spot: Spot
) -> None:
    rig.wire.on(rig.service.kinds[kind], Damage(direction, spot, Fault.RESET))
    upload(rig, source, files_for(kind))
    assert rig.wire.hits_left == 0
    require_whole(rig, source, files_for(kind))


@pytest.mark.parametrize("spot", ["head", "body", "end"])
@of_http(*DOWNLOAD_KINDS)
def test_download_answer_cut_once_arrives_whole(
    rig: Rig, source: Source, tmp_path: Path, kind: str, spot: Spot
) -> None:
    rig.write(source.data["large"])
    rig.wire.on(rig.service.kinds[kind], Damage("answer", spot, Fault.END))
    assert download(rig, tmp_path) == source.files["large"]
    assert rig.wire.hits_left == 0


@pytest.mark.parametrize(("direction", "replacing"), [("request", True), ("answer", False)])
@of_http(*UPLOAD_KINDS)
def test_upload_request_always_cut_leaves_nothing_partial(
    rig: Rig, source: Source, kind: str, direction: Direction, replacing: bool
) -> None:
    files = files_for(kind)
    before = write_old(rig, source, files) if replacing else {}
    rig.wire.on(rig.service.kinds[kind], Damage(direction, "body", Fault.RESET), times=ALWAYS)
    with suppress(TemporarilyUnavailable):  # who can ask how far an upload is does without answers to its parts
        upload(rig, source, files, patience=IMPATIENT)
        require_whole(rig, source, files)
    require_old_or_new(rig, source.files[files], before)
    assert rig.stored() == rig.stored(private=False)
    if not (replacing and rig.service.keeps_parts_beside_file):
        assert rig.unfinished() == []


@ON_THE_WAY_UP
def test_upload_over_wire_that_dies_leaves_nothing_partial(
    rig: Rig, source: Source, files: str, direction: Direction
) -> None:
    before = write_old(rig, source, files)
    traffic = upload_traffic(rig, source, files)
    rig.wire.trap(direction, traffic.sizes[direction] // 2, Fault.RESET, forever=True)
    with pytest.raises(TemporarilyUnavailable):
        until_sprung(rig, lambda: upload(rig, source, files, patience=IMPATIENT))
    require_old_or_new(rig, source.files[files], before)
    rig.wire.reset()
    upload(rig, source, files)
    assert rig.stored(private=False) == source.files[files]


@ON_THE_WAY_DOWN
@of(DOWNLOADED)
def test_download_over_wire_that_dies_leaves_no_partial_file(
    rig: Rig, source: Source, tmp_path: Path, files: str, direction: Direction
) -> None:
    rig.write(source.data[files])
    traffic = download_traffic(rig, tmp_path / "whole", files)
    rig.wire.trap(direction, traffic.sizes[direction] // 2, Fault.RESET, forever=True)
    with pytest.raises(TemporarilyUnavailable):
        until_sprung(rig, lambda: download(rig, tmp_path / "dead", patience=IMPATIENT))
    found = local_files(tmp_path / "dead")
    assert all(content == source.files[files][Path(path).name] for path, content in found.items())
    assert len(found) < len(source.files[files])


@pytest.mark.parametrize("spot", ["start", "body"])
@of_http(*DOWNLOAD_KINDS)
def test_download_answer_always_cut_leaves_no_file(
    rig: Rig, source: Source, tmp_path: Path, kind: str, spot: Spot
) -> None:
    rig.write(source.data["large"])
    last = download_traffic(rig, tmp_path / "whole", "large").counts[kind] - 1
    rig.wire.on(rig.service.kinds[kind], Damage("answer", spot, Fault.END), skip=last, times=ALWAYS)
    with pytest.raises(TemporarilyUnavailable):
        download(rig, tmp_path / "cut", patience=IMPATIENT)
    assert local_files(tmp_path / "cut") == {}


# Answers that ask for patience


@pytest.mark.parametrize("answer", ANSWERS)
@of_http(*UPLOAD_KINDS)
def test_upload_refused_for_a_moment_repeats_that_request_alone(
    rig: Rig, source: Source, kind: str, answer: str
) -> None:
    files = files_for(kind)
    expected = dict(upload_traffic(rig, source, files).counts)
    expected[kind] += 1
    rig.wire.on(rig.service.kinds[kind], ANSWERS[answer], skip=expected[kind] // 3)
    upload(rig, source, files)
    assert rig.wire.hits_left == 0
    require_whole(rig, source, files)
    assert {kind: rig.count(kind) for kind in UPLOAD_KINDS if kind in expected} == {
        kind: expected[kind] for kind in UPLOAD_KINDS if kind in expected
    }


@pytest.mark.parametrize("answer", ANSWERS)
@of_http(*DOWNLOAD_KINDS)
def test_download_refused_for_a_moment_repeats_that_request_alone(
    rig: Rig, source: Source, tmp_path: Path, kind: str, answer: str
) -> None:
    rig.write(source.data["large"])
    expected = dict(download_traffic(rig, tmp_path / "whole", "large").counts)
    expected[kind] += 1
    rig.wire.on(rig.service.kinds[kind], ANSWERS[answer], skip=expected[kind] // 3)
    assert download(rig, tmp_path / "refused") == source.files["large"]
    assert rig.wire.hits_left == 0
    assert {kind: rig.count(kind) for kind in expected} == expected


@of_http("put")
def test_upload_refused_with_retry_after_waits_as_long(rig: Rig, source: Source, kind: str) -> None:
    rig.wire.on(rig.service.kinds[kind], Answer(503, {"Retry-After": "1"}))
    began = time.monotonic()
    upload(rig, source, "small")
    assert time.monotonic() - began >= 1
    require_whole(rig, source, "small")


@of_http("put")
def test_upload_told_to_wait_longer_than_patience_fails_at_once(rig: Rig, source: Source, kind: str) -> None:
    rig.wire.on(rig.service.kinds[kind], Answer(503, {"Retry-After": "50"}), times=ALWAYS)
    began = time.monotonic()
    with pytest.raises(TemporarilyUnavailable):
        upload(rig, source, "small")
    assert time.monotonic() - began < 50
    require_nothing(rig)


@of_http(*UPLOAD_KINDS)
def test_upload_refused_for_good_gives_clear_error_and_leaves_nothing(rig: Rig, source: Source, kind: str) -> None:
    rig.wire.on(rig.service.kinds[kind], ANSWERS["503"], times=ALWAYS)
    with pytest.raises(TemporarilyUnavailable, match="503"):
        upload(rig, source, files_for(kind), patience=IMPATIENT)
    require_nothing(rig)


@of_http(*DOWNLOAD_KINDS)
def test_download_refused_for_good_gives_clear_error_and_leaves_no_file(
    rig: Rig, source: Source, tmp_path: Path, kind: str
) -> None:
    rig.write(source.data["large"])
    rig.wire.on(rig.service.kinds[kind], ANSWERS["503"], times=ALWAYS)
    with pytest.raises(TemporarilyUnavailable, match="503"):
        download(rig, tmp_path, patience=IMPATIENT)
    assert local_files(tmp_path) == {}


# Connections that stand still


@ON_THE_WAY_UP
def test_upload_that_stalls_once_arrives_whole(rig: Rig, source: Source, files: str, direction: Direction) -> None:
    traffic = upload_traffic(rig, source, files)
    rig.wire.trap(direction, traffic.sizes[direction] // 2, Fault.STALL)
    until_sprung(rig, lambda: upload(rig, source, files, timeout=STILL))
    require_whole(rig, source, files)


@ON_THE_WAY_DOWN
@of(DOWNLOADED)
def test_download_that_stalls_once_arrives_whole(
    rig: Rig, source: Source, tmp_path: Path, files: str, direction: Direction
) -> None:
    rig.write(source.data[files])
    traffic = download_traffic(rig, tmp_path / "whole", files)
    rig.wire.trap(direction, traffic.sizes[direction] // 2, Fault.STALL)
    assert until_sprung(rig, lambda: download(rig, tmp_path / "stalled", timeout=STILL)) == source.files[files]


@of_http("part")
def test_upload_that_always_stalls_gives_clear_error(rig: Rig, source: Source, kind: str) -> None:
    rig.wire.on(rig.service.kinds[kind], Damage("request", "body", Fault.STALL), times=ALWAYS)
    with pytest.raises(TemporarilyUnavailable, match="in time"):
        upload(rig, source, files_for(kind), timeout=STILL, patience=IMPATIENT)
    require_nothing(rig)


@of_http("get")
def test_download_that_always_stalls_gives_clear_error(rig: Rig, source: Source, tmp_path: Path, kind: str) -> None:
    rig.write(source.data["large"])
    rig.wire.on(rig.service.kinds[kind], Damage("answer", "body", Fault.STALL), times=ALWAYS)
    with pytest.raises(TemporarilyUnavailable, match="in time"):
        download(rig, tmp_path, timeout=STILL, patience=IMPATIENT)
    assert local_files(tmp_path) == {}


@of(TRANSPORTS)
def test_upload_that_is_slow_and_never_still_is_not_timed_out(rig: Rig, tmp_path: Path) -> None:
    data = random.Random(1).randbytes(2 * MIB)
    (tmp_path / "slow.bin").write_bytes(data)
    store = rig.open(timeout=STILL, patience=IMPATIENT)
    rig.wire.bytes_per_second = int(2 * MIB / STILL / 4)
    store.log_artifact(tmp_path / "slow.bin", rig.folder)
    assert rig.stored() == {"slow.bin": described(data)}


# Servers that start again


@of(RESTARTED)
def test_upload_over_restart_of_server_arrives_whole(rig: Rig, source: Source) -> None:
    traffic = upload_traffic(rig, source, "large")
    rig.wire.trap("request", traffic.sizes["request"] // 2, rig.restart)
    until_sprung(rig, lambda: upload(rig, source, "large", patience=60.0))
    require_whole(rig, source, "large")


@of(RESTARTED)
def test_download_over_restart_of_server_arrives_whole(rig: Rig, source: Source, tmp_path: Path) -> None:
    rig.write(source.data["large"])
    traffic = download_traffic(rig, tmp_path / "whole", "large")
    rig.wire.trap("answer", traffic.sizes["answer"] // 2, rig.restart)
    assert until_sprung(rig, lambda: download(rig, tmp_path / "again", patience=60.0)) == source.files["large"]


# Bytes that change on their way


def is_long(request: HttpRequest) -> bool:
    """Whether the middle of its body is content of a file, whatever is around that."""
    return int(request.headers.get("content-length", "0")) > 60_000


@of_http("put", "part")
def test_upload_with_flipped_bit_is_sent_again_or_refused(rig: Rig, source: Source, kind: str) -> None:
    matches = rig.service.kinds[kind]
    rig.wire.on(lambda request: matches(request) and is_long(request), Damage("request", "body", Fault.FLIP))
    with suppress(DataLoss):
        upload(rig, source, files_for(kind))
        require_whole(rig, source, files_for(kind))
    assert rig.wire.hits_left == 0
    assert rig.stored().items() <= source.files[files_for(kind)].items()
    assert rig.unfinished() == []


@FILES
@of_http("get")
def test_download_with_flipped_bit_leaves_no_wrong_file(
    rig: Rig, source: Source, tmp_path: Path, kind: str, files: str
) -> None:
    matches, name = rig.service.kinds[kind], max(source.files[files], key=len)
    rig.write({name: source.data[files][name]})
    rig.wire.on(matches, Damage("answer", "body", Fault.FLIP))
    with pytest.raises(DataLoss):
        download(rig, tmp_path)
    assert rig.wire.hits_left == 0
    assert local_files(tmp_path) == {}


@DIRECTIONS
@of([service for service in SERVICES if not service.kinds])
def test_transfer_with_flipped_bit_under_encryption_arrives_whole(
    rig: Rig, source: Source, tmp_path: Path, direction: Direction
) -> None:
    traffic = upload_traffic(rig, source, "large")
    rig.wire.trap(direction, traffic.sizes[direction] // 2, Fault.FLIP)
    until_sprung(rig, lambda: upload(rig, source, "large"))
    require_whole(rig, source, "large")
    traffic = download_traffic(rig, tmp_path / "whole", "large")
    rig.wire.trap(direction, traffic.sizes[direction] // 2, Fault.FLIP)
    assert until_sprung(rig, lambda: download(rig, tmp_path / "flipped")) == source.files["large"]


# Users who lose patience


def test_upload_cancelled_in_the_middle_leaves_nothing(rig: Rig, source: Source) -> None:
    with pytest.raises(KeyboardInterrupt):
        cancel_upload(rig, source)
    require_nothing(rig)


@DIRECTIONS
@of_http("abort")
def test_abort_cut_once_leaves_nothing(rig: Rig, source: Source, kind: str, direction: Direction) -> None:
    rig.wire.on(rig.service.kinds[kind], Damage(direction, "start", Fault.RESET))
    with pytest.raises(KeyboardInterrupt):
        cancel_upload(rig, source)
    assert rig.wire.hits_left == 0
    require_nothing(rig)


@of_http("abort")
def test_upload_that_cannot_be_aborted_raises_what_it_was_cancelled_by(rig: Rig, source: Source, kind: str) -> None:
    rig.wire.on(rig.service.kinds[kind], ANSWERS["503"], times=ALWAYS)
    with pytest.raises(KeyboardInterrupt):
        cancel_upload(rig, source, patience=IMPATIENT)
    assert rig.stored(private=False) == {}


def cancel_upload(rig: Rig, source: Source, *, patience: float = 5.0) -> None:
    """Upload the large file, and cancel that once a part is with the server."""

    def cancel(progress: TransferProgress) -> None:
        if progress.bytes_done > progress.bytes_total - LAST_PART:
            if rig.service.kinds:
                rig.wire.wait_until_answered(rig.service.kinds["part"], 1, seconds=10.0)
            raise KeyboardInterrupt

    rig.open(patience=patience).log_artifacts(source.folders["large"], rig.folder, progress=cancel)
