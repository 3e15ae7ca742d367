"""`S3ArtifactStore`: the suite on two servers, and what is its own."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from tests.artifacts.emulated import EmulatedSuite, storage_server
from tests.artifacts.scripted_server import Answer, Asked, ScriptedServer, make_certificate, scripted_server

from holdall.conformance_tests.emulators import MotoServer, SeaweedfsServer
from holdall.conformance_tests.emulators.harness import EmulatorHarness
from holdall.stores import (
    ArtifactStore,
    FileInfo,
    HoldallError,
    InvalidParameterValue,
    MultipartUploads,
    NotFound,
    PermissionDenied,
    PresignedURLs,
    ReadOnly,
    StoreURI,
    TemporarilyUnavailable,
    Unauthenticated,
    open_artifact_store,
)
from holdall.stores.artifact_abilities import CompletedPart

pytestmark = pytest.mark.extras

PART = 5 << 20
"""Bytes of the smallest part that S3 takes, but for the last."""


class TestSuiteOnMoto(EmulatedSuite):
    server = "moto"
    exclusions = MotoServer.gaps


class TestSuiteOnSeaweedfs(EmulatedSuite):
    server = "seaweedfs"
    exclusions = SeaweedfsServer.gaps


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing but the URI says how to reach S3."""
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@pytest.fixture(params=["moto", "seaweedfs"])
def place(request: pytest.FixtureRequest) -> Iterator[EmulatorHarness]:
    harness = EmulatorHarness(storage_server(request.param))
    yield harness
    harness.remove()


@pytest.fixture
def moto_place() -> Iterator[EmulatorHarness]:
    harness = EmulatorHarness(storage_server("moto"))
    yield harness
    harness.remove()


def opened(uri: StoreURI, without: tuple[str, ...] = (), /, **options: str) -> ArtifactStore:
    """The store at a URI with some options changed."""
    query = [(key, value) for key, value in uri.query if key not in (*options, *without)]
    return open_artifact_store(replace(uri, query=(*query, *options.items())))


def put(store: ArtifactStore, path: str, data: bytes) -> None:
    with store.open(path, "wb") as upload:
        upload.write(data)


def head(place: EmulatorHarness, path: str, operation: str = "head_object") -> dict[str, object]:
    """What the service says of an object to another client."""
    client = cast(MotoServer, place.server)._client()
    call = cast(Callable[..., dict[str, object]], getattr(client, operation))
    return call(Bucket=place.uri.host, Key=f"{place.prefix}/{path}")


# Arguments of requests


def test_extra_args_reach_single_and_multipart_uploads(moto_place: EmulatorHarness) -> None:
    """mlflow#25772: arguments that only small files got."""
    arguments = {
        "ServerSideEncryption": "aws:kms",
        "StorageClass": "STANDARD_IA",
        "Metadata": {"origin": "lab 7"},
        "ContentType": "application/x-model",
        "Tagging": "team=vision",
    }
    with opened(moto_place.uri, extra_args=json.dumps(arguments)) as store:
        put(store, "small", b"x")
        put(store, "large", b"x" * (9 << 20))
    for path in ("small", "large"):
        found = head(moto_place, path)
        assert found["ServerSideEncryption"] == "aws:kms"
        assert found["StorageClass"] == "STANDARD_IA"
        assert found["Metadata"] == {"origin": "lab 7"}
        assert found["ContentType"] == "application/x-model"
        assert head(moto_place, path, "get_object_tagging")["TagSet"] == [{"Key": "team", "Value": "vision"}]
    assert moto_place.raw_unfinished() == []


def test_acl_reaches_single_and_multipart_uploads(moto_place: EmulatorHarness) -> None:
    with opened(moto_place.uri, acl="public-read") as store:
        put(store, "small", b"x")
        put(store, "large", b"x" * (9 << 20))
    for path in ("small", "large"):
        assert "AllUsers" in str(head(moto_place, path, "get_object_acl")["Grants"])


def test_media_type_is_that_of_the_name(moto_place: EmulatorHarness) -> None:
    with open_artifact_store(moto_place.uri) as store:
        for path, data in (("plot.png", b"x"), ("a.tar.gz", b"x"), ("model", b"x"), ("big.json", b" " * (9 << 20))):
            put(store, path, data)
    kinds = {path: head(moto_place, path)["ContentType"] for path in ("plot.png", "a.tar.gz", "model", "big.json")}
    plain = "application/octet-stream"
    assert kinds == {"plot.png": "image/png", "a.tar.gz": plain, "model": plain, "big.json": "application/json"}


