"""Who the server is and who the user is: host keys, keys, passwords, agents, `ssh_config`, ways through other hosts."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from paramiko import HostKeys
from tests.artifacts.sftp_server import PlainServer, new_key

from holdall.artifacts.sftp.options import SftpOptions
from holdall.artifacts.sftp.ssh_config import Destination
from holdall.stores import (
    HoldallError,
    InternalError,
    InvalidParameterValue,
    StoreURI,
    TemporarilyUnavailable,
    Unauthenticated,
    open_artifact_store,
)

pytestmark = pytest.mark.extras

RELAY = """
import os, socket, sys, threading
wire = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
def up():
    while data := os.read(0, 1 << 16):
        wire.sendall(data)
threading.Thread(target=up, daemon=True).start()
while data := wire.recv(1 << 16):
    while data:
        data = data[os.write(1, data):]
"""
"""A program that connects its standard streams to a port, as `nc` does."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PlainServer]:
    folder = tmp_path / "server"
    folder.mkdir()
    with PlainServer(folder) as server:
        yield server


@pytest.fixture(autouse=True)
def no_agent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the user who runs the tests takes part in them."""
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


def connect(uri: StoreURI) -> None:
    """Log in, and ask something."""
    with open_artifact_store(replace(uri, query=(*uri.query, ("patience", "0")))) as store:
        assert store.list_artifacts() == []


def refused(uri: StoreURI, kind: type[HoldallError], *words: str) -> str:
    """Fail to log in; the message, in which these words are."""
    with pytest.raises(kind) as caught:
        connect(uri)
    assert type(caught.value) is kind
    assert [word for word in words if word not in str(caught.value)] == []
    return str(caught.value)


def fingerprint(file: Path) -> str:
    """As OpenSSH shows it."""
    shown = subprocess.run(["ssh-keygen", "-l", "-f", str(file)], check=True, capture_output=True, timeout=60)
    return shown.stdout.decode().split()[1]


class TestHostKeys:
    def test_connect_to_unknown_server_is_refused_with_what_to_do(self, server: PlainServer) -> None:
        server.known_hosts.write_text("")
        refused(
            server.uri(),
            Unauthenticated,
            f"127.0.0.1:{server.port}",
            fingerprint(server.folder / "host_key.pub"),
            "not known",
            f"ssh-keyscan -p {server.port} 127.0.0.1 >> {server.known_hosts}",
            "known_hosts",
        )
        assert server.seen == [], "the user was shown to a server that may be another"

    def test_connect_without_file_of_host_keys_is_refused(self, server: PlainServer, tmp_path: Path) -> None:
        refused(server.uri(("known_hosts", str(tmp_path / "missing"))), Unauthenticated, "not known")

    def test_connect_to_server_with_another_key_is_refused(self, server: PlainServer, tmp_path: Path) -> None:
        other = new_key(tmp_path / "other")
        line = f"[127.0.0.1]:{server.port} {other.get_name()} {other.get_base64()}\n"
        server.known_hosts.write_text(f"# comment\n{line}")
        refused(
            server.uri(),
            Unauthenticated,
            "another",
            fingerprint(server.folder / "host_key.pub"),
            fingerprint(tmp_path / "other.pub"),
            f"{server.known_hosts}:2",
            f"ssh-keygen -f {server.known_hosts} -R '[127.0.0.1]:{server.port}'",
        )
        assert server.seen == []

    @pytest.mark.parametrize(
        "host",
        ["127.0.0.1", "other,[127.0.0.1]:{port}", "[127.0.0.*]:{port}", "[127.0.0.?]:{port}", "*", "[*]:{port},!no"],
    )
    def test_connect_to_server_known_by_name_or_pattern_succeeds(self, server: PlainServer, host: str) -> None:
        server.known_hosts.write_text(f"{host.format(port=server.port)} {server.host_line} a comment\n")
        connect(server.uri())

    @pytest.mark.parametrize(
        "host", ["127.0.0.2", "[127.0.0.1]:1", "[127.0.0.1]:{port}0", "*,![127.0.0.1]:{port},!127.0.0.1"]
    )
    def test_connect_to_server_known_by_other_names_is_refused(self, server: PlainServer, host: str) -> None:
        server.known_hosts.write_text(f"{host.format(port=server.port)} {server.host_line}\n")
        refused(server.uri(), Unauthenticated, "not known")

    def test_connect_to_server_known_by_hash_of_its_name_succeeds(self, server: PlainServer) -> None:
        subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(server.known_hosts)], check=True, timeout=60)
        assert "127.0.0.1" not in server.known_hosts.read_text()
        connect(server.uri())
        server.known_hosts.write_text(f"{HostKeys.hash_host('[127.0.0.1]:1')} {server.host_line}\n")
        refused(server.uri(), Unauthenticated, "not known")

    def test_connect_to_server_whose_key_is_revoked_is_refused(self, server: PlainServer) -> None:
        with server.known_hosts.open("a") as file:
            file.write(f"@revoked * {server.host_line}\n")
        refused(server.uri(("host_key_checking", "false")), Unauthenticated, "revoked", f"{server.known_hosts}:2")

    def test_connect_to_server_known_as_authority_only_is_refused(self, server: PlainServer) -> None:
        server.known_hosts.write_text(f"@cert-authority * {server.host_line}\n")
        refused(server.uri(), Unauthenticated, "not known")

    def test_connect_past_lines_that_are_no_keys_succeeds(
        self, server: PlainServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        good = server.known_hosts.read_text()
        bad = b"nonsense\n\xff\xfe x\nhost ssh-ed25519 not*base64\n|1|x|y ssh-rsa AAAA\n"
        server.known_hosts.write_bytes(bad + good.encode())
        connect(server.uri())
        assert "known_hosts:1 is no host key" in caplog.text

    @pytest.mark.parametrize("known", ["", "another"])
    def test_connect_without_checking_succeeds_with_a_warning(
        self, server: PlainServer, tmp_path: Path, caplog: pytest.LogCaptureFixture, known: str
    ) -> None:
        server.known_hosts.write_text(
            f"[127.0.0.1]:{server.port} {new_key(tmp_path / 'x').get_name()} {new_key(tmp_path / 'y').get_base64()}\n"
            if known
            else ""
        )
        connect(server.uri(("host_key_checking", "false")))
        [record] = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert fingerprint(server.folder / "host_key.pub") in record.getMessage()

    @pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
    def test_connect_to_server_with_known_key_of_another_kind_succeeds(self, tmp_path: Path, kind: str) -> None:
        (tmp_path / "other").mkdir()
        with PlainServer(tmp_path / "other", kind) as server:
            connect(server.uri())

    def test_ask_for_known_kind_of_key_first(self, tmp_path: Path) -> None:
        """A server has several keys, of which one is known: that is the one to ask for, as OpenSSH does."""
        (tmp_path / "other").mkdir()
        with PlainServer(tmp_path / "other", "rsa") as server:
            server.more_host_keys = [new_key(tmp_path / "more")]
            connect(server.uri())

    def test_connect_with_unreadable_file_of_host_keys_is_refused(self, server: PlainServer, tmp_path: Path) -> None:
        refused(server.uri(("known_hosts", str(tmp_path))), InvalidParameterValue, str(tmp_path))


class TestUsers:
    def test_log_in_with_wrong_key_is_refused(self, server: PlainServer, tmp_path: Path) -> None:
        new_key(tmp_path / "wrong")
        refused(server.uri(("identity_file", str(tmp_path / "wrong"))), Unauthenticated, "'somebody'", "wrong", "agent")

    def test_log_in_as_another_user_is_refused(self, server: PlainServer) -> None:
        refused(replace(server.uri(), username="another"), Unauthenticated, "'another'")

    @pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
    def test_log_in_with_key_of_another_kind_succeeds(self, server: PlainServer, tmp_path: Path, kind: str) -> None:
        server.keys.add(new_key(tmp_path / "key", kind).get_base64())
        connect(server.uri(("identity_file", str(tmp_path / "key"))))

    def test_log_in_with_locked_key_takes_its_passphrase(self, server: PlainServer, tmp_path: Path) -> None:
        file = tmp_path / "locked"
        server.keys.add(new_key(file, passphrase="open sesame").get_base64())
        connect(server.uri(("identity_file", str(file)), ("passphrase", "open sesame")))
        refused(server.uri(("identity_file", str(file))), InvalidParameterValue, "locked", "passphrase")
        told = refused(
            server.uri(("identity_file", str(file)), ("passphrase", "wr0ng")), InvalidParameterValue, "passphrase"
        )
        assert "wr0ng" not in told

    def test_log_in_with_missing_key_is_refused(self, server: PlainServer, tmp_path: Path) -> None:
        missing = str(tmp_path / "missing")
        refused(server.uri(("identity_file", missing)), InvalidParameterValue, missing)
        (tmp_path / "no key").write_text("no key")
        refused(server.uri(("identity_file", str(tmp_path / "no key"))), InvalidParameterValue, "no key")

    def test_log_in_with_password_succeeds_and_is_not_shown(
        self, server: PlainServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        server.passwords["somebody"] = "s3cr3t%40"
        connect(server.uri(password="s3cr3t%40"))
        told = refused(server.uri(password="wr0ng"), Unauthenticated, "password")
        assert "wr0ng" not in told + caplog.text
        assert "s3cr3t" not in caplog.text

    def test_log_in_with_password_where_keys_alone_count_is_refused(self, server: PlainServer) -> None:
        refused(server.uri(password="x"), Unauthenticated, "password", "publickey only")

    def test_log_in_with_key_and_password_where_both_are_asked_for(self, server: PlainServer) -> None:
        server.both, server.passwords["somebody"] = True, "pw"
        connect(server.uri(("identity_file", str(server.folder / "identity")), password="pw"))
        refused(server.uri(), Unauthenticated)

    def test_log_in_tries_what_was_named_first(self, server: PlainServer, tmp_path: Path) -> None:
        """Servers end connections after a few attempts; keys that happen to lie about must not use them up."""
        for kind in ("ed25519", "rsa"):
            new_key(Path.home() / ".ssh" / f"id_{kind}", kind)
        server.passwords["somebody"] = "pw"
        connect(server.uri(password="pw"))
        connect(server.uri(("identity_file", str(server.folder / "identity"))))
        assert server.seen == ["password", "key ssh-ed25519"]

    def test_log_in_with_key_in_its_usual_place_succeeds(self, server: PlainServer) -> None:
        shutil.copy(server.folder / "identity", Path.home() / ".ssh" / "id_ed25519")
        connect(server.uri(("identity_file", "")))

    def test_log_in_with_nothing_is_refused_with_what_to_do(self, server: PlainServer) -> None:
        refused(server.uri(("identity_file", "")), Unauthenticated, "identity_file", "agent", "password")

    def test_log_in_with_key_of_agent(
        self, server: PlainServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with agent(tmp_path, monkeypatch) as add:
            for name in ("one", "two"):
                new_key(tmp_path / name)
                add(tmp_path / name)
            uri = server.uri(("identity_file", ""))
            refused(uri, Unauthenticated, "the agent's key")
            add(server.folder / "identity")
            connect(uri)
            refused(replace(uri, query=(*uri.query, ("agent", "false"))), Unauthenticated)

    def test_log_in_with_locked_key_that_the_agent_has(
        self, server: PlainServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """`IdentitiesOnly` chooses among the keys of the agent by the public keys that lie beside the private ones."""
        file = tmp_path / "locked"
        server.keys = {new_key(file).get_base64()}
        new_key(tmp_path / "other")
        with agent(tmp_path, monkeypatch) as add:
            add(tmp_path / "other")
            add(file)
            subprocess.run(["ssh-keygen", "-q", "-p", "-N", "secret", "-f", str(file)], check=True, timeout=60)
            config = write_config(tmp_path, f"IdentityFile {file}\nIdentitiesOnly yes")
            connect(server.uri(("identity_file", ""), ("config", config)))
        assert len(server.seen) == 1

    def test_log_in_with_broken_agent_goes_on(self, server: PlainServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SSH_AUTH_SOCK", "/nowhere")
        refused(server.uri(("identity_file", "")), Unauthenticated)


class agent:  # noqa: N801 - used like a function
    """A running SSH agent; in its context, a function that adds a key to it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._socket = folder / "agent"
        monkeypatch.setenv("SSH_AUTH_SOCK", str(self._socket))

    def __enter__(self) -> agent:
        command = ["ssh-agent", "-D", "-a", str(self._socket)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while not self._socket.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        return self

    def __call__(self, key: Path) -> None:
        subprocess.run(["ssh-add", "-q", str(key)], check=True, timeout=60)

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)


