"""How `GcsArtifactStore` moves bytes, against a server that keeps to Google's protocol and fails as planned."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.artifacts.gcs_server import STEP, Answer, Fault, GcsServer, Seen, refusal, serving

from holdall.stores import (
    ArtifactStore,
    DataLoss,
    FileInfo,
    InternalError,
    InvalidParameterValue,
    NotFound,
    TemporarilyUnavailable,
    open_artifact_store,
)
from holdall.stores.atomic_file import PRIVATE_PREFIX
from holdall.stores.errors import PermissionDenied

pytestmark = pytest.mark.extras


@pytest.fixture
def server() -> Iterator[GcsServer]:
    with serving() as server:
        yield server


def opened(server: GcsServer, **options: object) -> ArtifactStore:
    """A store with pieces of 256 KiB that gives up after a second."""
    options = {"anonymous": "true", "chunk_size": STEP, "patience": 1, **options}
    query = "&".join(f"{name}={value}" for name, value in options.items())
    return open_artifact_store(f"gs://bucket/root?endpoint_url={server.url}&{query}")


def content(pieces: float) -> bytes:
    """So many pieces of different bytes."""
    return b"".join(index.to_bytes(4, "big") for index in range(int(pieces * STEP) // 4))


def write(store: ArtifactStore, path: str, data: bytes) -> None:
    with store.open(path, "wb") as upload:
        upload.write(data)


def is_piece(seen: Seen) -> bool:
    return seen.method == "PUT" and not seen.range.startswith("bytes *")


def is_part(seen: Seen) -> bool:
    return seen.query.get("uploadType") == "media"


def is_final_compose(seen: Seen) -> bool:
    return seen.path.endswith("/o/root%2Ffile/compose")


def nth(number: int, matches: Any) -> Any:
    """Matches the request of that number, from 0, among those that match."""
    count = iter(range(1000))
    return lambda seen: matches(seen) and next(count) == number


class TestSmallFile:
    def test_write_small_file_takes_one_request(self, server: GcsServer) -> None:
        with opened(server) as store:
            write(store, "model.json", b"{}")
        assert [(seen.method, seen.query["uploadType"]) for seen in server.seen] == [("POST", "multipart")]
        kept = server.objects["root/model.json"]
        assert (kept.data, kept.metadata["contentType"]) == (b"{}", "application/json")

    @pytest.mark.parametrize(
        "fault",
        [
            Fault(lambda seen: True, change=lambda body: body.replace(b"intact", b"INTACT")),
            Fault(lambda seen: True, lose_answer=True),
            Fault(lambda seen: True, cut=100),
            Fault(lambda seen: True, times=3, answer=refusal(503, "backendError")),
            Fault(lambda seen: True, answer=refusal(403, "rateLimitExceeded")),
        ],
        ids=["damaged", "answer-lost", "cut", "unavailable", "too-fast"],
    )
    def test_write_through_fault_ends_with_the_file(self, server: GcsServer, fault: Fault) -> None:
        server.faults.append(fault)
        with opened(server) as store:
            write(store, "file", b"intact")
        assert server.objects["root/file"].data == b"intact"
        assert fault.times == 0

    def test_write_that_is_always_damaged_keeps_the_old_file(self, server: GcsServer) -> None:
        server.put("root/file", b"old")
        server.faults.append(Fault(lambda seen: True, times=1000, change=lambda body: body.replace(b"new", b"NEW")))
        with opened(server, patience=0.3) as store, pytest.raises(TemporarilyUnavailable, match="damaged"):
            write(store, "file", b"new")
        assert server.objects["root/file"].data == b"old"


class TestResumableUpload:
    def test_write_large_file_sends_pieces_in_order(self, server: GcsServer) -> None:
        data = content(3.5)
        with opened(server) as store:
            write(store, "file", data)
        assert server.objects["root/file"].data == data
        assert [seen.range for seen in server.requests("PUT")] == [
            f"bytes 0-{STEP - 1}/*",
            f"bytes {STEP}-{2 * STEP - 1}/*",
            f"bytes {2 * STEP}-{3 * STEP - 1}/*",
            f"bytes {3 * STEP}-{len(data) - 1}/{len(data)}",
        ]
        assert server.sessions == {}

    def test_write_file_of_whole_pieces_and_unknown_size_ends_with_an_empty_one(self, server: GcsServer) -> None:
        with opened(server) as store:
            write(store, "file", content(2))
        assert [seen.range for seen in server.requests("PUT")][-1] == f"bytes */{2 * STEP}"
        assert server.objects["root/file"].data == content(2)

    def test_log_file_of_whole_pieces_tells_its_size_with_the_last(self, server: GcsServer, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(content(2))
        with opened(server) as store:
            store.log_artifact(tmp_path / "file")
        assert [seen.range for seen in server.requests("PUT")][-1] == f"bytes {STEP}-{2 * STEP - 1}/{2 * STEP}"
        assert server.objects["root/file"].data == content(2)

    def test_break_in_piece_goes_on_where_the_service_is(self, server: GcsServer) -> None:
        """What the service has is not sent again: the piece of 512 KiB breaks after 300, of which 256 are kept."""
        data = content(5.5)
        server.faults.append(Fault(nth(1, is_piece), cut=300 << 10))
        with opened(server, chunk_size=2 * STEP) as store:
            write(store, "file", data)
        assert server.objects["root/file"].data == data
        assert [seen.range for seen in server.requests("PUT")] == [
            f"bytes 0-{2 * STEP - 1}/*",
            f"bytes {2 * STEP}-{4 * STEP - 1}/*",
            "bytes */*",
            f"bytes {3 * STEP}-{4 * STEP - 1}/*",
            f"bytes {4 * STEP}-{len(data) - 1}/{len(data)}",
        ]

    @pytest.mark.parametrize("number", [0, 1, 2], ids=["first", "middle", "last"])
    @pytest.mark.parametrize(
        "fault",
        [{"lose_answer": True}, {"cut": 0}, {"cut": 10}, {"answer": refusal(503, "backendError")}],
        ids=["answer-lost", "nothing-arrives", "cut", "unavailable"],
    )
    def test_fault_in_any_piece_ends_with_the_file(self, server: GcsServer, number: int, fault: dict[str, Any]) -> None:
        data = content(2.5)
        server.faults.append(Fault(nth(number, is_piece), **fault))
        before = server.put("root/file", b"old").generation
        with opened(server) as store:
            write(store, "file", data)
        assert server.objects["root/file"].data == data
        assert server.objects["root/file"].generation == before + 1, "it was made more than once"
        assert len(server.requests("PUT", "upload_id")) <= 3 + 2

    def test_status_query_that_fails_is_asked_again(self, server: GcsServer) -> None:
        server.faults.append(Fault(nth(1, is_piece), cut=10))
        server.faults.append(Fault(lambda seen: seen.range == "bytes */*", times=3, answer=refusal(503, "x")))
        with opened(server) as store:
            write(store, "file", content(3))
        assert server.objects["root/file"].data == content(3)

    def test_service_without_progress_is_given_up_after_patience(self, server: GcsServer) -> None:
        """Status queries that succeed are no progress.

        Usual cause of failure: patience begins anew with every answer.
        """
        server.faults.append(Fault(nth(1, is_piece), cut=0))
        server.faults.append(Fault(lambda seen: is_piece(seen) and len(server.seen) > 3, times=1000, cut=0))
        with opened(server, patience=0.5) as store, pytest.raises(TemporarilyUnavailable):
            write(store, "file", content(3))
        assert server.objects == {}
        assert server.sessions == {}

    def test_damage_in_piece_is_data_loss_and_keeps_the_old_file(self, server: GcsServer) -> None:
        server.put("root/file", b"old")
        server.faults.append(Fault(nth(1, is_piece), change=lambda body: b"?" + body[1:]))
        with opened(server) as store, pytest.raises(DataLoss):
            write(store, "file", content(3))
        assert server.objects["root/file"].data == b"old"

    def test_forgotten_upload_is_a_clear_error(self, server: GcsServer) -> None:
        server.faults.append(Fault(nth(1, is_piece), before=server.sessions.clear))
        with opened(server) as store, pytest.raises(InternalError, match="try again"):
            write(store, "file", content(3))
        assert server.objects == {}

    def test_abort_drops_the_upload(self, server: GcsServer) -> None:
        with opened(server) as store:
            upload = store.open("file", "wb")
            upload.write(content(3))
            upload.abort()
        assert server.objects == {}
        assert server.sessions == {}

    def test_service_that_ends_the_upload_early_leaves_no_short_file(self, server: GcsServer) -> None:
        """A status query ends the upload on some emulators."""
        server.ends_on_status = True
        server.faults.append(Fault(nth(1, is_piece), cut=10))
        with opened(server) as store, pytest.raises(InternalError, match="last piece"):
            write(store, "file", content(3))
        assert server.objects == {}

    def test_session_address_of_another_host_is_not_followed(self, server: GcsServer) -> None:
        """Credentials go to the endpoint only; the server of the tests names another host for every upload."""
        with opened(server) as store:
            write(store, "file", content(1.5))
        assert len(server.requests("PUT")) == 2


class TestCompositeUpload:
    def test_log_large_file_composes_parts_and_leaves_none(self, server: GcsServer, tmp_path: Path) -> None:
        data = content(5.5)
        (tmp_path / "file").write_bytes(data)
        with opened(server, composite="true") as store:
            store.log_artifact(tmp_path / "file")
            assert store.list_artifacts() == [FileInfo("file", False, len(data))]
        assert {key: kept.data for key, kept in server.objects.items()} == {"root/file": data}
        assert len(server.requests("POST", "uploadType=media")) == 6
        assert server.requests("DELETE") == [], "composing has deleted the parts"

    @pytest.mark.parametrize("deletes_sources", [True, False], ids=["service-deletes", "store-deletes"])
    def test_log_file_of_many_parts_composes_in_levels(
        self, server: GcsServer, monkeypatch: pytest.MonkeyPatch, deletes_sources: bool
    ) -> None:
        monkeypatch.setattr("holdall.artifacts.gcs.uploads.MOST_SOURCES", 3)
        server.deletes_sources = deletes_sources
        with opened(server, composite="true") as store:
            write(store, "file", content(19.5))
        assert {key: kept.data for key, kept in server.objects.items()} == {"root/file": content(19.5)}
        # 20 parts → 7 → 3 → the file
        assert len(server.requests("POST", "/compose")) == 7 + 3 + 1

    def test_parts_are_seen_by_nobody(self, server: GcsServer) -> None:
        with opened(server, composite="true") as store:
            upload = store.open("file", "wb")
            upload.write(content(20))  # many more than are held in memory
            assert len(server.objects) > 1
            assert store.list_artifacts() == []
            assert list(store.walk()) == []
            upload.close()
            assert [info.path for info in store.walk()] == ["file"]

    @pytest.mark.parametrize("times", [1, 3])
    @pytest.mark.parametrize(
        "fault",
        [
            {"lose_answer": True},
            {"cut": 10},
            {"answer": refusal(503, "backendError")},
            {"change": lambda body: b"?" + body[1:]},
        ],
        ids=["answer-lost", "cut", "unavailable", "damaged"],
    )
    def test_fault_in_part_repeats_that_part_alone(self, server: GcsServer, fault: dict[str, Any], times: int) -> None:
        failing: list[str] = []
        before = server.put("root/file", b"old").generation

        def matches(seen: Seen) -> bool:
            if is_part(seen) and not failing:
                failing.append(seen.query["name"])
            return is_part(seen) and seen.query["name"] == failing[0]

        server.faults.append(Fault(matches, times=times, **fault))
        with opened(server, composite="true", patience=5) as store:
            write(store, "file", content(6))
        assert {key: kept.data for key, kept in server.objects.items()} == {"root/file": content(6)}
        assert server.objects["root/file"].generation == before + 6 + 1, "a part has more than one generation"
        sent = [seen.query["name"] for seen in server.seen if is_part(seen)]
        assert len(set(sent)) == 6
        assert {name for name in sent if sent.count(name) > 1} == set(failing)

    @pytest.mark.parametrize("deletes_sources", [True, False])
    def test_lost_answer_of_composing_is_recognised(self, server: GcsServer, deletes_sources: bool) -> None:
        """The parts are gone and the object is there: it was done.

        Usual cause of failure: the repeated request fails, although the file has appeared.
        """
        server.deletes_sources = deletes_sources
        before = server.put("root/file", b"old").generation
        server.faults.append(Fault(is_final_compose, lose_answer=True))
        with opened(server, composite="true") as store:
            write(store, "file", content(4))
        assert {key: kept.data for key, kept in server.objects.items()} == {"root/file": content(4)}
        assert server.objects["root/file"].generation == before + 4 + 1

    def test_write_same_bytes_again_makes_a_new_object(self, server: GcsServer) -> None:
        """What is there is not taken for what was to be written because size and checksum are the same."""
        before = server.put("root/file", content(4)).generation
        with opened(server, composite="true") as store:
            write(store, "file", content(4))
        assert server.objects["root/file"].generation > before

    def test_writer_in_between_is_replaced_by_the_last_to_finish(self, server: GcsServer) -> None:
        server.faults.append(Fault(is_final_compose, before=lambda: server.put("root/file", b"other")))
        with opened(server, composite="true") as store:
            write(store, "file", content(4))
        assert server.objects["root/file"].data == content(4)
        assert len([seen for seen in server.seen if is_final_compose(seen)]) == 2

    def test_lost_answer_and_a_later_writer_keeps_the_later_file(self, server: GcsServer) -> None:
        """What the lost answer was about has been replaced since; it is not put on top of that."""
        server.faults.append(Fault(is_final_compose, lose_answer=True))
        server.faults.append(Fault(is_final_compose, before=lambda: server.put("root/file", b"later")))
        with opened(server, composite="true") as store, pytest.raises(DataLoss):
            write(store, "file", content(4))
        assert {key: kept.data for key, kept in server.objects.items()} == {"root/file": b"later"}

    def test_parts_deleted_by_others_is_data_loss(self, server: GcsServer) -> None:
        server.faults.append(Fault(is_final_compose, before=server.objects.clear))
        with opened(server, composite="true") as store, pytest.raises(DataLoss, match="deleted"):
            write(store, "file", content(4))
        assert server.objects == {}

    @pytest.mark.parametrize("where", [is_part, is_final_compose], ids=["part", "compose"])
    def test_failure_for_good_removes_all_parts(self, server: GcsServer, where: Any) -> None:
        server.put("root/file", b"old")
        server.faults.append(Fault(nth(0, where), answer=refusal(403, "forbidden", "no permission")))
        with opened(server, composite="true") as store, pytest.raises(PermissionDenied, match="no permission"):
            write(store, "file", content(6))
        assert {key: kept.data for key, kept in server.objects.items()} == {"root/file": b"old"}

    def test_refusal_to_compose_tells_how_to_do_without(self, server: GcsServer) -> None:
        """Who may only create objects, or has a retention policy, cannot send parts."""
        server.faults.append(Fault(is_final_compose, answer=refusal(403, "forbidden", "no permission")))
        with opened(server, composite="true") as store, pytest.raises(PermissionDenied, match=r"\?composite=false"):
            write(store, "file", content(2))

    def test_abort_removes_all_parts(self, server: GcsServer) -> None:
        with opened(server, composite="true") as store:
            upload = store.open("file", "wb")
            upload.write(content(6))
            upload.abort()
        assert server.objects == {}

    def test_composed_bytes_that_differ_are_removed(self, server: GcsServer) -> None:
        server.change_composed = lambda data: b"?" + data[1:]
        with opened(server, composite="true") as store, pytest.raises(DataLoss):
            write(store, "file", content(4))
        assert server.objects == {}

    def test_tidying_up_that_fails_is_logged_and_keeps_the_file(
        self, server: GcsServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A retention policy may keep parts from being deleted; the file is there nevertheless."""
        server.deletes_sources = False
        forbidden = refusal(403, "retentionPolicyNotMet")
        server.faults.append(Fault(lambda seen: seen.method == "DELETE", times=1000, answer=forbidden))
        with opened(server, composite="true") as store, caplog.at_level(logging.WARNING):
            write(store, "file", content(4))
            assert store.stat("file").file_size == 4 * STEP
        assert "parts of 'root/file'" in caplog.text

    @pytest.mark.parametrize(("size", "parts"), [(64 << 20, 8), ((64 << 20) - 1, 0)])
    def test_size_decides_how_a_file_is_sent(self, server: GcsServer, tmp_path: Path, size: int, parts: int) -> None:
        with (tmp_path / "file").open("wb") as file:
            file.truncate(size)
        with opened(server, chunk_size=8 << 20, patience=10) as store:
            store.log_artifact(tmp_path / "file")
        assert len(server.requests("POST", "uploadType=media")) == parts
        assert len(server.objects["root/file"].data) == size

    def test_composite_false_sends_no_parts(self, server: GcsServer, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"x" * (65 << 20))
        with opened(server, composite="false", chunk_size=16 << 20, patience=10) as store:
            store.log_artifact(tmp_path / "file")
        assert server.requests("POST", "uploadType=media") == []


