"""Credentials, options and signed URLs of `GcsArtifactStore`."""

from __future__ import annotations

import hashlib
import json
import re
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, parse_qsl, quote, urlsplit

import pytest
from tests.artifacts.emulated import storage_server
from tests.artifacts.gcs_server import STEP, Fault, GcsServer, refusal, serving

from holdall.stores import (
    ArtifactStore,
    InvalidParameterValue,
    NotFound,
    ReadOnly,
    TemporarilyUnavailable,
    Unsupported,
    open_artifact_store,
)
from holdall.stores.artifact_abilities import PresignedURLs
from holdall.stores.errors import PermissionDenied, Unauthenticated

pytestmark = pytest.mark.extras

ACCOUNT = "writer@project.iam.gserviceaccount.com"


@pytest.fixture(autouse=True)
def nothing_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials and no settings of whoever runs the tests."""
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "STORAGE_EMULATOR_HOST", "API_ENDPOINT_OVERRIDE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")


@pytest.fixture
def server() -> Iterator[GcsServer]:
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def private_key() -> Any:
    """A throw-away RSA key."""
    from cryptography.hazmat.primitives.asymmetric import rsa

    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def key_file(folder: Path, private_key: Any, token_uri: str, account: str = ACCOUNT) -> Path:
    """A key file of a service account, as Google's console gives it."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    pem = private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    file = folder / f"{account}.json"
    content = {"type": "service_account", "private_key": pem, "client_email": account, "token_uri": token_uri}
    file.write_text(json.dumps(content | {"private_key_id": "1", "client_id": "2", "project_id": "project"}))
    return file


def opened(server: GcsServer, *, read_only: bool = False, **options: object) -> ArtifactStore:
    query = "&".join(f"{name}={quote(str(value))}" for name, value in {"patience": 1, **options}.items())
    return open_artifact_store(f"gs://bucket/root?endpoint_url={server.url}&{query}", read_only=read_only)


@pytest.fixture
def file(server: GcsServer, private_key: Any, tmp_path: Path) -> Path:
    """A key file whose tokens the server gives out."""
    return key_file(tmp_path, private_key, f"{server.url}/token")


def accept_only_last(server: GcsServer) -> None:
    """From now on the server accepts the token that it gave out last."""
    server.tokens = cast(set[str], _Last(server.issued))


class _Last:
    def __init__(self, issued: list[str]) -> None:
        self._issued = issued

    def __contains__(self, token: object) -> bool:
        return self._issued[-1:] == [token]