def write_config(folder: Path, text: str, host: str = "*") -> str:
    """A configuration file with a section for a host."""
    file = folder / "ssh_config"
    file.write_text(f"Host {host}\n{text}\n")
    return str(file)


class TestConfig:
    def test_find_all_of_it_in_the_usual_file(self, server: PlainServer) -> None:
        """A user who can say `sftp lab` can say `sftp://lab/…`."""
        (Path.home() / ".ssh" / "config").write_text(
            f"""
            Host other
                User nobody
            Host lab
                HostName 127.0.0.1
                Port={server.port}
                User somebody
                IdentityFile {server.folder}/identity
                UserKnownHostsFile /nowhere {server.known_hosts}
            Host *
                User everybody
            """
        )
        connect(StoreURI.parse(f"sftp://lab{server.data}"))

    def test_find_it_in_included_files(self, server: PlainServer) -> None:
        folder = Path.home() / ".ssh"
        (folder / "config.d").mkdir()
        (folder / "config").write_text("Include config.d/*.conf missing\nHost *\n  User somebody\n")
        (folder / "config.d" / "a.conf").write_text("Host la?\n  Include config.d/b\n")
        (folder / "config.d" / "b").write_text(f"HostName 127.0.0.1\nPort {server.port}\n")
        (folder / "config.d" / "c.conf").write_text(
            f"IdentityFile {server.folder}/identity\nUserKnownHostsFile {server.known_hosts}\n"
        )
        connect(StoreURI.parse(f"sftp://lab{server.data}"))

    def test_include_file_in_itself_ends(self, tmp_path: Path) -> None:
        (Path.home() / ".ssh" / "config").write_text("Include config\nUser somebody\n")
        assert found("sftp://host/x").user == "somebody"

    def test_prefer_what_the_uri_says(self, tmp_path: Path) -> None:
        config = write_config(
            tmp_path, "User a\nPort 1\nIdentityFile a\nUserKnownHostsFile a\nStrictHostKeyChecking no\nIdentityFile b"
        )
        said = found(f"sftp://host/x?config={config}")
        assert (said.user, said.port, said.identity_files, said.known_hosts[0]) == ("a", 1, ("a", "b"), "a")
        assert (said.checking, said.named_identity) == ("no", False)
        said = found(f"sftp://u@host:2/x?config={config}&identity_file=i&known_hosts=k&host_key_checking=true")
        assert (said.user, said.port, said.identity_files, said.known_hosts) == ("u", 2, ("i",), ("k",))
        assert (said.checking, said.named_identity) == ("yes", True)

    def test_read_no_file_where_none_is_wanted(self) -> None:
        (Path.home() / ".ssh" / "config").write_text("Host *\nUser a\n")
        assert found("sftp://host/x").user == "a"
        assert found("sftp://host/x?config=none").user != "a"

    def test_name_missing_or_broken_file_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidParameterValue, match="missing"):
            found(f"sftp://host/x?config={tmp_path}/missing")
        for text in ("Port zero", "Match host", "???"):
            config = write_config(tmp_path, text)
            with pytest.raises(InvalidParameterValue):
                found(f"sftp://host/x?config={config}")

    def test_know_server_by_alias(self, server: PlainServer, tmp_path: Path) -> None:
        config = write_config(tmp_path, "HostKeyAlias lab")
        server.known_hosts.write_text(f"[lab]:{server.port} {server.host_line}\n")
        connect(server.uri(("config", config)))

    def test_accept_new_host_key_but_no_changed_one(self, server: PlainServer, tmp_path: Path) -> None:
        config = write_config(tmp_path, "StrictHostKeyChecking accept-new")
        other = new_key(tmp_path / "other")
        server.known_hosts.write_text("")
        connect(server.uri(("config", config)))
        server.known_hosts.write_text(f"[127.0.0.1]:{server.port} {other.get_name()} {other.get_base64()}\n")
        refused(server.uri(("config", config)), Unauthenticated, "another")

    def test_reach_server_through_command(self, server: PlainServer, tmp_path: Path) -> None:
        relay = tmp_path / "relay.py"
        relay.write_text(RELAY)
        config = write_config(tmp_path, f"ProxyCommand {shlex.quote(sys.executable)} {relay} %p")
        store = open_artifact_store(server.uri(("config", config)))
        data = os.urandom(3 << 20)
        with store:
            with store.open("file", "wb") as upload:
                upload.write(data)
            with store.open("file") as reader:
                assert reader.read() == data

    def test_reach_server_through_command_that_fails_is_temporary(self, server: PlainServer, tmp_path: Path) -> None:
        for command in ("false", "/nowhere/at/all"):
            config = write_config(tmp_path, f"ProxyCommand {command}")
            refused(server.uri(("config", config)), TemporarilyUnavailable, f"127.0.0.1:{server.port}")

    def test_reach_server_through_others(self, server: PlainServer, tmp_path: Path) -> None:
        (tmp_path / "one").mkdir()
        (tmp_path / "two").mkdir()
        with PlainServer(tmp_path / "one") as one, PlainServer(tmp_path / "two") as two:
            one.forwards = two.forwards = True
            known = tmp_path / "known"
            known.write_text("".join(hop.known_hosts.read_text() for hop in (one, two, server)))
            for hop in (one, two):
                hop.keys = server.keys
            hops = f"somebody@127.0.0.1:{one.port}, somebody@127.0.0.1:{two.port}"
            (Path.home() / ".ssh" / "id_ed25519").write_bytes((server.folder / "identity").read_bytes())
            config = write_config(tmp_path, f"ProxyJump {hops}")
            uri = server.uri(("config", config), ("known_hosts", str(known)))
            store = open_artifact_store(uri)
            data = os.urandom(2 << 20)
            with store:
                with store.open("file", "wb") as upload:
                    upload.write(data)
                with store.open("file") as reader:
                    assert reader.read() == data
            two.forwards = False
            refused(uri, TemporarilyUnavailable, f"127.0.0.1:{server.port}")
            two.keys = set()
            refused(uri, Unauthenticated, f"127.0.0.1:{two.port}")


