"""`AzureArtifactStore`: the suite on Azurite by both schemes, and what is its own."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.artifacts.azure_place import MIB, Place, new_place, open_store, put, read
from tests.artifacts.emulated import EmulatedSuite, storage_server
from tests.artifacts.faulty_services import AZURE_KINDS
from tests.artifacts.faulty_wire import Answer, Damage, Fault

from holdall.conformance_tests.emulators import AzuriteServer, StorageServer
from holdall.conformance_tests.emulators.harness import EmulatorHarness
from holdall.stores import (
    HoldallError,
    InvalidParameterValue,
    NotFound,
    PermissionDenied,
    StoreURI,
    TemporarilyUnavailable,
    TransferProgress,
    Unauthenticated,
)

if TYPE_CHECKING:
    from holdall.artifacts.azure.store import AzureArtifactStore

pytestmark = pytest.mark.extras

LARGE = hashlib.shake_128(b"large").digest(3 * MIB + 123)
"""The bytes of a file of four blocks of a mebibyte."""


class AbfssHarness(EmulatorHarness):
    """The place by its other name."""

    def __init__(self, server: StorageServer, prefix: str = "pre fix/näme") -> None:
        super().__init__(server, prefix)
        self.uri = replace(self.uri, scheme="abfss", host=self.uri.host.replace(".blob.", ".dfs."))


class TestSuiteByWasbs(EmulatedSuite):
    server = "azurite"
    exclusions = AzuriteServer.gaps


class TestSuiteByAbfss(EmulatedSuite):
    server = "azurite"
    exclusions = AzuriteServer.gaps

    @pytest.fixture
    def harness(self, tmp_path: Path) -> Iterator[EmulatorHarness]:
        harness = AbfssHarness(storage_server(self.server))
        harness.uri = replace(harness.uri, query=(*harness.uri.query, ("patience", "1")))
        yield harness
        harness.remove()


@pytest.fixture
def place() -> Iterator[Place]:
    with new_place() as place:
        yield place


@pytest.fixture
def store(place: Place) -> Iterator[AzureArtifactStore]:
    with place.open() as store:
        yield store


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "large").write_bytes(LARGE)
    return tmp_path / "large"


def at(position: int, action: Callable[[], None]) -> Callable[[TransferProgress], None]:
    """Call something once, when a transfer has come to a position."""
    pending = [action]

    def progress(report: TransferProgress) -> None:
        if report.bytes_done >= position and pending:
            pending.pop()()

    return progress


def interrupt() -> None:
    raise KeyboardInterrupt


class TestBlocks:
    def test_upload_large_file_keeps_digest_of_the_whole(
        self, place: Place, store: AzureArtifactStore, source: Path
    ) -> None:
        store.log_artifact(source)
        put(store, "small", b"data")
        assert place.content() == {"large": LARGE, "small": b"data"}
        digest = store.digest("large", "md5")
        assert (digest.value, digest.size) == (hashlib.md5(LARGE).hexdigest(), len(LARGE))
        kept = place.client.get_blob_client("large").get_blob_properties().content_settings.content_md5
        assert bytes(kept or b"") == hashlib.md5(LARGE).digest()

    def test_upload_of_unknown_size_goes_in_blocks(self, place: Place, store: AzureArtifactStore) -> None:
        with store.open("large", "wb") as upload:
            for start in range(0, len(LARGE), 100_001):
                upload.write(LARGE[start : start + 100_001])
        assert len(place.blocks()) == 4
        assert place.content() == {"large": LARGE}

    def test_ids_of_blocks_have_one_length_and_one_owner(
        self, place: Place, store: AzureArtifactStore, source: Path
    ) -> None:
        for _ in range(2):
            store.log_artifact(source)
        blocks = place.blocks()
        assert len(set(blocks)) == len(blocks) == 8
        assert {len(block) for block in blocks} == {64}

    def test_block_that_fails_is_sent_again_alone(self, place: Place, store: AzureArtifactStore, source: Path) -> None:
        place.wire.on(AZURE_KINDS["part"], Answer(503, {"x-ms-error-code": "ServerBusy"}), skip=1)
        store.log_artifact(source)
        assert place.wire.hits_left == 0
        blocks = place.blocks()
        assert sorted(blocks.count(block) for block in set(blocks)) == [1, 1, 1, 2]
        assert place.content() == {"large": LARGE}

    def test_block_damaged_on_its_way_is_sent_again(
        self, place: Place, store: AzureArtifactStore, source: Path
    ) -> None:
        place.wire.on(AZURE_KINDS["part"], Damage("request", "body", Fault.FLIP), skip=2)
        store.log_artifact(source)
        assert place.wire.hits_left == 0
        assert len(place.blocks()) == 5
        assert place.content() == {"large": LARGE}

    @pytest.mark.parametrize("spot", ["start", "head"])
    def test_lost_answer_of_commitment_ends_in_success(
        self, place: Place, store: AzureArtifactStore, source: Path, spot: str
    ) -> None:
        place.wire.on(AZURE_KINDS["finish"], Damage("answer", "start" if spot == "start" else "head", Fault.RESET))
        store.log_artifact(source)
        assert place.wire.hits_left == 0
        assert len(place.blocks()) == 4
        assert place.content() == {"large": LARGE}
        assert place.unfinished() == []

    def test_replace_blob_of_blocks_keeps_nothing_of_the_old(
        self, place: Place, store: AzureArtifactStore, source: Path
    ) -> None:
        store.log_artifact(source)
        source.write_bytes(LARGE[::-1])
        store.log_artifact(source)
        assert place.content() == {"large": LARGE[::-1]}
        put(store, "large", b"small")
        assert read(store, "large") == b"small"

    def test_download_large_file_fetches_ranges_and_compares_the_whole(
        self, place: Place, store: AzureArtifactStore, tmp_path: Path
    ) -> None:
        place.server.raw(place.name).write("large", LARGE)
        assert store.download_artifacts("large", tmp_path / "dst").read_bytes() == LARGE
        assert sum("x-ms-range" in request.headers for request in place.wire.requests) == 4
        place.wire.reset()
        place.wire.on(AZURE_KINDS["get"], Damage("answer", "body", Fault.FLIP), skip=2)
        with pytest.raises(HoldallError, match="do not match"):
            store.download_artifacts("large", tmp_path / "bad")
        assert not (tmp_path / "bad" / "large").exists()


class TestAborts:
    def test_abort_upload_leaves_nothing(self, place: Place, store: AzureArtifactStore, source: Path) -> None:
        with pytest.raises(KeyboardInterrupt):
            store.log_artifact(source, progress=at(3 * MIB, interrupt))
        assert place.blocks()
        assert place.content() == {}
        assert place.unfinished() == []

    def test_upload_that_fails_leaves_nothing(self, place: Place, store: AzureArtifactStore, source: Path) -> None:
        place.wire.on(AZURE_KINDS["part"], Answer(403, {"x-ms-error-code": "AuthorizationFailure"}), skip=2)
        with pytest.raises(PermissionDenied):
            store.log_artifact(source)
        assert place.content() == {}
        assert place.unfinished() == []

    def test_abort_over_existing_blob_keeps_it(
        self, place: Place, store: AzureArtifactStore, source: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        put(store, "large", b"old")
        with pytest.raises(KeyboardInterrupt):
            store.log_artifact(source, progress=at(3 * MIB, interrupt))
        assert place.content() == {"large": b"old"}
        assert place.deletions() == 0
        assert "Azure keeps the blocks" in caplog.text
        store.log_artifact(source)  # which drops the blocks
        assert place.content() == {"large": LARGE}
        assert place.unfinished() == []

    def test_abort_keeps_the_blocks_of_another_writer(
        self, place: Place, store: AzureArtifactStore, source: Path
    ) -> None:
        with place.open() as other, other.open("large", "wb") as upload:
            upload.write(LARGE[::-1])
            place.wait_for_blocks(3)
            with pytest.raises(KeyboardInterrupt):
                store.log_artifact(source, progress=at(3 * MIB, interrupt))
            assert place.deletions() == 0
        assert place.content() == {"large": LARGE[::-1]}

    def test_abort_keeps_blob_that_was_written_meanwhile(
        self, place: Place, store: AzureArtifactStore, source: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        genuine = store._service.uncommitted

        def overtaken(name: str) -> list[str]:
            blocks = genuine(name)
            place.server.raw(place.name).write(name, b"acknowledged")
            return blocks

        monkeypatch.setattr(store._service, "uncommitted", overtaken)
        with pytest.raises(KeyboardInterrupt):
            store.log_artifact(source, progress=at(3 * MIB, interrupt))
        assert place.deletions() == 1
        assert place.content() == {"large": b"acknowledged"}

    def test_abort_without_server_tells_and_raises_the_first_error(
        self, place: Place, source: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        with place.open(patience="0.2") as store:
            dead = at(2 * MIB, lambda: place.wire.trap("request", 0, Fault.RESET, forever=True))
            with pytest.raises(TemporarilyUnavailable):
                store.log_artifact(source, progress=dead)
        assert "Azure keeps the blocks" in caplog.text


class TestWritersOfOnePath:
    def test_stream_whose_blocks_another_writer_dropped_stores_nothing(
        self, place: Place, store: AzureArtifactStore, source: Path
    ) -> None:
        upload = store.open("large", "wb")
        upload.write(LARGE[::-1])
        place.wait_for_blocks(3)
        store.log_artifact(source)
        with pytest.raises(TemporarilyUnavailable, match="another writer"):
            upload.close()
        assert place.content() == {"large": LARGE}

    def test_local_file_whose_blocks_another_writer_dropped_is_sent_again(
        self, place: Place, store: AzureArtifactStore, source: Path, tmp_path: Path
    ) -> None:
        other = tmp_path / "other" / "large"
        other.parent.mkdir()
        other.write_bytes(LARGE[::-1])

        def finish_first() -> None:
            place.wait_for_blocks(2)
            store.log_artifact(other)

        store.log_artifact(source, progress=at(3 * MIB, finish_first))
        assert place.content() == {"large": LARGE}

    def test_blocks_that_other_tools_have_left_are_not_in_the_way(
        self, place: Place, store: AzureArtifactStore, source: Path
    ) -> None:
        raw = place.client.get_blob_client("large")
        raw.stage_block("x" * 48, b"left by AzCopy")  # as long as theirs, and encoded by the library
        store.log_artifact(source)
        assert place.content() == {"large": LARGE}

    def test_blocks_of_another_kind_are_told_with_the_remedy(
        self, place: Place, store: AzureArtifactStore, source: Path
    ) -> None:
        place.client.get_blob_client("large").stage_block("1", b"left by somebody")
        with pytest.raises(InvalidParameterValue, match="unfinished blocks of another kind"):
            store.log_artifact(source)


class TestCredentials:
    def test_open_store_sends_nothing(self, place: Place) -> None:
        with place.open():
            assert place.wire.requests == []

    @pytest.mark.parametrize("way", ["option", "variable", "connection string"])
    def test_sas_token_allows_all_that_a_store_does(
        self, place: Place, source: Path, way: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        token = place.sas("racwdl")
        endpoint = f"http://127.0.0.1:{place.wire.port}/{place.account}"
        if way == "variable":
            monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", f"?{token}")
        if way == "connection string":
            text = f"BlobEndpoint={endpoint};SharedAccessSignature={token}"
            monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)
        query = {"endpoint_url": endpoint, "sas_token": token}
        given = {"option": query, "variable": {"endpoint_url": endpoint}, "connection string": {}}[way]
        uri = StoreURI("wasbs", username=place.name, host=f"{place.account}.blob.x", query=tuple(given.items()))
        with open_store(uri) as store:
            store.log_artifact(source, "d")
            assert read(store, "d/large") == LARGE
            assert [info.path for info in store.walk()] == ["d", "d/large"]
            store.delete_artifacts("d")
            assert not store.exists("d")

    def test_expired_sas_token_is_unauthenticated_and_says_so(self, place: Place) -> None:
        token = place.sas("racwdl", expires=timedelta(minutes=-5))
        with place.open(direct=True, sas_token=token) as store:
            calls: list[Callable[[], object]] = [
                lambda: read(store, "file"),
                lambda: put(store, "file", b"x"),
                store.list_artifacts,
            ]
            for call in calls:
                with pytest.raises(Unauthenticated, match="expired at") as caught:
                    call()
                assert "sig=" not in str(caught.value)

    def test_tampered_sas_token_is_unauthenticated(self, place: Place) -> None:
        token = place.sas("r").replace("sp=r", "sp=rw")
        with (
            place.open(direct=True, sas_token=token) as store,
            pytest.raises(Unauthenticated, match="Check the SAS token"),
        ):
            put(store, "file", b"x")

    def test_sas_token_without_permission_is_denied_with_the_remedy(self, place: Place) -> None:
        place.server.raw(place.name).write("file", b"data")
        with place.open(direct=True, sas_token=place.sas("rl")) as store:
            assert read(store, "file") == b"data"
            calls: list[Callable[[], object]] = [
                lambda: put(store, "file", b"x"),
                lambda: store.delete_artifacts("file"),
            ]
            for call in calls:
                with pytest.raises(PermissionDenied, match="racwdl"):
                    call()
        assert place.content() == {"file": b"data"}

    def test_wrong_key_is_unauthenticated_and_not_told(self, place: Place) -> None:
        key = b64encode(b"wrong key").decode()
        with place.open(direct=True, account_key=key) as store:
            calls: list[Callable[[], object]] = [
                lambda: read(store, "file"),
                store.list_artifacts,
                lambda: put(store, "f", b"x"),
            ]
            for call in calls:
                with pytest.raises(Unauthenticated, match="account key") as caught:
                    call()
                assert key not in str(caught.value)

    def test_anonymous_reads_public_container_and_writes_nothing(self, place: Place) -> None:
        from azure.storage.blob import PublicAccess

        place.client.set_container_access_policy({}, public_access=PublicAccess.CONTAINER)
        place.server.raw(place.name).write("d/file", b"data")
        with place.open(direct=True, anonymous="true") as store:
            assert read(store, "d/file") == b"data"
            assert [info.path for info in store.walk()] == ["d", "d/file"]
            with pytest.raises((PermissionDenied, Unauthenticated, NotFound)):
                put(store, "file", b"x")
        assert place.content() == {"d/file": b"data"}

    def test_anonymous_in_private_container_is_refused(self, place: Place) -> None:
        place.server.raw(place.name).write("file", b"data")
        with (
            place.open(direct=True, anonymous="true") as store,
            pytest.raises((PermissionDenied, Unauthenticated, NotFound)),
        ):
            read(store, "file")

    def test_missing_container_is_named_by_every_method(
        self, place: Place, source: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        with open_store(StoreURI.parse(place.server.uri("no-such-container"))) as store:
            calls: list[Callable[[], object]] = [
                lambda: read(store, "file"),
                lambda: put(store, "file", b"x"),
                lambda: store.log_artifact(source),
                store.list_artifacts,
                lambda: store.exists("file"),
                lambda: store.delete_artifacts("file"),
                lambda: store.download_artifacts("file"),
            ]
            for call in calls:
                with pytest.raises(NotFound, match="'no-such-container' of 'devstoreaccount1'"):
                    call()
        assert caplog.text == ""

    def test_connection_string_of_azurite_is_used(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        endpoint = f"http://127.0.0.1:{place.wire.port}/{place.account}"
        text = f"DefaultEndpointsProtocol=http;AccountName={place.account};AccountKey={place.server.account_key}"
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", f"{text};BlobEndpoint={endpoint};")
        with open_store(StoreURI.parse(f"abfss://{place.name}@{place.account}.dfs.core.windows.net/p")) as store:
            put(store, "file", b"data")
        assert place.content() == {"p/file": b"data"}


class TestBlobsOfOthers:
    def test_delete_blob_with_snapshots_is_denied_with_the_remedy(
        self, place: Place, store: AzureArtifactStore
    ) -> None:
        put(store, "file", b"data")
        place.client.get_blob_client("file").create_snapshot()
        with pytest.raises(PermissionDenied, match="snapshots"):
            store.delete_artifacts("file")
        assert place.content() == {"file": b"data"}

    def test_write_or_delete_leased_blob_is_denied(self, place: Place, store: AzureArtifactStore) -> None:
        put(store, "file", b"data")
        place.client.get_blob_client("file").acquire_lease()
        calls: list[Callable[[], object]] = [lambda: put(store, "file", b"x"), lambda: store.delete_artifacts("file")]
        for call in calls:
            with pytest.raises(PermissionDenied, match="lease"):
                call()
        assert place.content() == {"file": b"data"}

    def test_replace_append_blob_is_refused_where_blocks_are_needed(
        self, place: Place, store: AzureArtifactStore, source: Path
    ) -> None:
        place.client.get_blob_client("large").create_append_blob()
        with pytest.raises(InvalidParameterValue, match="delete it first"):
            store.log_artifact(source)
        store.delete_artifacts("large")
        store.log_artifact(source)
        assert place.content() == {"large": LARGE}

    def test_read_archived_blob_tells_why_not(self, place: Place, store: AzureArtifactStore) -> None:
        from azure.storage.blob import StandardBlobTier

        put(store, "file", b"data")
        place.client.get_blob_client("file").set_standard_blob_tier(StandardBlobTier.ARCHIVE)
        with pytest.raises(HoldallError, match="BlobArchived"):
            read(store, "file")

    def test_read_blob_without_digest_compares_the_size(self, place: Place, store: AzureArtifactStore) -> None:
        from azure.storage.blob import BlobBlock

        raw = place.client.get_blob_client("file")
        raw.stage_block("1", b"data")
        raw.commit_block_list([BlobBlock("1")])
        with store.open("file") as reader:
            assert reader.read() == b"data"
        assert store.digest("file", "md5").value == hashlib.md5(b"data").hexdigest()

    @pytest.mark.parametrize("call", ["put", "read", "stat", "exists", "delete"])
    def test_pass_name_with_backslash_is_refused(self, place: Place, store: AzureArtifactStore, call: str) -> None:
        put(store, "a/b", b"data")
        calls: Mapping[str, Callable[[], object]] = {
            "put": lambda: put(store, "a\\b", b"x"),
            "read": lambda: read(store, "a\\b"),
            "stat": lambda: store.stat("a\\b"),
            "exists": lambda: store.exists("a\\b"),
            "delete": lambda: store.delete_artifacts("a\\b"),
        }
        with pytest.raises(InvalidParameterValue, match="backslash"):
            calls[call]()
        assert place.content() == {"a/b": b"data"}
