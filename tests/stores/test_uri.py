"""`StoreURI`: one parser, what it refuses, and that nothing it says shows a password.

The refusals are the tricks of MLflow's path advisories, each with its number.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdall.stores import InvalidParameterValue, StoreURI

PARSED = {
    "sqlite:///runs.db": StoreURI("sqlite", path="runs.db"),
    "sqlite:////data/runs.db": StoreURI("sqlite", path="/data/runs.db"),
    "sqlite://": StoreURI("sqlite"),
    "sqlite:///:memory:": StoreURI("sqlite", path=":memory:"),
    "sqlite:///a%20b.db": StoreURI("sqlite", path="a%20b.db"),
    "sqlite:///a?synchronous=full": StoreURI("sqlite", path="a", query=(("synchronous", "full"),)),
    "sqlite+pysqlite:///a": StoreURI("sqlite", "pysqlite", path="a"),
    "SQLite:///Runs.DB": StoreURI("sqlite", path="Runs.DB"),
    "memory://": StoreURI("memory"),
    "file:///data/runs": StoreURI("file", path="/data/runs"),
    "file:/data/runs": StoreURI("file", path="/data/runs"),
    "FILE:///data/runs": StoreURI("file", path="/data/runs"),
    "file://localhost/data": StoreURI("file", host="localhost", path="/data"),
    "file:///a%20b%23c%3Fd%25": StoreURI("file", path="/a b#c?d%"),
    "file:///a%252e%252e/b": StoreURI("file", path="/a%2e%2e/b"),
    "s3://Bucket": StoreURI("s3", host="Bucket"),
    "s3://bucket/a/b;c=d/e@f": StoreURI("s3", host="bucket", path="/a/b;c=d/e@f"),
    "s3://bucket/p?endpoint_url=http://h:9000&region=": StoreURI(
        "s3", host="bucket", path="/p", query=(("endpoint_url", "http://h:9000"), ("region", ""))
    ),
    "postgresql+psycopg://u%40x:p%2Fw@Host:5432/db": StoreURI(
        "postgresql", "psycopg", "u@x", "p/w", "Host", 5432, "/db"
    ),
    "mysql://u:@h/db": StoreURI("mysql", None, "u", "", "h", None, "/db"),
    "https://user@h": StoreURI("https", None, "user", None, "h"),
    "http://[::1]:8080/api": StoreURI("http", host="::1", port=8080, path="/api"),
    "mlflow-artifacts:/a/b": StoreURI("mlflow-artifacts", path="/a/b"),
    "./mlruns": StoreURI("file", path="./mlruns", plain=True),
    "mlruns": StoreURI("file", path="mlruns", plain=True),
    "/data/a%20b#c?d": StoreURI("file", path="/data/a%20b#c?d", plain=True),
    "/a/b://c": StoreURI("file", path="/a/b://c", plain=True),
    "../up": StoreURI("file", path="../up", plain=True),
}

REFUSED = {
    "": "empty",
    " ": "blank",
    " file:///x": "CVE-2024-3573: a blank before the scheme",
    "file:///x\n": "a newline behind",
    "file:///x\ty": "a control character",
    "\x00/etc": "NUL",
    "file:///a%00b": "NUL, encoded",
    "s3://b/p?region=%00": "NUL in an option",
    "file:": "nothing",
    "file:x": "CVE-2024-3573: relative",
    "file://": "nothing",
    "file://x": "a host and no path",
    "file://./etc": "CVE-2023-2780: the host is a dot",
    "file://../etc": "CVE-2023-2356: the host is two dots",
    "file://evil.example/etc": "CVE-2023-2356: a host",
    "file://user@localhost/etc": "a user",
    "file:////etc": "a network path",
    "file:///../etc": "CVE-2023-2356: dots",
    "file:///a/../../etc": "dots inside",
    "file:///a/..": "dots at the end",
    "file:///a/%2e%2e/etc": "CVE-2024-1558: encoded dots",
    "file:///a/.%2E/etc": "half-encoded dots",
    "file:///a%2f..%2fetc": "encoded slashes",
    "file:///a?x=1": "CVE-2024-8859: a query",
    "file:///a#x": "CVE-2024-1483: a fragment",
    "file:///a%zz": "a percent sign that means nothing",
    "file:///a%2": "a percent sign cut short",
    "file:///%ff": "bytes that are no UTF-8",
    "//proc/self/root": "CVE-2023-6977: no scheme and two slashes",
    "\\\\server\\share": "CVE-2023-6753: a network path of Windows",
    "C:\\data": "CVE-2023-6753: a drive",
    "C:/data": "a drive",
    "c:data": "a drive without a root",
    "c://data": "a drive that looks like a scheme",
    "http:///?/../../../etc/": "CVE-2023-6909: a query that swallows the path",
    "http://h/a#/../../etc": "CVE-2024-1594: a fragment",
    "http://h/a;x=/../../etc": "CVE-2024-1593: dots behind a parameter",
    "http://h/a;x=1": "CVE-2024-1593: path parameters",
    "https://h/a/../b": "dots",
    "https://h/a/%2e%2e/b": "encoded dots",
    "s3://b/a/../c": "dots",
    "s3://b%2f..%2fc/x": "an encoded slash in the bucket",
    "s3://../x": "a bucket of dots",
    "s3://b\\..\\c/x": "backslashes in the bucket",
    "s3://b c/x": "a blank in the bucket",
    "http://h:99999/": "a port too great",
    "http://h:x/": "a port of letters",
    "http://[::1/": "a bracket left open",
    "sqlite://runs.db": "two slashes",
    "sqlite:runs.db": "no slashes",
    "sqlite:///a#b": "a fragment",
    "sqlite:///a?b": "an option without a value",
    "my_store://x": "no scheme, and not a path either",
    "1s3://bucket": "no scheme, and not a path either",
    "://x": "no scheme at all",
    "s3://b/\ud800": "half a character",
}


@pytest.mark.parametrize("text", PARSED)
def test_parse_uri_of_any_scheme_gives_its_parts(text: str) -> None:
    assert StoreURI.parse(text) == PARSED[text]


@pytest.mark.parametrize("text", PARSED)
def test_render_parsed_uri_and_parse_again_is_identity(text: str) -> None:
    uri = StoreURI.parse(text)
    assert StoreURI.parse(uri.render(hide_password=False)) == uri
    assert StoreURI.parse(uri) is uri


@pytest.mark.parametrize("text", REFUSED, ids=REFUSED.values())
def test_parse_uri_with_trick_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameterValue) as caught:
        StoreURI.parse(text)
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"


@pytest.mark.parametrize("value", [None, 5, b"sqlite:///x"])
def test_parse_uri_of_other_type_is_refused(value: str) -> None:
    with pytest.raises(InvalidParameterValue):
        StoreURI.parse(value)


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("scheme", ["file:///data/", "s3://bucket/", "https://host/"])
def test_parse_encoded_dots_are_decoded_once_or_refused(scheme: str, times: int) -> None:
    dots = "..".replace(".", "%" + "25" * (times - 1) + "2e")
    if times == 1:
        with pytest.raises(InvalidParameterValue):
            StoreURI.parse(f"{scheme}{dots}/x")
        return
    uri = StoreURI.parse(f"{scheme}{dots}/x")
    assert ".." not in uri.path.split("/")
    assert StoreURI.parse(uri.render()) == uri
    assert uri.join("y").path.endswith(f"{dots.replace('%25', '%')}/x/y")


@pytest.mark.parametrize("name", ["/etc/a b", "./x", "a#b?c%20", "ä"])
def test_parse_path_object_is_taken_literally(name: str) -> None:
    uri = StoreURI.parse(Path(name))
    assert uri.scheme == "file"
    assert uri.local_path == Path(name)
    assert str(uri) == os.fspath(Path(name))


SECRETS = (
    "postgresql://user:hunter2@host/db",
    "postgresql://user:hunter2@host:5432/db?x=1",
    "mysql+pymysql://user:hunter2@[::1]/db",
    "s3://bucket/p?secret_access_key=hunter2",
    "s3://bucket/p?password=hunter2",
    "azure://c/p?sas_token=hunter2&sig=hunter2",
    "sqlite:///x?key=hunter2",
)

BROKEN_SECRETS = (
    "postgresql://user:hunter2@host/db#x",
    "postgresql://user:hunter2@host:x/db",
    "postgresql://user:hun/ter2@host/db",
    "postgresql://user:hun@ter2@host:99999/db",
    "postgresql:/user:hunter2@host/db",
    "postgresql:user:hunter2@host/db",
    "user:hunter2@host/db",
    "//user:hunter2@host/db",
    "c:hunter2@host",
    " postgresql://user:hunter2@host/db",
    "my_sql://user:hunter2@host/db",
    "sqlite://user:hunter2@host/db",
    "file://user:hunter2@host/db",
    "file:///x?password=hunter2",
    "s3://b/x?token=hunter2#x",
)


@pytest.mark.parametrize("text", SECRETS)
def test_show_uri_with_secret_hides_it(text: str) -> None:
    uri = StoreURI.parse(text)
    for shown in (str(uri), repr(uri), f"{uri}", uri.render(), repr([uri]), repr(uri.join("x"))):
        assert "hunter2" not in shown
        assert "***" in shown
    assert "hunter2" in uri.render(hide_password=False)


@pytest.mark.parametrize("text", BROKEN_SECRETS)
def test_refuse_uri_with_secret_hides_it(text: str) -> None:
    with pytest.raises(InvalidParameterValue) as caught:
        StoreURI.parse(text)
    shown = str(caught.value) + repr(caught.value)
    assert not any(part in shown for part in ("hunter2", "ter2", "hun/"))
    assert caught.value.__cause__ is None


def test_read_options_known_and_unknown_are_told_apart() -> None:
    uri = StoreURI.parse("sqlite:///x?synchronous=full&busy=")
    assert uri.options("synchronous", "busy", "other") == {"synchronous": "full", "busy": ""}
    with pytest.raises(InvalidParameterValue, match="synchronous"):
        uri.options("busy")
    with pytest.raises(InvalidParameterValue, match="twice"):
        StoreURI.parse("sqlite:///x?a=1&a=2").options("a")


def test_refuse_unknown_option_beside_secret_hides_it() -> None:
    with pytest.raises(InvalidParameterValue) as caught:
        StoreURI.parse("s3://b/x?secret=hunter2&bad=1").options("secret")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        ("s3://b", "s3://b/1/x%20y"),
        ("s3://b/", "s3://b/1/x%20y"),
        ("s3://b/p/?region=r", "s3://b/p/1/x%20y?region=r"),
        ("file:///a", "file:///a/1/x%20y"),
        ("/a/", "/a/1/x y"),
        ("mlflow-artifacts:/a", "mlflow-artifacts:/a/1/x%20y"),
    ],
)
def test_join_names_to_uri_appends_to_the_path(root: str, expected: str) -> None:
    assert str(StoreURI.parse(root).join("1", "x y")) == expected


@pytest.mark.parametrize("segment", ["", ".", "..", "a/b", "/", "a\0b"])
def test_join_segment_that_is_no_name_is_refused(segment: str) -> None:
    with pytest.raises(InvalidParameterValue):
        StoreURI.parse("s3://b").join("fine", segment)


def test_make_absolute_changes_local_paths_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for text in ("runs", "./runs", "x/../runs"):
        assert StoreURI.parse(text).absolute().path == f"{tmp_path}/runs"
    assert StoreURI.parse("sqlite:///runs.db").absolute().path == f"{tmp_path}/runs.db"
    for text in ("sqlite://", "sqlite:///:memory:", "memory://", "s3://b/x", "/x"):
        assert StoreURI.parse(text).absolute() == StoreURI.parse(text)


def test_ask_remote_uri_for_local_path_is_refused() -> None:
    with pytest.raises(InvalidParameterValue):
        _ = StoreURI.parse("s3://b/x").local_path
    assert StoreURI.parse("sqlite:////x.db").local_path == Path("/x.db")


def test_use_uri_as_key_compares_by_value() -> None:
    assert {StoreURI.parse("s3://b"): 1}[StoreURI.parse("s3://b")] == 1
    with pytest.raises(AttributeError):
        StoreURI.parse("s3://b").host = "other"  # type: ignore[misc]
