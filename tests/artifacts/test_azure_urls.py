"""URLs of `AzureArtifactStore` that let their holders read and write, used as holders do."""

from __future__ import annotations

import hashlib
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest
from tests.artifacts.azure_place import Place, new_place, put

from holdall.conformance_tests.artifact_safety import STRANGE_NAMES
from holdall.stores import InvalidParameterValue, NotFound, ReadOnly
from holdall.stores.artifact_abilities import CompletedPart, MultipartUpload, PresignedURL

if TYPE_CHECKING:
    from holdall.artifacts.azure.store import AzureArtifactStore

pytestmark = pytest.mark.extras

NAMES = [name for name in STRANGE_NAMES.values() if "\\" not in name]


@pytest.fixture
def place() -> Iterator[Place]:
    with new_place() as place:
        yield place


@pytest.fixture
def store(place: Place) -> Iterator[AzureArtifactStore]:
    with place.open() as store:
        yield store


def send(url: PresignedURL, data: bytes | None = None, **headers: str) -> bytes:
    """Use a URL as its holder does, past store and client library."""
    every = {**dict(url.headers), **headers}
    request = urllib.request.Request(url.url, data, every, method=url.method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return cast(bytes, answer.read())


def tampered(url: PresignedURL) -> PresignedURL:
    before, _, after = url.url.partition("/file")
    return replace(url, url=f"{before}/other{after}")


class TestPresignedUrls:
    @pytest.mark.parametrize("name", NAMES, ids=[ascii(name)[1:20] for name in NAMES])
    def test_use_urls_for_strange_name_reads_and_writes_it(
        self, place: Place, store: AzureArtifactStore, name: str
    ) -> None:
        send(store.presign_upload(f"d/{name}"), b"data")
        assert place.content() == {f"d/{name}": b"data"}
        url = store.presign_download(f"d/{name}")
        assert (send(url), url.method, url.file_size) == (b"data", "GET", 4)

    def test_ask_for_range_by_url_gets_it(self, store: AzureArtifactStore) -> None:
        put(store, "file", b"0123456789")
        assert send(store.presign_download("file"), Range="bytes=3-5") == b"345"

    def test_upload_by_url_replaces_the_blob(self, place: Place, store: AzureArtifactStore) -> None:
        put(store, "file", b"old")
        send(store.presign_upload("file"), b"new")
        assert place.content() == {"file": b"new"}
        assert store.digest("file", "md5").value == hashlib.md5(b"new").hexdigest()

    def test_use_url_for_anything_else_is_refused(self, place: Place, store: AzureArtifactStore) -> None:
        for name in ("file", "other"):
            put(store, name, b"data")
        download, upload = store.presign_download("file"), store.presign_upload("file")
        misuses = [
            (tampered(download), None),
            (tampered(upload), b"x"),
            (replace(download, method="DELETE"), None),
            (replace(upload, method="DELETE"), None),
            (replace(download, method="PUT", headers=upload.headers), b"x"),
            (replace(download, url=download.url.replace("se=2", "se=3")), None),
        ]
        for url, data in misuses:
            with pytest.raises(urllib.error.HTTPError) as caught:
                send(url, data)
            assert caught.value.code == 403
            caught.value.close()
        assert place.content() == {"file": b"data", "other": b"data"}

    def test_use_url_too_late_is_refused(self, store: AzureArtifactStore) -> None:
        put(store, "file", b"data")
        url = store.presign_download("file", expires_in=1)

        def use_until_refused() -> None:
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:
                assert send(url) == b"data"
                time.sleep(0.1)

        with pytest.raises(urllib.error.HTTPError) as caught:
            use_until_refused()
        assert caught.value.code == 403
        caught.value.close()

    def test_presign_by_public_endpoint_goes_there(self, place: Place) -> None:
        public = f"http://127.0.0.1:{place.server.port}/{place.account}"
        with place.open(public_endpoint_url=public) as store:
            url = store.presign_upload("file")
            assert url.url.startswith(f"{public}/{place.name}/file?")
            send(url, b"data")
        assert place.content() == {"file": b"data"}

    def test_presign_what_cannot_be_is_refused(self, place: Place, store: AzureArtifactStore) -> None:
        put(store, "d/file", b"data")
        for path, error in (("missing", NotFound), ("d", InvalidParameterValue), ("../x", InvalidParameterValue)):
            with pytest.raises(error):
                store.presign_download(path)
        for seconds in (0, -1, 8 * 24 * 3600):
            with pytest.raises(InvalidParameterValue, match="seconds"):
                store.presign_upload("file", expires_in=seconds)
        with place.open(read_only=True) as reader:
            assert send(reader.presign_download("d/file")) == b"data"
            with pytest.raises(ReadOnly):
                reader.presign_upload("file")

    def test_use_url_after_close_works(self, store: AzureArtifactStore) -> None:
        put(store, "file", b"data")
        url = store.presign_download("file")
        store.close()
        assert send(url) == b"data"


class TestMultipartUploads:
    def send_parts(self, upload: MultipartUpload, *numbers: int) -> list[CompletedPart]:
        done = []
        for part in upload.parts:
            if part.part_number in numbers:
                send(PresignedURL(part.url, "PUT", part.headers), bytes([part.part_number]) * 1000)
            done.append(CompletedPart(part.part_number, "", part.url))
        return done

    def test_send_parts_in_any_order_makes_the_file(self, place: Place, store: AzureArtifactStore) -> None:
        upload = store.create_multipart_upload("d/ü", 3)
        done = self.send_parts(upload, 3, 1, 2)
        assert place.content() == {}
        for _ in range(2):
            store.complete_multipart_upload("d/ü", upload.upload_id, done[::-1])
            assert place.content() == {"d/ü": b"\1" * 1000 + b"\2" * 1000 + b"\3" * 1000}
        assert place.unfinished() == []

    def test_complete_with_parts_missing_makes_nothing(self, place: Place, store: AzureArtifactStore) -> None:
        upload = store.create_multipart_upload("file", 3)
        done = self.send_parts(upload, 1, 3)
        with pytest.raises(InvalidParameterValue, match=r"\[2\]"):
            store.complete_multipart_upload("file", upload.upload_id, done)
        for wrong in (done[:2], [*done, done[0]], []):
            with pytest.raises(InvalidParameterValue, match="parts 1 to 3"):
                store.complete_multipart_upload("file", upload.upload_id, wrong)
        assert place.content() == {}

    def test_abort_drops_the_parts(self, place: Place, store: AzureArtifactStore) -> None:
        upload = store.create_multipart_upload("file", 2)
        self.send_parts(upload, 1, 2)
        assert place.unfinished() == ["file"]
        for _ in range(2):
            store.abort_multipart_upload("file", upload.upload_id)
        assert place.unfinished() == []

    def test_unknown_upload_is_not_found_and_aborted_in_peace(self, place: Place, store: AzureArtifactStore) -> None:
        upload = store.create_multipart_upload("file", 1)
        parts = [CompletedPart(1, "")]
        for name in (upload.upload_id, "x", "", "0" * 32, "0" * 32 + "-x"):
            with pytest.raises(NotFound):
                store.complete_multipart_upload("file", name, parts)
            store.abort_multipart_upload("file", name)

    @pytest.mark.parametrize("count", [0, -1, 50_001])
    def test_create_with_impossible_number_of_parts_is_refused(self, store: AzureArtifactStore, count: int) -> None:
        with pytest.raises(InvalidParameterValue, match="50000"):
            store.create_multipart_upload("file", count)

    def test_read_only_store_begins_no_upload(self, place: Place) -> None:
        with place.open(read_only=True) as store:
            for call in (
                lambda: store.create_multipart_upload("file", 1),
                lambda: store.complete_multipart_upload("file", "x", []),
                lambda: store.abort_multipart_upload("file", "x"),
            ):
                with pytest.raises(ReadOnly):
                    call()
