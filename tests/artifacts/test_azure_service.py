"""What Azurite does not say: tokens that expire, throttling, hostile answers. On a server whose answers tests write."""

from __future__ import annotations

import json
import os
import re
import time
from base64 import b64encode
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.artifacts.scripted_server import Answer, Asked, ScriptedServer, make_certificate, scripted_server

from holdall.stores import (
    FileInfo,
    InternalError,
    InvalidParameterValue,
    NotFound,
    PermissionDenied,
    StoreURI,
    TemporarilyUnavailable,
    Unauthenticated,
    open_artifact_store,
)

if TYPE_CHECKING:
    from holdall.artifacts.azure.store import AzureArtifactStore

pytestmark = pytest.mark.extras

KEY = b64encode(b"secret").decode()

REFRESH_SECONDS = 300
"""How long before it expires a token is replaced."""

NAMESPACE = "<EnumerationResults><Blobs>{}</Blobs><NextMarker>{}</NextMarker></EnumerationResults>"


def store_on(url: str, *options: tuple[str, str]) -> AzureArtifactStore:
    query = (("endpoint_url", url), *(options or (("account_key", KEY),)))
    uri = StoreURI("wasbs", username="box", host="acct.blob.core.windows.net", query=query)
    return cast("AzureArtifactStore", open_artifact_store(uri))


def refusal(status: int, code: str, message: str = "No.", **headers: str) -> Answer:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}\nRequestId:1</Message></Error>"
    return Answer(status, b"\xef\xbb\xbf" + body.encode(), {"x-ms-error-code": code, **headers})


def listing(*names: str, marker: str = "", prefixes: Sequence[str] = ()) -> Answer:
    blobs = "".join(
        f"<Blob><Name>{name}</Name><Properties><Content-Length>1</Content-Length></Properties></Blob>" for name in names
    )
    blobs += "".join(f"<BlobPrefix><Name>{name}</Name></BlobPrefix>" for name in prefixes)
    return Answer(body=NAMESPACE.format(blobs, marker).encode())