class TestTokens:
    def test_open_fetches_no_token(self, server: GcsServer, file: Path) -> None:
        with opened(server, credentials_file=file):
            assert server.seen == []

    def test_parallel_requests_share_one_token(self, server: GcsServer, file: Path, tmp_path: Path) -> None:
        accept_only_last(server)
        source = tmp_path / "source"
        source.mkdir()
        for index in range(40):
            (source / str(index)).write_bytes(b"x")
        with opened(server, credentials_file=file) as store:
            store.log_artifacts(source)
        assert len(server.objects) == 40
        assert server.issued == ["token-0"]

    def test_credentials_of_the_environment_are_found(
        self, server: GcsServer, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
        accept_only_last(server)
        with opened(server) as store:
            assert store.list_artifacts() == []

    @pytest.mark.parametrize("composite", ["true", "false"])
    def test_token_refused_in_mid_upload_is_renewed(self, server: GcsServer, file: Path, composite: str) -> None:
        data = bytes(6 * STEP)
        with opened(server, credentials_file=file, composite=composite, chunk_size=STEP) as store:
            upload = store.open("file", "wb")
            upload.write(data)
            server.issued.append("of another client")
            accept_only_last(server)
            server.faults.append(Fault(lambda seen: seen.path == "/token", answer=refusal(503, "unavailable"), times=1))
            upload.write(data)
            upload.close()
        assert server.objects["root/file"].data == data * 2
        assert len(server.issued) == 3

    def test_token_that_is_always_refused_is_unauthenticated(self, server: GcsServer, file: Path) -> None:
        server.tokens = set()
        with opened(server, credentials_file=file) as store, pytest.raises(Unauthenticated):
            store.list_artifacts()
        assert len(server.seen) <= 4

    def test_token_service_that_refuses_is_unauthenticated(self, server: GcsServer, file: Path) -> None:
        answer = refusal(400, "invalid_grant")
        answer.body = b'{"error": "invalid_grant", "error_description": "account not found"}'
        server.faults.append(Fault(lambda seen: seen.path == "/token", times=100, answer=answer))
        with opened(server, credentials_file=file) as store, pytest.raises(Unauthenticated, match="gcloud auth"):
            store.list_artifacts()

    def test_token_service_out_of_reach_is_temporarily_unavailable(
        self, server: GcsServer, private_key: Any, tmp_path: Path
    ) -> None:
        file = key_file(tmp_path, private_key, "http://127.0.0.1:1/token")
        with opened(server, credentials_file=file, patience=0) as store, pytest.raises(TemporarilyUnavailable):
            store.list_artifacts()

    def test_no_credentials_tells_the_remedies(self, server: GcsServer) -> None:
        with opened(server) as store, pytest.raises(Unauthenticated, match=r"gcloud auth .*anonymous=true"):
            store.list_artifacts()
        assert server.seen == []

    @pytest.mark.parametrize("content", [None, "", "{}", '{"type": "service_account"}', "[]"])
    def test_unusable_credentials_file_is_refused(self, server: GcsServer, tmp_path: Path, content: str | None) -> None:
        file = tmp_path / "file.json"
        if content is not None:
            file.write_text(content)
        with (
            opened(server, credentials_file=file) as store,
            pytest.raises(InvalidParameterValue, match=re.escape(str(file))),
        ):
            store.list_artifacts()

    def test_two_services_and_accounts_are_used_by_one_process(
        self, server: GcsServer, private_key: Any, tmp_path: Path
    ) -> None:
        with serving() as other:
            other.issued.append("another numbering")
            files = [
                key_file(tmp_path, private_key, f"{each.url}/token", f"account-{index}@project")
                for index, each in enumerate((server, other))
            ]
            accept_only_last(server)
            accept_only_last(other)
            with opened(server, credentials_file=files[0]) as one, opened(other, credentials_file=files[1]) as two:
                for store in (one, two):
                    with store.open("file", "wb") as upload:
                        upload.write(str(store.uri.options("endpoint_url", "patience", "credentials_file")).encode())
            assert server.objects["root/file"].data != other.objects["root/file"].data
            assert (server.issued, other.issued) == (["token-0"], ["another numbering", "token-1"])

    def test_anonymous_store_sends_no_credentials(
        self, server: GcsServer, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
        with opened(server, anonymous="true") as store:
            store.list_artifacts()
        assert ["authorization" in seen.headers for seen in server.seen] == [False]

    def test_uri_shows_no_credentials_file(self, server: GcsServer, file: Path) -> None:
        with opened(server, credentials_file=file) as store:
            assert file.name not in str(store.uri)


class TestOptions:
    @pytest.mark.parametrize(
        "uri",
        [
            "gs:///prefix",
            "gs://bucket:80",
            "gs://user@bucket",
            "gs://bucket?unknown=1",
            "gs://bucket?composite=maybe",
            "gs://bucket?chunk_size=1000",
            "gs://bucket?chunk_size=0",
            "gs://bucket?chunk_size=-262144",
            "gs://bucket?chunk_size=1073741824",
            "gs://bucket?patience=never",
            "gs://bucket?timeout=-1",
            "gs://bucket?anonymous=true&credentials_file=x",
            "gs://bucket?endpoint_url=ftp://host",
            "gs://bucket?endpoint_url=http://host/storage/v1",
            "gs://bucket?endpoint_url=http://user:word@host",
        ],
    )
    def test_open_malformed_uri_is_refused(self, uri: str) -> None:
        with pytest.raises(InvalidParameterValue):
            open_artifact_store(uri)

    @pytest.mark.parametrize("host", ["127.0.0.1:{port}", "http://127.0.0.1:{port}", "http://127.0.0.1:{port}/"])
    def test_emulator_of_the_environment_is_asked_without_credentials(
        self, server: GcsServer, monkeypatch: pytest.MonkeyPatch, host: str
    ) -> None:
        server.put("root/file", b"x")
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", host.format(port=server.port))
        with open_artifact_store("gs://bucket/root") as store:
            assert [info.path for info in store.list_artifacts()] == ["file"]

    def test_endpoint_of_the_uri_wins_over_the_environment(
        self, server: GcsServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:1")
        with opened(server, anonymous="true") as store:
            assert store.list_artifacts() == []


def presigning(store: ArtifactStore) -> PresignedURLs:
    assert isinstance(store, PresignedURLs)
    return store


class TestSignedURLs:
    @pytest.mark.parametrize("method", ["GET", "PUT"])
    def test_sign_with_key_gives_url_that_the_key_has_signed(
        self, server: GcsServer, file: Path, private_key: Any, method: str
    ) -> None:
        """The signature is that of Google's V4 process, computed here a second time."""
        server.put("root/a b/ü?", b"12345")
        public = "https://files.example.org"
        with opened(server, credentials_file=file, user_project="payer", public_endpoint_url=public) as store:
            assert store.capabilities.presigned_urls
            signing = presigning(store)
            presign = signing.presign_download if method == "GET" else signing.presign_upload
            signed = presign("a b/ü?", expires_in=77)
        assert (signed.method, signed.headers) == (method, ())
        assert signed.file_size == (5 if method == "GET" else None)
        url = urlsplit(signed.url)
        assert f"{url.scheme}://{url.netloc}{url.path}" == "https://files.example.org/bucket/root/a%20b/%C3%BC%3F"
        query = dict(parse_qsl(url.query))
        assert query["X-Goog-Credential"].startswith(f"{ACCOUNT}/")
        assert (query["X-Goog-Expires"], query["userProject"]) == ("77", "payer")
        require_signature(private_key, method, signed.url)

    def test_sign_makes_no_request_but_for_the_size(self, server: GcsServer, file: Path) -> None:
        with opened(server, credentials_file=file) as store:
            presigning(store).presign_upload("file")
        assert server.seen == []

    @pytest.mark.parametrize("seconds", [0, -1, 7 * 24 * 3600 + 1])
    def test_sign_for_another_time_than_the_service_allows_is_refused(
        self, server: GcsServer, file: Path, seconds: int
    ) -> None:
        with opened(server, credentials_file=file) as store, pytest.raises(InvalidParameterValue, match="seconds"):
            presigning(store).presign_upload("file", expires_in=seconds)

    def test_sign_what_is_no_file_is_refused(self, server: GcsServer, file: Path) -> None:
        server.put("root/folder/file", b"x")
        with opened(server, credentials_file=file) as store:
            for path, error in (
                ("missing", NotFound),
                ("folder", InvalidParameterValue),
                ("../x", InvalidParameterValue),
            ):
                with pytest.raises(error):
                    presigning(store).presign_download(path)
            with pytest.raises(InvalidParameterValue):
                presigning(store).presign_upload("../x")

    def test_sign_upload_through_read_only_store_is_refused(self, server: GcsServer, file: Path) -> None:
        with opened(server, read_only=True, credentials_file=file) as store, pytest.raises(ReadOnly):
            presigning(store).presign_upload("file")

    @pytest.mark.parametrize("kind", ["anonymous", "none", "user"])
    def test_credentials_that_cannot_sign_say_so(
        self, server: GcsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
    ) -> None:
        if kind == "user":
            user = {"type": "authorized_user", "client_id": "1", "client_secret": "2", "refresh_token": "3"}
            (tmp_path / "user.json").write_text(json.dumps(user))
            monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "user.json"))
        with opened(server, anonymous=str(kind == "anonymous").lower()) as store:
            assert not store.capabilities.presigned_urls
            with pytest.raises(Unsupported, match="service account"):
                presigning(store).presign_upload("file")

    def test_signed_url_reads_the_file_from_the_emulator(self, private_key: Any, tmp_path: Path) -> None:
        emulator = storage_server("fake-gcs")
        place = emulator.create_place()
        emulator.raw(place).write("root/a b", b"signed for")
        file = key_file(tmp_path, private_key, "http://127.0.0.1:1/token")
        endpoint = parse_qs(urlsplit(emulator.uri(place)).query)["endpoint_url"][0]
        with open_artifact_store(f"gs://{place}/root?endpoint_url={endpoint}&credentials_file={file}") as store:
            signed = cast(Any, store)._urls.sign("root/a b", "GET", 60)
        with urllib.request.urlopen(signed, timeout=20) as answer:
            assert answer.read() == b"signed for"


class _MachineCredentials:
    """Credentials of a service account whose key is elsewhere, as on Google's machines."""

    service_account_email = ACCOUNT

    def __init__(self) -> None:
        self.token: str | None = None

    @property
    def valid(self) -> bool:
        return self.token is not None

    def refresh(self, request: object) -> None:
        self.token = "machine-token"

    def apply(self, headers: dict[str, str]) -> None:
        headers["authorization"] = f"Bearer {self.token}"


class _IamService:
    """Stands in for Google's IAM service, which has one fixed address: signs, or refuses."""

    def __init__(self, private_key: Any, status: int) -> None:
        self._key, self._status = private_key, status
        self.asked: list[tuple[str, dict[str, str]]] = []

    def __call__(self, url: str, method: str, body: str, headers: dict[str, str]) -> Any:
        from base64 import b64decode

        self.asked.append((url, headers))
        signature = b64encode(sign(self._key, b64decode(json.loads(body)["payload"]))).decode()
        data = json.dumps({"signedBlob": signature} if self._status == 200 else {"error": "PERMISSION_DENIED"})
        return type("Response", (), {"status": self._status, "data": data.encode()})()


class TestSigningWithoutKey:
    @pytest.fixture
    def store(self, server: GcsServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[ArtifactStore]:
        monkeypatch.setattr("google.auth.default", lambda scopes: (_MachineCredentials(), "project"))
        with opened(server) as store:
            yield store

    def test_sign_asks_the_iam_service(
        self, store: ArtifactStore, private_key: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """There is no key file with Workload Identity and on Google's machines (mlflow#21847)."""
        iam = _IamService(private_key, 200)
        monkeypatch.setattr("google.auth.transport.requests.Request", lambda: iam)
        assert store.capabilities.presigned_urls
        signed = presigning(store).presign_upload("file")
        require_signature(private_key, "PUT", signed.url)
        [(url, headers)] = iam.asked
        assert url.endswith(f"/serviceAccounts/{ACCOUNT}:signBlob?alt=json")
        assert headers["Authorization"] == "Bearer machine-token"

    def test_refusal_of_the_iam_service_tells_the_role(
        self, store: ArtifactStore, private_key: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("google.auth.transport.requests.Request", lambda: _IamService(private_key, 403))
        with pytest.raises(PermissionDenied, match="Service Account Token Creator"):
            presigning(store).presign_upload("file")


def sign(private_key: Any, message: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256

    return cast(bytes, private_key.sign(message, PKCS1v15(), SHA256()))


def require_signature(private_key: Any, method: str, signed: str) -> None:
    """Fail unless the URL is what Google's documentation of V4 makes of it."""
    url = urlsplit(signed)
    unsigned, _, signature = url.query.rpartition("&X-Goog-Signature=")
    query = dict(parse_qsl(unsigned))
    assert query["X-Goog-Algorithm"] == "GOOG4-RSA-SHA256"
    assert query["X-Goog-SignedHeaders"] == "host"
    time = datetime.strptime(query["X-Goog-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    assert abs(datetime.now(UTC) - time) < timedelta(minutes=5)
    canonical = f"{method}\n{url.path}\n{unsigned}\nhost:{url.netloc}\n\nhost\nUNSIGNED-PAYLOAD"
    assert unsigned == "&".join(sorted(unsigned.split("&")))
    scope = query["X-Goog-Credential"].partition("/")[2]
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"GOOG4-RSA-SHA256\n{query['X-Goog-Date']}\n{scope}\n{digest}"
    assert signature == sign(private_key, text.encode()).hex()