def found(uri: str) -> Destination:
    """What a URI and the configuration files say."""
    return Destination.find(SftpOptions.parse(StoreURI.parse(uri)))


class TestReaching:
    def test_open_store_connects_to_nobody(self) -> None:
        open_artifact_store("sftp://host.invalid/x?config=none").close()

    def test_reach_port_that_nobody_listens_at_is_temporary(self, server: PlainServer) -> None:
        server.close()
        refused(server.uri(), TemporarilyUnavailable, f"127.0.0.1:{server.port}", "refused")

    def test_reach_unknown_host_is_refused(self, server: PlainServer) -> None:
        with pytest.raises((InvalidParameterValue, TemporarilyUnavailable), match=r"no\.such\.host\.invalid"):
            connect(replace(server.uri(), host="no.such.host.invalid"))

    @pytest.mark.parametrize(
        ("says", "kind"),
        [
            (b"", TemporarilyUnavailable),
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", TemporarilyUnavailable),
            (b"SSH-2.0-x\r\n", TemporarilyUnavailable),
            (b"SSH-1.5-x\r\n", InternalError),
        ],
    )
    def test_reach_what_is_no_ssh_server_ends_soon(
        self, server: PlainServer, says: bytes, kind: type[HoldallError]
    ) -> None:
        with closing(socket.create_server(("127.0.0.1", 0))) as listener:
            heard: list[socket.socket] = []

            def answer() -> None:
                wire, _ = listener.accept()
                heard.append(wire)
                wire.sendall(says)

            thread = threading.Thread(target=answer)
            thread.start()
            began = time.monotonic()
            port: int = listener.getsockname()[1]
            refused(replace(server.uri(("timeout", "0.5")), port=port), kind, str(port))
            assert time.monotonic() - began < 20
            thread.join()
            heard[0].close()

    def test_reach_server_without_sftp_is_an_error_of_the_server(self, server: PlainServer) -> None:
        server.offers_sftp = False
        refused(server.uri(), InternalError, "offers no SFTP")

    def test_reach_server_without_common_encryption_is_an_error_of_the_server(
        self, server: PlainServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server.ciphers = ("aes256-cbc",)
        connect(server.uri())
        monkeypatch.setattr("paramiko.Transport._preferred_ciphers", ("aes128-ctr",))
        server.ciphers = ("aes256-ctr",)
        refused(server.uri(), InternalError, "encryption")

    @pytest.mark.parametrize(
        "uri",
        [
            "sftp://host",
            "sftp:///path",
            "sftp+x://host/path",
            "sftp://host/x?unknown=1",
            "sftp://host/x?connections=0",
            "sftp://host/x?connections=many",
            "sftp://host/x?timeout=soon",
            "sftp://host/x?timeout=0",
            "sftp://host/x?patience=-1",
            "sftp://host/x?host_key_checking=perhaps",
        ],
    )
    def test_open_malformed_uri_is_refused(self, uri: str) -> None:
        with pytest.raises(InvalidParameterValue):
            open_artifact_store(uri)

    def test_show_uri_without_secrets(self) -> None:
        store = open_artifact_store("sftp://u:s3cr3t@host/x?passphrase=s3cr3t2&config=none")
        assert "s3cr3t" not in f"{store!r} {store.describe()}"
        store.close()