class TestStaleParts:
    def test_first_large_upload_removes_parts_of_killed_processes(self, server: GcsServer) -> None:
        """Parts a day old go, with others of their upload only if those are old too; younger uploads are kept."""
        old = datetime.now(UTC) - timedelta(hours=25)
        for name, created in (("dead-1", old), ("dead-2", old), ("slow-1", old), ("slow-2", datetime.now(UTC))):
            server.put(f"root/{PRIVATE_PREFIX}{name}", b"part").created = created
        server.put("root/ordinary", b"kept").created = old
        server.put(f"elsewhere/{PRIVATE_PREFIX}dead-1", b"another store's").created = old
        with opened(server, composite="true") as store:
            write(store, "file", content(2))
        left = {key.replace(PRIVATE_PREFIX, "") for key in server.objects}
        assert left == {"root/slow-1", "root/slow-2", "root/ordinary", "root/file", "elsewhere/dead-1"}

    def test_second_large_upload_does_not_look_again(self, server: GcsServer) -> None:
        with opened(server, composite="true") as store:
            write(store, "one", content(2))
            before = len(server.requests("GET", "versions=true"))
            write(store, "two", content(2))
        assert (before, len(server.requests("GET", "versions=true"))) == (2, 3)


class TestDownload:
    def test_download_in_ranges_reads_one_generation(self, server: GcsServer, tmp_path: Path) -> None:
        server.put("root/file", content(9.5))
        with opened(server) as store:
            assert store.download_artifacts("file", tmp_path).read_bytes() == content(9.5)
        assert len(server.requests("GET", "alt=media")) == 10

    def test_replace_during_download_is_data_loss(self, server: GcsServer, tmp_path: Path) -> None:
        """The new file has the same size, so that generations alone tell."""
        server.put("root/file", content(9.5))
        fault = Fault(
            lambda seen: f"{5 * STEP}-" in seen.headers.get("range", ""),
            before=lambda: server.put("root/file", content(9.5)[::-1]),
        )
        server.faults.append(fault)
        with opened(server) as store, pytest.raises(DataLoss, match="replaced"):
            store.download_artifacts("file", tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_shrink_during_download_is_data_loss(self, server: GcsServer, tmp_path: Path) -> None:
        server.put("root/file", content(9.5))
        fault = Fault(
            lambda seen: f"{5 * STEP}-" in seen.headers.get("range", ""),
            before=lambda: server.put("root/file", b"short"),
        )
        server.faults.append(fault)
        with opened(server) as store, pytest.raises(DataLoss, match="replaced"):
            store.download_artifacts("file", tmp_path)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("hashes", ["crc32c=AAAAAA==", "md5=AAAAAAAAAAAAAAAAAAAAAA==,crc32c=AAAAAA=="])
    @pytest.mark.parametrize("pieces", [0.5, 4])
    def test_bytes_of_another_digest_are_data_loss(
        self, server: GcsServer, tmp_path: Path, hashes: str, pieces: float
    ) -> None:
        server.put("root/file", content(pieces), hashes=hashes)
        with opened(server) as store, pytest.raises(DataLoss, match="digest"):
            store.download_artifacts("file", tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_digest_is_md5_where_there_is_no_crc32c(self, server: GcsServer) -> None:
        server.put("root/file", b"abc", hashes="md5=kAFQmDzST7DWlj99KOF/cg==")
        with opened(server) as store:
            assert store.digest("file", "md5").value == "900150983cd24fb0d6963f7d28e17f72"
            assert store.digest("file", "crc32c").value == "364b3fb7"

    def test_packed_object_is_downloaded_as_it_is_stored(self, server: GcsServer, tmp_path: Path) -> None:
        """The service would unpack it on the way, and neither size nor digest would be those that it announces."""
        server.put("root/log.gz", b"packed bytes", contentEncoding="gzip")
        with opened(server) as store:
            assert store.download_artifacts("log.gz", tmp_path).read_bytes() == b"packed bytes"

    @pytest.mark.parametrize("fault", [{"lose_answer": True}, {"answer": refusal(429, "rateLimitExceeded")}])
    def test_fault_ends_with_the_file(self, server: GcsServer, tmp_path: Path, fault: dict[str, Any]) -> None:
        server.put("root/file", content(9.5))
        server.faults.append(Fault(lambda seen: seen.query.get("alt") == "media", times=3, **fault))
        with opened(server) as store:
            assert store.download_artifacts("file", tmp_path).read_bytes() == content(9.5)


class TestListing:
    def test_list_thousands_reads_all_pages(self, server: GcsServer) -> None:
        for index in range(2500):
            server.put(f"root/d/{index:04}", b"")
        server.put("root/e/f", b"1")
        with opened(server) as store:
            assert len(store.list_artifacts("d")) == 2500
            assert store.list_artifacts() == [FileInfo("d", True), FileInfo("e", True)]
            assert len(list(store.walk())) == 2503
        assert len(server.requests("GET", "delimiter=/")) == 3 + 1

    @pytest.mark.parametrize(
        "name", ["../x", "d/../../x", "/abs", "d//x", "d/a\\..\\..\\x", "d/%2e%2e/x", "..", "d/\ud800", "C:\\x"]
    )
    def test_hostile_name_in_listing_reaches_nothing(self, server: GcsServer, tmp_path: Path, name: str) -> None:
        server.listing = {"items": [{"name": f"root/{name}", "size": "1"}, {"name": "root/d/good", "size": "0"}]}
        server.put("root/d/good", b"")
        server.put(f"root/{name}", b"x")
        inside = tmp_path / "inside"
        with opened(server) as store:
            store.download_artifacts("", inside)
            assert [info.path for info in store.walk()] == ["d", "d/good"]
        assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == [
            "inside",
            "inside/d",
            "inside/d/good",
        ]

    def test_double_name_in_listing_is_fetched_once(self, server: GcsServer, tmp_path: Path) -> None:
        server.put("root/file", b"x")
        server.listing = {"items": [{"name": "root/file", "size": "1"}] * 3}
        with opened(server) as store:
            store.download_artifacts("", tmp_path)
        assert (tmp_path / "file").read_bytes() == b"x"
        assert len(server.requests("GET", "alt=media")) == 1

    @pytest.mark.parametrize(
        "listing",
        [
            {"items": [{"name": "elsewhere/file", "size": "1"}]},
            {"prefixes": ["elsewhere/"]},
            {"items": [{"name": "root/file"}]},
            {"items": [{"size": "1"}]},
            {"items": "root/file"},
            {"prefixes": [7]},
            {"items": [], "nextPageToken": 7},
            ["root/file"],
        ],
    )
    def test_listing_that_is_none_is_refused(self, server: GcsServer, tmp_path: Path, listing: object) -> None:
        server.listing = listing
        with opened(server) as store, pytest.raises(InternalError):
            store.list_artifacts()

    def test_endless_listing_ends(self, server: GcsServer) -> None:
        server.listing = {"items": [{"name": "root/file", "size": "1"}], "nextPageToken": "again"}
        with opened(server) as store, pytest.raises(InternalError, match="shown before"):
            store.list_artifacts()


class TestRefusals:
    @pytest.mark.parametrize(
        "call",
        [
            lambda store: store.list_artifacts(),
            lambda store: store.stat("file"),
            lambda store: store.open("file"),
            lambda store: write(store, "file", b"x"),
            lambda store: write(store, "file", content(3)),
            lambda store: store.delete_artifacts("file"),
        ],
        ids=["list", "stat", "open", "write", "write-large", "delete"],
    )
    def test_missing_bucket_is_named(self, server: GcsServer, call: Any) -> None:
        uri = f"gs://nowhere/root?endpoint_url={server.url}&anonymous=true&chunk_size={STEP}"
        with open_artifact_store(uri) as store, pytest.raises(NotFound, match="'nowhere'"):
            call(store)

    def test_open_makes_no_request(self, server: GcsServer) -> None:
        with opened(server):
            assert server.seen == []

    @pytest.mark.parametrize(
        ("answer", "error"),
        [
            (refusal(403, "forbidden", "someone does not have storage.objects.list"), PermissionDenied),
            (refusal(400, "userProjectMissing"), InvalidParameterValue),
            (refusal(400, "required", "Bucket is requester pays bucket but no user project"), InvalidParameterValue),
            (refusal(400, "invalid", "no"), InvalidParameterValue),
            (refusal(412, "orgPolicyViolation", "no"), DataLoss),
            (Answer(418, b"<html>a proxy</html>"), InternalError),
            (refusal(500, "internalError"), TemporarilyUnavailable),
            (Answer(502, b"<html>a proxy</html>"), TemporarilyUnavailable),
            (refusal(403, "userRateLimitExceeded"), TemporarilyUnavailable),
        ],
    )
    def test_refusal_becomes_error_of_the_tree(self, server: GcsServer, answer: Answer, error: type[Exception]) -> None:
        server.faults.append(Fault(lambda seen: True, times=1000, answer=answer))
        with opened(server, patience=0.1) as store, pytest.raises(error) as caught:
            store.list_artifacts()
        assert type(caught.value) is error

    def test_bucket_that_the_caller_pays_for_tells_the_option(self, server: GcsServer) -> None:
        server.faults.append(Fault(lambda seen: True, answer=refusal(400, "userProjectMissing")))
        with opened(server) as store, pytest.raises(InvalidParameterValue, match=r"\?user_project=PROJECT"):
            store.list_artifacts()

    def test_user_project_goes_with_every_request(self, server: GcsServer) -> None:
        with opened(server, user_project="payer", composite="true") as store:
            write(store, "small", b"x")
            write(store, "large", content(2))
            store.walk()
            store.exists("large")
            store.delete_artifacts()
        assert len(server.seen) > 8
        assert {seen.query.get("userProject") for seen in server.seen} == {"payer"}


def test_delete_folder_deletes_at_the_same_time(server: GcsServer) -> None:
    """Deletions wait for each other only if they are in one batch: two must be under way at once."""
    for index in range(60):
        server.put(f"root/d/{index}", b"")
    both = threading.Barrier(2)
    server.faults.append(Fault(lambda seen: seen.method == "DELETE", times=2, before=lambda: both.wait(20)))
    with opened(server) as store:
        store.delete_artifacts("d")
    assert server.objects == {}