def test_mlflow_variables_are_honoured_and_the_uri_wins(
    moto_place: EmulatorHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = dict(moto_place.uri.query)["endpoint_url"]
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", endpoint)
    monkeypatch.setenv(
        "MLFLOW_S3_UPLOAD_EXTRA_ARGS", '{"StorageClass": "STANDARD_IA", "ContentType": "text/from-variable"}'
    )
    with opened(moto_place.uri, ("endpoint_url",), extra_args='{"ContentType": "text/from-uri"}') as store:
        put(store, "file", b"x")
    assert head(moto_place, "file")["StorageClass"] == "STANDARD_IA"
    assert head(moto_place, "file")["ContentType"] == "text/from-uri"


def test_every_request_carries_the_arguments_that_it_has() -> None:
    """Customer keys also go with parts and downloads, the payer with everything, and a wrong one with nothing."""
    key = b"k" * 32
    with scripted_server(answer_as_s3) as server:
        uri = scripted_uri(server, "requester_pays=true")
        with open_artifact_store(f"{uri}&sse_customer_key={b64encode(key).decode()}&acl=private") as store:
            put(store, "small", b"x")
            put(store, "large", b"x" * (9 << 20))
            store.stat("small")
            store.open("small").close()
            store.list_artifacts()
            store.delete_artifacts("small")
    assert all(asked.headers.get("x-amz-request-payer") == "requester" for asked in server.asked)
    for asked in server.asked:
        of_content = (
            asked.method in ("PUT", "GET", "HEAD")
            and asked.path.startswith("/bucket/p/")
            and not (asked.method == "GET" and "list-type" in asked.query)
        )
        begins = asked.method == "POST" and "uploads" in asked.query
        has_key = asked.headers.get("x-amz-server-side-encryption-customer-key") == b64encode(key).decode()
        if of_content or begins:
            assert has_key, asked
        if "delete" in asked.query or "list-type" in asked.query or asked.method == "DELETE":
            assert not has_key, asked
        has_acl = asked.headers.get("x-amz-acl") == "private"
        assert has_acl == (begins or (asked.method == "PUT" and "partNumber" not in asked.query)), asked


def scripted_uri(server: ScriptedServer, options: str = "") -> str:
    return f"s3://id:secret@bucket/p?endpoint_url={server.url}&addressing_style=path&{options}".rstrip("&")


def answer_as_s3(asked: Asked) -> Answer:
    """Enough of S3 to see what is asked of it."""
    if "uploads" in asked.query:
        return Answer(body=b"<R><UploadId>one</UploadId></R>")
    if "list-type" in asked.query:
        return Answer(body=b"<R><IsTruncated>false</IsTruncated></R>")
    return Answer(body=b"<R/>" if asked.method == "POST" else b"", headers={"ETag": '"e"'})


@pytest.mark.parametrize(
    "options",
    [
        {"unknown": "1"},
        {"addressing_style": "sideways"},
        {"checksum": "never"},
        {"anonymous": "true"},
        {"extra_args": "[]"},
        {"extra_args": '{"Colour": "red"}'},
        {"extra_args": '{"Body": "x"}'},
        {"sse_customer_key": "short"},
        {"timeout": "soon"},
        {"patience": "-1"},
        {"verify": "/nowhere/certificates.pem", "endpoint_url": "https://127.0.0.1:9"},
        {"endpoint_url": "ftp://127.0.0.1:9"},
        {"endpoint_url": "nonsense"},
    ],
    ids=lambda options: next(iter(options.items())).__str__(),
)
def test_open_with_wrong_option_is_refused(options: dict[str, str]) -> None:
    uri = StoreURI.parse("s3://id:hidden-key@bucket/p?endpoint_url=http://127.0.0.1:9")
    with pytest.raises(InvalidParameterValue) as caught:
        opened(uri, **options)
    assert "hidden-key" not in str(caught.value)


@pytest.mark.parametrize("uri", ["s3:///prefix", "s3://bucket:80/x", "s3://only-user@bucket", "s3://UPPER_case!/x"])
def test_open_malformed_uri_is_refused(uri: str) -> None:
    with pytest.raises(InvalidParameterValue):
        open_artifact_store(uri)


def test_open_unknown_profile_is_refused() -> None:
    with pytest.raises(InvalidParameterValue, match="nobody"):
        open_artifact_store("s3://bucket/p?profile=nobody")


# Credentials


def test_use_of_a_missing_bucket_names_it(place: EmulatorHarness, tmp_path: Path) -> None:
    uri = replace(place.uri, host="no-such-bucket-here")
    (tmp_path / "file").write_bytes(b"x")
    with open_artifact_store(uri) as store:
        for call in (
            lambda: store.log_artifact(tmp_path / "file"),
            lambda: store.open("file"),
            lambda: store.stat("file"),
            store.list_artifacts,
        ):
            with pytest.raises(NotFound, match="no-such-bucket-here"):
                call()


def test_use_with_wrong_key_is_unauthenticated(tmp_path: Path) -> None:
    place = EmulatorHarness(storage_server("seaweedfs"))  # moto verifies nothing
    (tmp_path / "file").write_bytes(b"x")
    for user, secret in ((place.uri.username, "not-the-secret"), ("AKIANOBODY", place.uri.password)):
        with open_artifact_store(replace(place.uri, username=user, password=secret)) as store:
            for call in (store.list_artifacts, lambda: store.log_artifact(tmp_path / "file")):
                with pytest.raises((Unauthenticated, PermissionDenied)) as caught:
                    call()
                assert "not-the-secret" not in str(caught.value)
    unsigned = opened(replace(place.uri, username=None, password=None), anonymous="true")
    with unsigned as store, pytest.raises((Unauthenticated, PermissionDenied)):
        store.list_artifacts()
    assert place.raw_list() == set()
    place.remove()


def test_use_without_credentials_says_where_to_put_them(moto_place: EmulatorHarness) -> None:
    uri = replace(moto_place.uri, username=None, password=None)
    with open_artifact_store(uri) as store, pytest.raises(Unauthenticated, match="AWS_ACCESS_KEY_ID"):
        store.list_artifacts()


def test_two_services_and_accounts_work_in_one_process(tmp_path: Path) -> None:
    """mlflow#2704: one process, several endpoints and keys; here one of them by a profile."""
    one, two = EmulatorHarness(storage_server("moto")), EmulatorHarness(storage_server("seaweedfs"))
    (tmp_path / "credentials").write_text(
        f"[two]\naws_access_key_id = {two.uri.username}\naws_secret_access_key = {two.uri.password}\n"
    )
    with (
        open_artifact_store(one.uri) as first,
        opened(replace(two.uri, username=None, password=None), profile="two") as second,
    ):
        put(first, "file", b"one")
        put(second, "file", b"two")
    assert (one.raw_read("file"), two.raw_read("file")) == (b"one", b"two")
    one.remove()
    two.remove()


def test_region_of_the_bucket_is_learned_from_the_service() -> None:
    """The service tells the right region in a refusal; the request is signed for it and sent again."""

    def answer(asked: Asked) -> Answer:
        if "/eu-west-3/s3/" not in asked.headers["authorization"]:
            return Answer(
                400,
                b"<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-3</Region></Error>",
                {"x-amz-bucket-region": "eu-west-3"},
            )
        return answer_as_s3(asked)

    with scripted_server(answer) as server:
        uri = scripted_uri(server)
        with open_artifact_store(uri) as store:
            put(store, "file", b"x")
            assert store.list_artifacts() == []
    assert len(server.asked) == 3


# Checksums


def test_uploads_without_checksums_are_signed_with_their_hash(place: EmulatorHarness) -> None:
    """For services that know no checksums (R2, old ones): `checksum=when_required`, as boto3 calls it."""
    data = bytes(range(256)) * (40 << 10)
    with opened(place.uri, checksum="when_required") as store:
        assert not store.capabilities.native_digests
        put(store, "small", b"small")
        put(store, "large", data)
        with store.open("large") as reader:
            assert reader.read() == data
    assert (place.raw_read("small"), place.raw_read("large")) == (b"small", data)


def test_no_checksum_header_is_sent_where_none_is_wanted() -> None:
    with scripted_server(answer_as_s3) as server:
        uri = scripted_uri(server, "checksum=when_required")
        with open_artifact_store(uri) as store:
            put(store, "small", b"x")
            put(store, "large", b"x" * (9 << 20))
            store.open("small").close()
    assert not [name for asked in server.asked for name in asked.headers if "checksum" in name]


def test_upload_keeps_the_checksum_of_the_whole(place: EmulatorHarness) -> None:
    """Parts are one object with one CRC32, which downloads are compared with."""
    data = bytes(range(256)) * (40 << 10)
    with open_artifact_store(place.uri) as store:
        put(store, "large", data)
        digest = store._whole_digest("large")  # type: ignore[attr-defined]
        if digest is not None:  # a server may keep those of the parts only
            assert digest == store.digest("large", "crc32")
        assert store.stat("large") == FileInfo("large", False, len(data))


def test_completion_answered_by_an_error_in_200_is_an_error() -> None:
    def answer(asked: Asked) -> Answer:
        if asked.method == "POST" and "uploadId" in asked.query:
            return Answer(body=b"<Error><Code>InvalidPart</Code><Message>no</Message></Error>")
        return answer_as_s3(asked)

    with scripted_server(answer) as server:
        uri = scripted_uri(server, "patience=0")
        with open_artifact_store(uri) as store, pytest.raises(InvalidParameterValue, match="InvalidPart"):
            put(store, "large", b"x" * (9 << 20))
    assert [asked.method for asked in server.asked][-1] == "DELETE"


def test_completion_whose_answer_is_lost_is_recognised() -> None:
    """The second attempt finds no upload any more, and an object of that very size: it is done."""
    answers = iter([Answer(hang_up=True), Answer(404, b"<Error><Code>NoSuchUpload</Code></Error>")])
    size = 9 << 20

    def answer(asked: Asked) -> Answer:
        if asked.method == "POST" and "uploadId" in asked.query:
            return next(answers)
        if asked.method == "HEAD":
            return Answer(headers={"Content-Length": str(size), "ETag": '"0123-2"'})
        return answer_as_s3(asked)

    with scripted_server(answer) as server, open_artifact_store(scripted_uri(server)) as store:
        put(store, "large", b"x" * size)
    assert not [asked for asked in server.asked if asked.method == "DELETE"]


# Certificates


def test_certificate_is_checked_unless_told_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    certificate = make_certificate(tmp_path / "server.pem")
    with scripted_server(answer_as_s3, certificate) as server:
        with (
            open_artifact_store(scripted_uri(server)) as store,
            pytest.raises(InvalidParameterValue, match="certificate"),
        ):
            store.list_artifacts()
        assert server.asked == []
        for options in ("verify=false", f"verify={certificate}"):
            with open_artifact_store(scripted_uri(server, options)) as store:
                put(store, "large", b"x" * (9 << 20))
                assert store.list_artifacts() == []
        for variable, value in (("MLFLOW_S3_IGNORE_TLS", "true"), ("AWS_CA_BUNDLE", str(certificate))):
            with monkeypatch.context() as patch, open_with(patch, variable, value, scripted_uri(server)) as store:
                assert store.list_artifacts() == []


def open_with(patch: pytest.MonkeyPatch, variable: str, value: str, uri: str) -> ArtifactStore:
    patch.setenv(variable, value)
    return open_artifact_store(uri)


def test_requests_go_through_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted_server(answer_as_s3) as proxy:
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.setenv(name, "elsewhere.example.org")
        with open_artifact_store(
            "s3://id:secret@bucket?endpoint_url=http://files.example.org&addressing_style=virtual"
        ) as store:
            assert store.list_artifacts() == []
    assert [asked.headers["host"] for asked in proxy.asked] == ["bucket.files.example.org"]


# Signed URLs


def fetch(url: str, method: str, headers: tuple[tuple[str, str], ...], data: bytes | None = None) -> tuple[bytes, str]:
    request = urllib.request.Request(
        url, data, {"Content-Type": "application/octet-stream", **dict(headers)}, method=method
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read(), answer.headers.get("ETag", "")


def test_presigned_urls_read_and_write_without_credentials(place: EmulatorHarness) -> None:
    with open_artifact_store(place.uri) as store:
        assert store.capabilities.presigned_urls
        assert isinstance(store, PresignedURLs)
        up = store.presign_upload("a b/ü+%20")
        fetch(up.url, up.method, up.headers, b"by url")
        assert place.raw_read("a b/ü+%20") == b"by url"
        down = store.presign_download("a b/ü+%20", expires_in=60)
        assert down.file_size == 6
        assert fetch(down.url, down.method, down.headers)[0] == b"by url"
        with pytest.raises(NotFound):
            store.presign_download("missing")
        with pytest.raises(InvalidParameterValue):
            store.presign_download("a b")
        for seconds in (0, 8 * 24 * 3600):
            with pytest.raises(InvalidParameterValue):
                store.presign_upload("file", expires_in=seconds)


def test_presigned_url_that_is_tampered_with_is_refused() -> None:
    place = EmulatorHarness(storage_server("seaweedfs"))  # moto verifies nothing
    with open_artifact_store(place.uri) as store:
        put(store, "file", b"x")
        put(store, "other", b"y")
        assert isinstance(store, PresignedURLs)
        url = store.presign_download("file").url
        with pytest.raises(urllib.error.HTTPError):
            fetch(url.replace("/file?", "/other?"), "GET", ())
    place.remove()


def test_presigned_urls_lead_to_the_public_endpoint(moto_place: EmulatorHarness) -> None:
    with opened(moto_place.uri, public_endpoint_url="https://files.example.org") as store:
        assert isinstance(store, PresignedURLs)
        assert store.presign_upload("file").url.startswith("https://files.example.org/")


def test_multipart_upload_by_others_appears_when_completed(place: EmulatorHarness) -> None:
    with open_artifact_store(place.uri) as store:
        assert isinstance(store, MultipartUploads)
        upload = store.create_multipart_upload("big", 2)
        sent = []
        for part, data in zip(upload.parts, (b"x" * PART, b"end"), strict=True):
            _, etag = fetch(part.url, "PUT", part.headers, data)
            sent.append(CompletedPart(part.part_number, etag))
        assert not store.exists("big")
        with pytest.raises(InvalidParameterValue):
            store.complete_multipart_upload("big", upload.upload_id, sent[1:])
        store.complete_multipart_upload("big", upload.upload_id, sent)
        assert store.stat("big").file_size == PART + 3
        other = store.create_multipart_upload("gone", 1)
        store.abort_multipart_upload("gone", other.upload_id)
        store.abort_multipart_upload("gone", other.upload_id)
        for parts in (0, 10_001):
            with pytest.raises(InvalidParameterValue):
                store.create_multipart_upload("big", parts)
    assert place.raw_unfinished() == []
    with open_artifact_store(place.uri, read_only=True) as store, pytest.raises(ReadOnly):
        cast(MultipartUploads, store).create_multipart_upload("big", 1)


# Servers that misbehave


def test_listing_that_never_ends_is_an_error(tmp_path: Path) -> None:
    def answer(asked: Asked) -> Answer:
        return Answer(
            body=b"<R><Contents><Key>p/x</Key><Size>1</Size></Contents><IsTruncated>true</IsTruncated>"
            b"<NextContinuationToken>again</NextContinuationToken></R>"
        )

    with (
        scripted_server(answer) as server,
        open_artifact_store(scripted_uri(server)) as store,
        pytest.raises(HoldallError),
    ):
        store.download_artifacts("", tmp_path / "dst")
    assert not (tmp_path / "dst").exists()


@pytest.mark.parametrize("body", [b"", b"<html>proxy", b"<R><IsTruncated>true</IsTruncated></R>"])
def test_listing_that_is_no_answer_is_an_error(body: bytes) -> None:
    with scripted_server(lambda asked: Answer(body=body)) as server:
        uri = scripted_uri(server, "patience=0")
        with open_artifact_store(uri) as store, pytest.raises(HoldallError):
            store.list_artifacts()


def test_names_that_no_local_disk_takes_are_left_out_with_a_warning(
    place: EmulatorHarness, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    for name in ("good", "d/good", "d/%2e%2e/bad"):
        place.raw_write(name, b"x")
    with open_artifact_store(place.uri) as store:
        assert [info.path for info in store.walk()] == ["d", "d/good", "good"]
        assert "Left out" in caplog.text
        target = store.download_artifacts("", tmp_path / "dst")
        assert {path.name for path in target.rglob("*")} == {"d", "good"}
        store.delete_artifacts("d")
    assert place.raw_list() == {"good"}


def test_nothing_is_said_to_a_server_that_is_not_there() -> None:
    with open_artifact_store("s3://id:hidden-key@bucket/p?endpoint_url=http://127.0.0.1:9&patience=0") as store:
        with pytest.raises(TemporarilyUnavailable, match=re.escape("127.0.0.1:9")) as caught:
            store.list_artifacts()
        assert "hidden-key" not in str(caught.value)