class Script:
    """Answers in order; the last one again and again."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)

    def __call__(self, asked: Asked) -> Answer:
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


# Signing in


@dataclass
class Identity:
    """The endpoint where programs on App Service ask for tokens, one of which is new each time.

    Attributes:
        lifetime: Seconds that the next token is valid.
        fails: Whether it gives none.
    """

    lifetime: int = 3600
    fails: bool = False
    given: list[str] = field(default_factory=list)

    def __call__(self, asked: Asked) -> Answer:
        assert asked.headers["x-identity-header"] == "let me in"
        assert asked.query["resource"] == "https://storage.azure.com"
        if self.fails:
            return Answer(400, b"{}")
        self.given.append(f"token-{len(self.given)}")
        answer = {
            "access_token": self.given[-1],
            "expires_on": str(int(time.time()) + self.lifetime),
            "resource": "https://storage.azure.com",
            "token_type": "Bearer",
        }
        return Answer(body=json.dumps(answer).encode(), headers={"Content-Type": "application/json"})


class Account:
    """A Blob service that knows who is signed in, and one blob.

    Attributes:
        refused: Tokens that are not accepted.
    """

    def __init__(self) -> None:
        self.refused: set[str] = set()

    def __call__(self, asked: Asked) -> Answer:
        token = asked.headers.get("authorization", "").removeprefix("Bearer ")
        if token in self.refused or not token.startswith("token-"):
            return refusal(401, "InvalidAuthenticationInfo", "Server failed to authenticate the request.")
        if asked.query.get("comp") == "userdelegationkey":
            return Answer(body=delegation_key(asked.body))
        return Answer(headers={"Content-Length": "4"}, body=b"data")


DELEGATED = b64encode(b"delegated").decode()


def delegation_key(body: bytes) -> bytes:
    start, expiry = re.findall(rb">([^<]+Z)<", body)
    fields = {
        "SignedOid": "oid",
        "SignedTid": "tid",
        "SignedStart": start.decode(),
        "SignedExpiry": expiry.decode(),
        "SignedService": "b",
        "SignedVersion": "2021-12-02",
        "Value": DELEGATED,
    }
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
    return f"<?xml version='1.0'?><UserDelegationKey>{inner}</UserDelegationKey>".encode()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls") / "pem")


@pytest.fixture
def identity(monkeypatch: pytest.MonkeyPatch) -> Iterator[Identity]:
    for name in list(os.environ):
        if name.startswith(("AZURE_", "MSI_", "IDENTITY_")):
            monkeypatch.delenv(name)
    identity = Identity()
    with scripted_server(identity) as server:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{server.url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", "let me in")
        yield identity


@dataclass
class SignedIn:
    """A store whose user is signed in."""

    store: AzureArtifactStore
    account: Account
    server: ScriptedServer

    def tokens(self) -> list[str]:
        """Those that came, in order."""
        return [asked.headers["authorization"].removeprefix("Bearer ") for asked in self.server.asked]


@pytest.fixture
def signed_in(identity: Identity, certificate: Path) -> Iterator[SignedIn]:
    account = Account()
    options = (("verify", str(certificate)), ("patience", "1"))
    with scripted_server(account, certificate) as server, store_on(server.url, *options) as store:
        yield SignedIn(store, account, server)


def read(store: AzureArtifactStore) -> bytes:
    with store.open("file") as reader:
        return reader.read()


class TestSignIn:
    def test_read_twice_asks_for_one_token(self, identity: Identity, signed_in: SignedIn) -> None:
        assert identity.given == []  # opening asks for nothing
        assert read(signed_in.store) == read(signed_in.store) == b"data"
        assert signed_in.tokens() == ["token-0", "token-0"]

    def test_token_that_is_refused_is_renewed_once_for_all_threads(
        self, identity: Identity, signed_in: SignedIn
    ) -> None:
        read(signed_in.store)
        signed_in.account.refused = {"token-0"}
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(lambda _: read(signed_in.store), range(8))) == {b"data"}
        assert identity.given == ["token-0", "token-1"]
        assert read(signed_in.store) == b"data"
        assert signed_in.tokens()[-1] == "token-1"

    def test_token_that_is_refused_again_is_unauthenticated(self, identity: Identity, signed_in: SignedIn) -> None:
        signed_in.account.refused = {"token-0", "token-1"}
        with pytest.raises(Unauthenticated, match="who is signed in") as caught:
            read(signed_in.store)
        assert "token-" not in str(caught.value)
        assert len(signed_in.tokens()) == 2

    def test_token_about_to_expire_is_replaced(self, identity: Identity, signed_in: SignedIn) -> None:
        identity.lifetime = REFRESH_SECONDS - 10
        read(signed_in.store)
        identity.lifetime = 3600
        read(signed_in.store)
        assert signed_in.tokens() == ["token-0", "token-1"]

    def test_token_about_to_expire_is_used_while_no_other_can_be_had(
        self, identity: Identity, signed_in: SignedIn
    ) -> None:
        identity.lifetime = REFRESH_SECONDS - 10
        read(signed_in.store)
        identity.fails = True
        assert read(signed_in.store) == b"data"
        assert signed_in.tokens() == ["token-0", "token-0"]

    def test_no_credentials_anywhere_is_unauthenticated_with_the_remedy(
        self, identity: Identity, signed_in: SignedIn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        identity.fails = True
        monkeypatch.setenv("PATH", "")  # no command line tools that could be signed in
        with pytest.raises(Unauthenticated, match="az login"):
            read(signed_in.store)
        assert signed_in.tokens() == []

    def test_certificate_nobody_vouches_for_is_refused(self, identity: Identity, certificate: Path) -> None:
        with (
            scripted_server(Account(), certificate) as server,
            store_on(server.url, ("account_key", KEY)) as store,
            pytest.raises(InvalidParameterValue, match="certificate"),
        ):
            read(store)

    def test_presign_in_the_name_of_the_user_asks_for_one_key(self, identity: Identity, signed_in: SignedIn) -> None:
        urls = [signed_in.store.presign_upload("a b/ü", expires_in=60 * (1 + index)).url for index in range(3)]
        assert [asked.query.get("comp") for asked in signed_in.server.asked] == ["userdelegationkey"]
        for url in urls:
            assert_signed_by_delegation(url, "a b/ü")
        signed_in.store.presign_upload("file", expires_in=3 * 24 * 3600)
        assert len(signed_in.server.asked) == 2


def assert_signed_by_delegation(url: str, name: str) -> None:
    """The client library signs the same with the key that the service gave."""
    from azure.storage.blob import UserDelegationKey, generate_blob_sas

    fields = {field: values[0] for field, values in parse_qs(urlsplit(url).query).items()}
    key = UserDelegationKey()  # type: ignore[no-untyped-call]
    key.signed_oid, key.signed_tid, key.value = "oid", "tid", DELEGATED
    key.signed_start, key.signed_expiry, key.signed_service = fields["skt"], fields["ske"], "b"
    key.signed_version = "2021-12-02"
    expected = generate_blob_sas(
        "acct", "box", name, user_delegation_key=key, permission="cw", expiry=fields["se"], protocol="https"
    )
    assert fields == {field: values[0] for field, values in parse_qs(expected).items()}
    assert fields["ske"] >= fields["se"]


# Refusals


class TestRefusals:
    @pytest.mark.parametrize(
        ("status", "code"), [(503, "ServerBusy"), (500, "InternalError"), (500, "OperationTimedOut"), (429, "")]
    )
    def test_service_that_is_busy_is_asked_again(self, status: int, code: str) -> None:
        busy = refusal(status, code)
        with scripted_server(Script(busy, busy, Answer(body=b"data"))) as server, store_on(server.url) as store:
            assert read(store) == b"data"
            assert len(server.asked) == 3

    def test_service_that_asks_for_time_is_given_it(self) -> None:
        busy = refusal(503, "ServerBusy", **{"Retry-After": "1"})
        with scripted_server(Script(busy, Answer(body=b"data"))) as server, store_on(server.url) as store:
            begun = time.monotonic()
            assert read(store) == b"data"
            assert time.monotonic() - begun >= 1

    def test_service_that_stays_busy_is_temporarily_unavailable(self) -> None:
        with scripted_server(Script(refusal(503, "ServerBusy", "Slow down."))) as server:
            options = (("account_key", KEY), ("patience", "0.2"))
            with store_on(server.url, *options) as store, pytest.raises(TemporarilyUnavailable, match="ServerBusy"):
                read(store)

    @pytest.mark.parametrize(
        ("status", "code", "error", "said"),
        [
            (403, "AuthenticationFailed", Unauthenticated, "Check the account key"),
            (403, "KeyBasedAuthenticationNotPermitted", Unauthenticated, "Check the account key"),
            (400, "InvalidAuthenticationInfo", Unauthenticated, "Check the account key"),
            (403, "AuthorizationPermissionMismatch", PermissionDenied, "Storage Blob Data Contributor"),
            (403, "AuthorizationFailure", PermissionDenied, "network rules"),
            (404, "ContainerNotFound", NotFound, "'box' of 'acct'"),
            (409, "ContainerBeingDeleted", NotFound, "'box' of 'acct'"),
            (409, "BlobArchived", InternalError, "BlobArchived"),
            (400, "InvalidUri", InvalidParameterValue, "InvalidUri"),
            (409, "InvalidBlobType", InvalidParameterValue, "delete it first"),
            (412, "LeaseIdMissing", PermissionDenied, "lease"),
        ],
    )
    def test_refusal_has_its_error_and_remedy(self, status: int, code: str, error: type[Exception], said: str) -> None:
        with scripted_server(Script(refusal(status, code))) as server, store_on(server.url) as store:
            with pytest.raises(error, match=said):
                read(store)
            assert len(server.asked) == 1

    def test_refusal_tells_no_signature(self) -> None:
        detail = "<AuthenticationErrorDetail>The signature topsecret is wrong.</AuthenticationErrorDetail>"
        body = f"<Error><Code>AuthenticationFailed</Code><Message>No.</Message>{detail}</Error>".encode()
        with scripted_server(Script(Answer(403, body))) as server, store_on(server.url) as store:
            with pytest.raises(Unauthenticated, match="AuthenticationFailed") as caught:
                read(store)
            assert "topsecret" not in str(caught.value)

    def test_answer_of_a_proxy_is_an_error_that_tells_the_status(self) -> None:
        with (
            scripted_server(Script(Answer(407, b"<html><p>Log in"))) as server,
            store_on(server.url) as store,
            pytest.raises(InternalError, match="407"),
        ):
            read(store)

    def test_body_damaged_on_its_way_is_sent_again(self) -> None:
        with scripted_server(Script(refusal(400, "Md5Mismatch"), Answer(201))) as server:
            with store_on(server.url) as store, store.open("file", "wb") as upload:
                upload.write(b"data")
            assert [asked.body for asked in server.asked] == [b"data", b"data"]

    def test_server_that_ignores_ranges_is_found_out(self) -> None:
        with (
            scripted_server(Script(Answer(body=b"data"))) as server,
            store_on(server.url) as store,
            store.open("file") as reader,
        ):
            reader.seek(2)
            with pytest.raises(InternalError, match="range"):
                reader.read()

    def test_stores_of_several_accounts_keep_to_their_own(self) -> None:
        with scripted_server(Script(Answer(body=b"1"))) as one, scripted_server(Script(Answer(body=b"2"))) as two:
            key = ("account_key", b64encode(b"other").decode())
            with store_on(one.url) as first, store_on(two.url, key) as second:
                assert (read(first), read(second), read(first)) == (b"1", b"2", b"1")
            assert len(one.asked) == 2
            assert one.asked[0].headers["authorization"] != two.asked[0].headers["authorization"]


# Listings


class TestListings:
    def test_names_that_xml_cannot_hold_are_decoded(self) -> None:
        page = listing("plain").body.replace(b"<Name>plain<", b'<Name Encoded="true">a%01%2520<')
        with scripted_server(Script(Answer(body=b"\xef\xbb\xbf" + page))) as server, store_on(server.url) as store:
            assert store.list_artifacts() == [FileInfo("a\x01%20", False, 1)]

    def test_pages_are_followed_also_where_one_is_empty(self) -> None:
        pages = (listing("a", marker="1"), listing(marker="2"), listing("b"))
        with scripted_server(Script(*pages)) as server, store_on(server.url) as store:
            assert [info.path for info in store.list_artifacts()] == ["a", "b"]
            assert [asked.query.get("marker") for asked in server.asked] == [None, "1", "2"]

    def test_listing_that_does_not_advance_is_refused(self) -> None:
        with (
            scripted_server(Script(listing("a", marker="same"))) as server,
            store_on(server.url) as store,
            pytest.raises(InternalError, match="shown before"),
        ):
            store.list_artifacts()

    def test_markers_of_hadoop_are_folders(self) -> None:
        marked = b"<Blob><Metadata><hdi_isfolder>true</hdi_isfolder></Metadata><Name>d<"
        answer = Answer(body=listing("d", "d/file").body.replace(b"<Blob><Name>d<", marked))
        with scripted_server(Script(answer)) as server, store_on(server.url) as store:
            assert list(store.walk()) == [FileInfo("d", True), FileInfo("d/file", False, 1)]
            assert server.asked[0].query["include"] == "metadata"

    @pytest.mark.parametrize(
        "names",
        [
            ["d/../../x"],
            ["../x"],
            ["/etc/passwd"],
            ["d//x"],
            ["d/a\\..\\..\\x"],
            ["d/%2e%2e/x"],
            ["C:x"],
            ["elsewhere/x"],
            ["d/x", "d/x", "d/x/y"],
        ],
        ids=" ".join,
    )
    def test_download_of_hostile_listing_writes_nothing_outside(self, names: list[str], tmp_path: Path) -> None:
        def answer(asked: Asked) -> Answer:
            if asked.query.get("comp") == "list":
                return listing("d/good", *names)
            return refusal(404, "BlobNotFound") if asked.method == "HEAD" else Answer(body=b"x")

        target = tmp_path / "a" / "b" / "dst"
        with (
            scripted_server(answer) as server,
            store_on(server.url) as store,
            suppress(InternalError, InvalidParameterValue),
        ):
            store.download_artifacts("d", target)
        written = {path for path in tmp_path.rglob("*") if path.is_file()}
        assert written <= {target / "d" / "good"}

    def test_list_hostile_names_leaves_them_out(self, caplog: pytest.LogCaptureFixture) -> None:
        answer = listing("../x", "/abs", "a//b", "a\\..\\b", "good", "good", prefixes=["../", "//", "fine/"])
        with scripted_server(Script(answer)) as server, store_on(server.url) as store:
            assert {info.path for info in store.list_artifacts()} == {"good", "fine"}
        assert "Left out" in caplog.text

    def test_answer_with_entities_that_explode_is_refused_at_once(self) -> None:
        entities = "".join(f'<!ENTITY e{index} "{f"&e{index - 1};" * 100}">' for index in range(1, 10))
        bomb = f'<!DOCTYPE x [<!ENTITY e0 "boom">{entities}]><EnumerationResults>&e9;</EnumerationResults>'
        with (
            scripted_server(Script(Answer(body=bomb.encode()))) as server,
            store_on(server.url) as store,
            pytest.raises(InternalError, match="XML"),
        ):
            store.list_artifacts()

    def test_answer_that_names_a_file_of_this_machine_does_not_get_it(self, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("topsecret", encoding="ascii")
        entity = f'<!DOCTYPE x [<!ENTITY e SYSTEM "file://{tmp_path}/secret">]>'
        body = entity + NAMESPACE.format("<Blob><Name>&e;</Name></Blob>", "")
        with (
            scripted_server(Script(Answer(body=body.encode()))) as server,
            store_on(server.url) as store,
            pytest.raises(InternalError, match="XML"),
        ):
            store.list_artifacts()

    def test_cut_listing_is_asked_for_again(self) -> None:
        whole = listing("a")
        cut = Answer(body=whole.body[:50], headers={"Content-Length": str(len(whole.body)), "Connection": "close"})
        attempts = count()

        def answer(asked: Asked) -> Answer:
            return cut if next(attempts) == 0 else whole

        with scripted_server(answer) as server, store_on(server.url) as store:
            assert [info.path for info in store.list_artifacts()] == ["a"]
