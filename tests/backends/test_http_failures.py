"""What may go wrong between the HTTP backend and a server: repeated where that helps and cannot harm, then told."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.artifacts.scripted_server import Answer, Asked
from tests.backends.http_scripts import API, MODEL, RUN, clear_settings, document, open_server, refusal, scripted_api

from holdall.backends.http.store import HttpBackendStore
from holdall.stores import (
    HoldallError,
    InternalError,
    InvalidParameterValue,
    Metric,
    NotFound,
    RunTag,
    TemporarilyUnavailable,
    Unsupported,
)
from holdall.stores.errors import (
    HTTP_STATUS,
    AlreadyExists,
    DataLoss,
    PermissionDenied,
    ReadOnly,
    StoreClosed,
    Unauthenticated,
)
from holdall.stores.tracking_errors import BadRequest

HTML = Answer(502, b"<html><body>Bad gateway of 10.0.0.7</body></html>", {"Content-Type": "text/html"})

CREATIONS: dict[str, Callable[[HttpBackendStore], object]] = {
    "experiments/create": lambda store: store.create_experiment("e"),
    "runs/create": lambda store: store.create_run("1"),
    "logged-models": lambda store: store.create_logged_model("1"),
}
CREATED = {
    "experiments/create": document({"experiment_id": "1"}),
    "runs/create": document({"run": RUN}),
    "logged-models": document({"model": MODEL}),
}


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clear_settings(monkeypatch, tmp_path)


def in_turn(*answers: Answer) -> Callable[[Asked], Answer]:
    """The answers one after the other, then the last one for ever."""
    turns = itertools.chain(answers, itertools.repeat(answers[-1]))
    return lambda _: next(turns)


FAULTS = {
    "busy": refusal(503, "TEMPORARILY_UNAVAILABLE"),
    "too many": document({}, 429, **{"Retry-After": "0.01"}),
    "gateway": HTML,
    "hang-up": Answer(hang_up=True),
    "cut short": Answer(200, b'{"run": {', {"Content-Length": "100", "Connection": "close"}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_read_after_fault_on_the_way_is_repeated(fault: str) -> None:
    with (
        scripted_api({"runs/get": in_turn(FAULTS[fault], FAULTS[fault], document({"run": RUN}))}) as server,
        open_server(server) as store,
    ):
        assert store.get_run("r").info.run_id == "r"
    assert len(server.asked) == 3


@pytest.mark.parametrize("fault", FAULTS)
def test_write_after_fault_on_the_way_is_repeated_as_it_was(fault: str) -> None:
    with (
        scripted_api({"runs/log-metric": in_turn(FAULTS[fault], document({}))}) as server,
        open_server(server) as store,
    ):
        store.log_metric("r", Metric("k", 0.5, 1, 2))
    first, again = server.asked
    assert first.body == again.body == b'{"run_id":"r","key":"k","value":0.5,"timestamp":1,"step":2}'


@pytest.mark.parametrize("endpoint", CREATIONS)
@pytest.mark.parametrize("fault", ["busy", "too many"])
def test_create_turned_away_by_busy_server_is_repeated(endpoint: str, fault: str) -> None:
    script = {endpoint: in_turn(FAULTS[fault], CREATED[endpoint])}
    with scripted_api(script) as server, open_server(server) as store:
        CREATIONS[endpoint](store)
    assert len(server.asked) == 2


@pytest.mark.parametrize("endpoint", CREATIONS)
@pytest.mark.parametrize("fault", ["gateway", "hang-up", "cut short"])
def test_create_of_unknown_outcome_is_not_repeated(endpoint: str, fault: str) -> None:
    script = {endpoint: in_turn(FAULTS[fault], CREATED[endpoint])}
    with (
        scripted_api(script) as server,
        open_server(server) as store,
        pytest.raises(TemporarilyUnavailable, match="may have been created nevertheless"),
    ):
        CREATIONS[endpoint](store)
    assert len(server.asked) == 1


@contextmanager
def forgetful_server() -> Iterator[tuple[str, threading.Semaphore]]:
    """A server that promises to keep connections and closes each after one answer; counts those that it closed."""
    closed = threading.Semaphore(0)
    body = CREATED["runs/create"].body
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                data, more = b"", True
                while more and not data.endswith(b'"}]}'):
                    more = bool(piece := connection.recv(65536))
                    data += piece
                connection.sendall(answer)
            closed.release()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", closed
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_create_after_server_closed_the_kept_connection_uses_a_new_one() -> None:
    with forgetful_server() as (url, closed), open_server(url, patience=0) as store:
        for _ in range(3):
            assert store.create_run("1").info.run_id == "r"
            assert closed.acquire(timeout=10)


def test_call_of_server_that_is_not_there_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with (
        open_server(f"http://me:pass-word@127.0.0.1:{port}", patience=0) as store,
        pytest.raises(TemporarilyUnavailable, match="Is the tracking server running at this address") as caught,
    ):
        store.get_run("r")
    assert "pass-word" not in caught.value.message


def test_call_of_server_that_does_not_answer_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "0.2")
    gone = threading.Event()

    def stall(_: Asked) -> Answer:
        gone.wait(30)
        return Answer(hang_up=True)

    with scripted_api({"runs/get": stall}) as server, open_server(server, patience=0) as store:
        with pytest.raises(TemporarilyUnavailable, match="did not answer in time"):
            store.get_run("r")
        gone.set()


def test_call_that_goes_on_failing_gives_up_when_patience_ends() -> None:
    with (
        scripted_api({"runs/get": FAULTS["busy"]}) as server,
        open_server(server, patience=0.3) as store,
        pytest.raises(TemporarilyUnavailable, match="because"),
    ):
        store.get_run("r")
    assert len(server.asked) > 1


def test_call_refused_for_longer_than_patience_is_not_repeated() -> None:
    with scripted_api({"runs/get": document({}, 503, **{"Retry-After": "50"})}) as server:
        with open_server(server, patience=5) as store, pytest.raises(TemporarilyUnavailable) as caught:
            store.get_run("r")
        assert caught.value.retry_after == 50
    assert len(server.asked) == 1


CLASSES = {
    "INTERNAL_ERROR": InternalError,
    "INVALID_STATE": InvalidParameterValue,
    "DATA_LOSS": DataLoss,
    "NOT_IMPLEMENTED": Unsupported,
    "TEMPORARILY_UNAVAILABLE": TemporarilyUnavailable,
    "DEADLINE_EXCEEDED": TemporarilyUnavailable,
    "REQUEST_LIMIT_EXCEEDED": TemporarilyUnavailable,
    "CANCELLED": TemporarilyUnavailable,
    "RESOURCE_EXHAUSTED": TemporarilyUnavailable,
    "ABORTED": TemporarilyUnavailable,
    "RESOURCE_CONFLICT": AlreadyExists,
    "ALREADY_EXISTS": AlreadyExists,
    "NOT_FOUND": NotFound,
    "ENDPOINT_NOT_FOUND": Unsupported,
    "RESOURCE_DOES_NOT_EXIST": NotFound,
    "PERMISSION_DENIED": PermissionDenied,
    "CUSTOMER_UNAUTHORIZED": Unauthenticated,
    "UNAUTHENTICATED": Unauthenticated,
    "BAD_REQUEST": BadRequest,
    "RESOURCE_ALREADY_EXISTS": AlreadyExists,
    "INVALID_PARAMETER_VALUE": InvalidParameterValue,
}


@pytest.mark.parametrize("code", HTTP_STATUS)
def test_refusal_with_code_raises_its_class_with_the_servers_message(code: str) -> None:
    with (
        scripted_api({"runs/set-tag": refusal(HTTP_STATUS[code], code, "Message of the sérver.")}) as server,
        open_server(server, patience=0) as store,
        pytest.raises(HoldallError) as caught,
    ):
        store.set_tag("r", RunTag("k", "v"))
    assert type(caught.value) is CLASSES[code]
    assert caught.value.message == "Message of the sérver."


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidParameterValue),
        (401, Unauthenticated),
        (403, PermissionDenied),
        (404, Unsupported),
        (405, Unsupported),
        (413, InvalidParameterValue),
        (418, InternalError),
        (429, TemporarilyUnavailable),
        (500, InternalError),
        (501, Unsupported),
        (502, TemporarilyUnavailable),
        (503, TemporarilyUnavailable),
        (504, TemporarilyUnavailable),
    ],
)
@pytest.mark.parametrize("body", [b"<html>secret page</html>", b"", b"[]", b'{"error_code": "ODD"}', b"\xff\xfe{"])
def test_refusal_without_code_goes_by_status_and_names_the_address(
    status: int, kind: type[HoldallError], body: bytes
) -> None:
    with scripted_api({"runs/get": Answer(status, body)}) as server:
        address = server.url.replace("://", "://me:pass-word@")
        with open_server(address, patience=0) as store, pytest.raises(HoldallError) as caught:
            store.get_run("r")
    assert type(caught.value) is kind
    assert f"GET {server.url}{API}runs/get" in caught.value.message
    assert str(status) in caught.value.message
    assert "page" not in caught.value.message
    assert "pass-word" not in caught.value.message


@pytest.mark.parametrize("body", [b"<html>Please log in</html>", b"[]", b'"text"', b"{", b"nul"])
def test_success_that_is_no_json_object_is_an_internal_error(body: bytes) -> None:
    with (
        scripted_api({"runs/get": Answer(200, body)}) as server,
        open_server(server) as store,
        pytest.raises(InternalError, match="is this the address of a tracking server") as caught,
    ):
        store.get_run("r")
    assert f"{server.url}{API}runs/get" in caught.value.message
    assert "log in" not in caught.value.message
    assert len(server.asked) == 1


def test_page_that_holds_something_else_is_an_internal_error() -> None:
    script = {
        "runs/search": in_turn(document({"runs": {}}), document({"runs": [{}]}), document({"next_page_token": 1}))
    }
    with scripted_api(script) as server, open_server(server) as store:
        for _ in range(3):
            with pytest.raises(InternalError):
                store.search_runs(["1"])


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_to_another_host_is_not_followed(status: int) -> None:
    with scripted_api({"runs/get": document({"run": RUN})}) as other:
        location = f"{other.url.replace('://', '://u:pass-word@')}{API}runs/get?token=pass-word"
        with (
            scripted_api({"runs/get": Answer(status, b"", {"Location": location})}) as server,
            open_server(server) as store,
            pytest.raises(InvalidParameterValue, match="open the store at its own address") as caught,
        ):
            store.get_run("r")
    assert other.asked == []
    assert "pass-word" not in caught.value.message


def test_refusal_with_drivers_text_hides_it() -> None:
    text = "(sqlite3.IntegrityError) UNIQUE constraint failed [SQL: INSERT INTO tags] (Background: https://sqlalche.me)"
    with (
        scripted_api({"runs/set-tag": refusal(400, "BAD_REQUEST", text)}) as server,
        open_server(server) as store,
        pytest.raises(InvalidParameterValue, match="refused by the server's database") as caught,
    ):
        store.set_tag("r", RunTag("k", "v"))
    assert "INSERT" not in caught.value.message


def test_write_to_store_opened_read_only_sends_nothing() -> None:
    with scripted_api({}) as server, open_server(server, read_only=True) as store:
        for write in (
            lambda: store.log_metric("r", Metric("k", 1.0, 1)),
            lambda: store.create_experiment("e"),
            lambda: store.create_logged_model("1"),
        ):
            with pytest.raises(ReadOnly):
                write()
    assert server.asked == []


def test_use_closed_store_is_refused() -> None:
    store = open_server("http://127.0.0.1:9")
    store.close()
    for use in (
        lambda: store.search_runs(["1"]),
        store.search_experiments,
        lambda: store.search_logged_models(["1"]),
        lambda: store.get_metric_history("r", "k"),
        lambda: store.create_experiment("e"),
        lambda: store.capabilities,
    ):
        with pytest.raises(StoreClosed):
            use()
