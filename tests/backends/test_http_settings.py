"""How the HTTP backend reaches a server: address, credentials, certificates, all settled when it is opened."""

from __future__ import annotations

import ssl
from base64 import b64encode
from pathlib import Path

import pytest
from tests.artifacts.scripted_server import make_certificate
from tests.backends.http_scripts import API, RUN, clear_settings, document, open_server, refusal, scripted_api

from holdall.backends.http.store import HttpBackendStore
from holdall.stores import (
    HoldallError,
    InvalidParameterValue,
    StoreURI,
    TemporarilyUnavailable,
    open_backend_store,
)
from holdall.stores.tracking_settings import ServerSettings

ANSWERS = {"runs/get": document({"run": RUN})}


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clear_settings(monkeypatch, tmp_path)


def basic(account: str) -> str:
    return f"Basic {b64encode(account.encode()).decode()}"


def sent(user_info: str = "") -> str | None:
    """The header by which a store says who asks."""
    with scripted_api(ANSWERS) as server, open_server(server.url.replace("://", f"://{user_info}")) as store:
        store.get_run("r")
    return server.asked[0].headers.get("authorization")


def set_all(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", value)


def write_credentials(home: Path, text: str) -> None:
    (home / ".mlflow").mkdir()
    (home / ".mlflow" / "credentials").write_text(text, encoding="utf-8")


FILE = "[mlflow]\nmlflow_tracking_username = fred\nmlflow_tracking_password = of % file\n"


@pytest.mark.parametrize(
    ("user_info", "environment", "file", "header"),
    [
        ("", {}, "", None),
        ("", {"TOKEN": "abc"}, "", "Bearer abc"),
        ("", {"TOKEN": " abc\n"}, "", "Bearer abc"),
        ("", {"USERNAME": "me", "PASSWORD": "pä:ss"}, "", basic("me:pä:ss")),
        ("", {"USERNAME": "me", "PASSWORD": "pass", "TOKEN": "abc"}, "", basic("me:pass")),
        ("", {"USERNAME": "me", "TOKEN": "abc"}, "", "Bearer abc"),
        ("", {}, FILE, basic("fred:of % file")),
        ("", {"TOKEN": "abc"}, FILE, basic("fred:of % file")),
        ("", {"USERNAME": "me"}, FILE, basic("me:of % file")),
        ("", {"USERNAME": "me", "PASSWORD": "pass"}, FILE, basic("me:pass")),
        ("", {}, "[other]\na = b\n", None),
        ("u:p%40ss@", {"USERNAME": "me", "PASSWORD": "pass", "TOKEN": "abc"}, FILE, basic("u:p@ss")),
        ("u@", {}, "", basic("u:")),
    ],
)
def test_send_request_says_who_asks_by_the_first_source_that_knows(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    user_info: str,
    environment: dict[str, str],
    file: str,
    header: str | None,
) -> None:
    set_all(monkeypatch, **environment)
    if file:
        write_credentials(tmp_path, file)
    assert sent(user_info) == header


def test_read_credentials_once_on_opening(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, TOKEN="first")
    with scripted_api(ANSWERS) as server, open_server(server) as store:
        set_all(monkeypatch, TOKEN="second")
        store.get_run("r")
    assert server.asked[0].headers["authorization"] == "Bearer first"


@pytest.mark.parametrize("text", ["no section\n", "[mlflow\n", "[mlflow]\nhush-hush\n"])
def test_open_with_malformed_file_of_credentials_shows_none_of_it(tmp_path: Path, text: str) -> None:
    write_credentials(tmp_path, text)
    with pytest.raises(InvalidParameterValue, match="credentials is malformed") as caught:
        open_server("http://127.0.0.1:9")
    assert "hush" not in caught.value.message


@pytest.mark.parametrize("token", ["a\nb", "tökén", "a\x01b"])
def test_open_with_token_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    set_all(monkeypatch, TOKEN=token)
    with pytest.raises(InvalidParameterValue, match="MLFLOW_TRACKING_TOKEN") as caught:
        open_server("http://127.0.0.1:9")
    assert token not in caught.value.message


@pytest.mark.parametrize("how", ["uri", "account", "token"])
def test_refusal_that_repeats_credentials_does_not_show_them(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    secret = "open/sesame"
    encoded = b64encode(f"me:{secret}".encode()).decode()
    if how == "token":
        set_all(monkeypatch, TOKEN=secret)
    elif how == "account":
        set_all(monkeypatch, USERNAME="me", PASSWORD=secret)
    answer = refusal(403, "PERMISSION_DENIED", f"No entry for {secret}, open%2Fsesame, {encoded}!")
    with scripted_api({"runs/get": answer}) as server:
        user_info = "me:open%2Fsesame@" if how == "uri" else ""
        with open_server(server.url.replace("://", f"://{user_info}")) as store:
            with pytest.raises(HoldallError) as caught:
                store.get_run("r")
            shown = f"{caught.value} {store!r} {store.uri} {store._client!r} {ServerSettings.of(store.uri)!r}"
    assert "No entry for ***" in caught.value.message
    assert secret not in shown
    if how != "token":
        assert encoded not in shown
        assert "open%2Fsesame" not in shown


@pytest.mark.parametrize("prefix", ["", "/", "/team/mlflow", "/with blank/ü"])
def test_send_request_below_the_path_of_the_uri(prefix: str) -> None:
    path = f"{prefix.rstrip('/')}{API}runs/get".replace(" ", "%20").replace("ü", "%C3%BC")
    with scripted_api({path: ANSWERS["runs/get"]}) as server, open_server(server.url + prefix) as store:
        store.get_run("r")
    assert [asked.path for asked in server.asked] == [path]


@pytest.mark.parametrize(
    "uri", ["http://", "https:///x", "http://h?patience=x", "http://h?patience=-1", "http://h?a=1"]
)
def test_open_malformed_address_is_refused(uri: str) -> None:
    with pytest.raises(InvalidParameterValue):
        open_backend_store(uri)


@pytest.mark.parametrize("value", ["soon", "-1", "nan"])
def test_open_with_malformed_timeout_names_the_variable(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", value)
    with pytest.raises(InvalidParameterValue, match="MLFLOW_HTTP_REQUEST_TIMEOUT"):
        open_server("http://127.0.0.1:9")


def test_open_with_artifact_root_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameterValue, match="decides where artifacts"):
        open_backend_store("http://127.0.0.1:9", artifact_root=tmp_path)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_open_by_scheme_sends_nothing_and_gives_the_store(scheme: str) -> None:
    with open_backend_store(f"{scheme}://127.0.0.1:9/x", create=False) as store:
        assert type(store) is HttpBackendStore
        assert not store.created


@pytest.mark.extras
def test_call_server_of_unknown_certificate_is_refused_without_sending(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path / "server.pem")
    with scripted_api(ANSWERS, certificate) as server, open_server(server) as store:
        with pytest.raises(InvalidParameterValue, match="certificate") as caught:
            store.get_run("r")
        assert server.asked == []
    assert "MLFLOW_TRACKING_SERVER_CERT_PATH" in caught.value.message


@pytest.mark.extras
@pytest.mark.parametrize("setting", ["SERVER_CERT_PATH", "INSECURE_TLS"])
def test_call_server_of_own_certificate_works_when_told_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, setting: str
) -> None:
    certificate = make_certificate(tmp_path / "server.pem")
    set_all(monkeypatch, **{setting: "true" if setting == "INSECURE_TLS" else str(certificate)})
    with scripted_api(ANSWERS, certificate) as server, open_server(server) as store:
        assert store.get_run("r").info.run_id == "r"
        assert store.get_run("r").info.run_id == "r"


@pytest.mark.extras
def test_call_server_of_another_certificate_than_the_one_named_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    set_all(monkeypatch, SERVER_CERT_PATH=str(make_certificate(tmp_path / "other.pem")))
    with (
        scripted_api(ANSWERS, make_certificate(tmp_path / "server.pem")) as server,
        open_server(server) as store,
        pytest.raises(InvalidParameterValue, match="certificate"),
    ):
        store.get_run("r")


@pytest.mark.extras
@pytest.mark.parametrize("known", [True, False])
def test_call_server_that_asks_for_a_certificate_shows_the_one_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, known: bool
) -> None:
    certificate = make_certificate(tmp_path / "server.pem")
    set_all(monkeypatch, SERVER_CERT_PATH=str(certificate))
    if known:
        set_all(monkeypatch, CLIENT_CERT_PATH=str(certificate))
    with scripted_api(ANSWERS, certificate) as server:
        assert isinstance(server.socket, ssl.SSLSocket)
        server.socket.context.load_verify_locations(certificate)
        server.socket.context.verify_mode = ssl.CERT_REQUIRED
        with open_server(server, patience=0) as store:
            if known:
                assert store.get_run("r").info.run_id == "r"
            else:
                with pytest.raises(TemporarilyUnavailable):
                    store.get_run("r")


@pytest.mark.parametrize("setting", ["SERVER_CERT_PATH", "CLIENT_CERT_PATH"])
def test_open_with_certificate_that_is_not_there_names_the_file(monkeypatch: pytest.MonkeyPatch, setting: str) -> None:
    set_all(monkeypatch, **{setting: "/nowhere/cert.pem"})
    with pytest.raises(InvalidParameterValue, match=r"/nowhere/cert\.pem"):
        open_server("https://127.0.0.1:9")


def test_open_with_contradicting_certificate_settings_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, INSECURE_TLS="true", SERVER_CERT_PATH="/x.pem")
    with pytest.raises(InvalidParameterValue, match="unset one"):
        open_server("https://127.0.0.1:9")


def test_parse_settings_keeps_the_password_out_of_the_origin() -> None:
    settings = ServerSettings.of(StoreURI.parse("http://me:pass-word@[::1]:80/x"))
    assert (settings.origin, settings.prefix) == ("http://[::1]:80", "/x")
