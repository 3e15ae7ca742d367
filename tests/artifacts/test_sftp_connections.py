"""Connections to SFTP servers: how many, what becomes of broken ones, what passes over them."""

from __future__ import annotations

import gc
import hashlib
import os
import random
import struct
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import pytest
from paramiko import Transport
from tests.artifacts.sftp_server import PlainServer
from tests.backends.wire import Wire

from holdall.artifacts.sftp.packets import SwiftPacketizer
from holdall.artifacts.sftp.protocol import (
    DATA,
    STATUS,
    Decoder,
    Refused,
    Reply,
    Request,
    attributes_of,
    data_of,
    names_of,
    write,
)
from holdall.artifacts.sftp.session import Session
from holdall.artifacts.sftp.store import SftpArtifactStore
from holdall.conformance_tests.emulators import SshdServer, new_server
from holdall.stores import ArtifactStore, DataLoss, InternalError, StoreURI, TemporarilyUnavailable, open_artifact_store
from holdall.stores.atomic_file import PRIVATE_PREFIX

pytestmark = pytest.mark.extras

MIB = 1 << 20


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[PlainServer]:
    folder = tmp_path / "server"
    folder.mkdir()
    with PlainServer(folder) as server:
        yield server


@pytest.fixture
def sshd() -> Iterator[SshdServer]:
    """One of this test's own, to be stopped and started."""
    server = new_server("sshd")
    assert isinstance(server, SshdServer)
    server.start()
    yield server
    server.remove()


def content(size: int) -> bytes:
    return hashlib.shake_128(f"{size}".encode()).digest(size)


def put(store: ArtifactStore, path: str, data: bytes) -> None:
    with store.open(path, "wb") as upload:
        upload.write(data)


def read(store: ArtifactStore, path: str) -> bytes:
    with store.open(path) as reader:
        return reader.read()


def eventually(true: Callable[[], bool]) -> bool:
    """Whether something comes true within half a minute."""
    deadline = time.monotonic() + 30
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def sessions_of(store: ArtifactStore) -> list[Session]:
    return cast(SftpArtifactStore, store)._connections._sessions


class TestNumber:
    def test_do_one_thing_after_the_other_takes_one_connection(self, plain: PlainServer) -> None:
        with open_artifact_store(plain.uri()) as store:
            assert plain.connections == 0
            for index in range(5):
                put(store, f"d/{index}", content(MIB))
                assert read(store, f"d/{index}") == content(MIB)
            assert plain.connections == 1
        assert eventually(lambda: plain.connections == 0)

    @pytest.mark.parametrize("most", [1, 3])
    def test_do_much_at_once_takes_as_many_as_allowed(
        self, plain: PlainServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
    ) -> None:
        monkeypatch.setattr("holdall.artifacts.sftp.connections.BUSY", 2)
        (tmp_path / "src").mkdir()
        for index in range(40):
            (tmp_path / "src" / f"{index}").write_bytes(content(100_000 + index))
        with open_artifact_store(plain.uri(("connections", str(most)))) as store:
            store.log_artifacts(tmp_path / "src")
            assert plain.connections == most
        assert {file.name: file.read_bytes() for file in plain.data.iterdir()} == {
            f"{index}": content(100_000 + index) for index in range(40)
        }

    def test_do_much_at_once_on_server_that_allows_little_makes_do(
        self, plain: PlainServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("holdall.artifacts.sftp.connections.BUSY", 0)
        plain.most_connections = 1
        (tmp_path / "src").mkdir()
        for index in range(40):
            (tmp_path / "src" / f"{index}").write_bytes(content(100_000))
        with open_artifact_store(plain.uri(("patience", "0"))) as store:
            store.log_artifacts(tmp_path / "src")
        assert len(list(plain.data.iterdir())) == 40

    def test_begin_in_many_threads_takes_one_connection(self, plain: PlainServer) -> None:
        barrier = threading.Barrier(8)

        def look(_: int) -> bool:
            barrier.wait(30)
            return store.exists("file")

        with open_artifact_store(plain.uri(("connections", "1"))) as store, ThreadPoolExecutor(8) as pool:
            assert list(pool.map(look, range(8))) == [False] * 8
            assert plain.connections == 1

    def test_fail_to_begin_in_many_threads_tells_all_of_them(self, plain: PlainServer) -> None:
        plain.most_connections = 0
        barrier = threading.Barrier(8)

        def look(_: int) -> str:
            barrier.wait(30)
            with pytest.raises(TemporarilyUnavailable) as caught:
                store.exists("file")
            return str(caught.value)

        with open_artifact_store(plain.uri(("patience", "0"))) as store, ThreadPoolExecutor(8) as pool:
            assert {str(plain.port) in told for told in pool.map(look, range(8))} == {True}
            plain.most_connections = 8
            assert not store.exists("file")

    def test_forget_store_ends_its_connections(self, plain: PlainServer) -> None:
        store = open_artifact_store(plain.uri())
        assert store.list_artifacts() == []
        assert plain.connections == 1
        del store
        gc.collect()
        assert eventually(lambda: plain.connections == 0)

    def test_close_store_ends_reads_under_way(self, plain: PlainServer) -> None:
        (plain.data / "file").write_bytes(content(20 * MIB))
        store = open_artifact_store(plain.uri(("patience", "0")))
        with store.open("file") as reader:
            reader.read(10)
            store.close()
            with pytest.raises(TemporarilyUnavailable, match="closed"):
                reader.read()


class TestRestart:
    def test_server_that_was_restarted_is_used_again(self, sshd: SshdServer) -> None:
        """A connection that died while nobody looked must not fail the next call (mlflow#14380)."""
        with open_artifact_store(sshd.new_uri()) as store:
            put(store, "d/one", b"1")
            for how in (sshd.stop, sshd.kill):
                how()
                sshd.start()
                put(store, "d/two", b"2")
                assert read(store, "d/one") == b"1"
                assert [info.path for info in store.list_artifacts("d")] == ["d/one", "d/two"]
                store.delete_artifacts("d/two")

    def test_server_that_comes_back_soon_is_waited_for(self, sshd: SshdServer) -> None:
        with open_artifact_store(sshd.new_uri()) as store:
            put(store, "file", b"1")
            sshd.kill()
            back = threading.Timer(1.0, sshd.start)
            back.start()
            assert read(store, "file") == b"1"
            back.join()

    @pytest.mark.parametrize("written", [0, 1000, 3 * MIB])
    def test_upload_goes_on_after_restart(self, sshd: SshdServer, written: int) -> None:
        uri = StoreURI.parse(sshd.new_uri())
        data = content(9 * MIB)
        with open_artifact_store(uri) as store:
            with store.open("d/file", "wb") as upload:
                upload.write(data[:written])
                sshd.kill()
                sshd.start()
                upload.write(data[written : 7 * MIB])
                sshd.kill()
                sshd.start()
                upload.write(data[7 * MIB :])
            assert read(store, "d/file") == data
        assert [file.name for file in Path(uri.path).iterdir()] == ["d"]

    def test_upload_whose_bytes_the_restarted_server_lost_does_not_appear(self, sshd: SshdServer) -> None:
        """What was acknowledged and not yet flushed may be gone when the machine went down too."""
        uri = StoreURI.parse(sshd.new_uri())
        with open_artifact_store(uri) as store:
            upload = store.open("file", "wb")
            upload.write(content(9 * MIB))
            sshd.kill()
            [private] = Path(uri.path).iterdir()
            with private.open("r+b") as file:
                file.write(bytes(1000))
            sshd.start()
            with pytest.raises(DataLoss, match="not what was sent"):
                upload.close()
        assert list(Path(uri.path).iterdir()) == []

    @pytest.mark.parametrize("done", [True, False])
    def test_answer_to_renaming_that_is_lost_does_not_matter(
        self, sshd: SshdServer, monkeypatch: pytest.MonkeyPatch, done: bool
    ) -> None:
        with open_artifact_store(sshd.new_uri()) as store:
            put(store, "d/file", b"old")
            upload = store.open("d/file", "wb")
            upload.write(b"new")
            genuine = Session.ask
            lost: list[Request] = []

            def ask(session: Session, *requests: Request) -> list[Reply]:
                if not lost and any(b"posix-rename" in request.body for request in requests):
                    lost.extend(requests)
                    if done:
                        genuine(session, *requests)
                    session.close()
                return genuine(session, *requests)

            monkeypatch.setattr(Session, "ask", ask)
            upload.close()
            assert lost
            assert read(store, "d/file") == b"new"
            assert [file.name for file in Path(store.uri.path).iterdir()] == ["d"]

    def test_unfinished_file_that_somebody_removes_is_data_loss(self, sshd: SshdServer) -> None:
        with open_artifact_store(sshd.new_uri()) as store:
            put(store, "file", b"old")
            upload = store.open("file", "wb")
            upload.write(b"new")
            [private] = Path(store.uri.path).glob(f"{PRIVATE_PREFIX}*")
            private.unlink()
            with pytest.raises(DataLoss, match="somebody has removed"):
                upload.close()
            assert read(store, "file") == b"old"

    def test_read_goes_on_after_restart(self, sshd: SshdServer) -> None:
        uri = StoreURI.parse(sshd.new_uri())
        data = content(9 * MIB)
        with open_artifact_store(uri) as store:
            put(store, "file", data)
            with store.open("file") as reader:
                first = reader.read(MIB)
                sshd.kill()
                sshd.start()
                assert first + reader.read() == data

    def test_server_that_stays_away_is_temporary_and_names_it(self, sshd: SshdServer) -> None:
        with open_artifact_store(f"{sshd.new_uri()}&patience=0.3") as store:
            put(store, "file", b"1")
            upload = store.open("other", "wb")
            upload.write(b"2")
            sshd.kill()
            for call in (lambda: store.exists("file"), lambda: store.open("file"), upload.close):
                with pytest.raises(TemporarilyUnavailable, match=str(sshd.port)):
                    call()
            sshd.start()
            assert eventually(lambda: [info.path for info in store.list_artifacts()] == ["file"])
            folder = Path(store.uri.path)
            assert eventually(lambda: not any(file.name.startswith(PRIVATE_PREFIX) for file in folder.iterdir())), (
                "what could not be removed is removed when the server is back"
            )


class TestTraffic:
    def test_change_keys_in_the_middle_keeps_every_byte(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Both sides ask for new keys every now and then, while requests of several threads are under way."""
        begun: list[Transport] = []
        genuine = Transport._send_kex_init  # type: ignore[attr-defined]

        def count(transport: Transport) -> None:
            begun.append(transport)
            genuine(transport)

        monkeypatch.setattr(Transport, "_send_kex_init", count)
        monkeypatch.setattr(SwiftPacketizer, "REKEY_BYTES", 2 * MIB)
        server = new_server("sshd", "-o", "RekeyLimit=1M")
        server.start()
        try:
            with open_artifact_store(f"{server.new_uri()}&connections=1&timeout=20") as store:

                def work(index: int) -> bool:
                    put(store, f"{index}", content(8 * MIB + index))
                    return read(store, f"{index}") == content(8 * MIB + index)

                with ThreadPoolExecutor(3) as pool:
                    assert list(pool.map(work, range(3))) == [True] * 3
        finally:
            server.remove()
        assert len(begun) > 20

    @pytest.mark.parametrize("cipher", ["aes128-ctr", "aes256-cbc", "aes256-gcm@openssh.com"])
    def test_move_bytes_with_every_kind_of_encryption(self, plain: PlainServer, cipher: str) -> None:
        plain.ciphers = (cipher,)
        with open_artifact_store(plain.uri()) as store:
            put(store, "file", content(3 * MIB + 1))
            assert read(store, "file") == content(3 * MIB + 1)

    def test_slow_answer_to_one_thread_is_waited_for_by_all(self, plain: PlainServer) -> None:
        """A server that flushes a large file says nothing to anybody meanwhile."""
        with open_artifact_store(plain.uri(("timeout", "0.4"), ("patience", "0"), ("connections", "1"))) as store:
            upload = store.open("file", "wb")
            upload.write(content(20 * MIB))
            plain.slowness = 1.2
            closing = threading.Thread(target=upload.close)
            closing.start()
            assert eventually(lambda: bool(sessions_of(store)[0]._grants))
            assert not store.exists("other")
            closing.join()
            assert store.stat("file").file_size == 20 * MIB

    def test_silent_server_is_given_up(self, plain: PlainServer) -> None:
        plain.slowness = 5.0
        (plain.data / "file").write_bytes(b"1")
        with open_artifact_store(plain.uri(("timeout", "0.3"), ("patience", "0"))) as store:
            began = time.monotonic()
            with pytest.raises(TemporarilyUnavailable, match=r"not answered for 0\.3 s"):
                store.open("file")
            assert time.monotonic() - began < 3

    def test_look_at_small_files_takes_few_round_trips(self, plain: PlainServer) -> None:
        with Wire(plain.port) as wire:
            uri = plain.uri(("host_key_checking", "false"))
            uri = StoreURI(uri.scheme, None, uri.username, None, uri.host, wire.port, uri.path, uri.query)
            with open_artifact_store(uri) as store:
                put(store, "d/e/warm", b"1")
                trips: dict[str, int] = {}
                calls: dict[str, Callable[[], object]] = {
                    "write": lambda: put(store, "d/e/file", b"1"),
                    "read": lambda: read(store, "d/e/file"),
                    "stat": lambda: store.stat("d/e/file"),
                    "list": lambda: store.list_artifacts("d/e"),
                }
                for name, call in calls.items():
                    wire.round_trips = 0
                    call()
                    trips[name] = wire.round_trips
        late = 1  # the answer that nobody waits for to what was closed before
        assert trips["write"] <= 3 + late  # begin; bytes and end; the name
        assert trips["read"] <= 3 + late  # what it is; open; bytes
        assert trips["stat"] <= 1 + late
        assert trips["list"] <= 3 + late

    def test_collect_upload_in_the_receiving_thread_drops_it(self, plain: PlainServer) -> None:
        """Python may collect a forgotten file in any thread, also in one that answers must not be waited for in."""
        with open_artifact_store(plain.uri(("timeout", "5"), ("patience", "0"))) as store:
            upload = store.open("file", "wb")
            upload.write(b"x" * 100)
            [session] = sessions_of(store)
            genuine = session._take_bytes
            dropped = threading.Event()

            def take(data: bytes) -> None:
                if not dropped.is_set():
                    dropped.set()
                    upload.abort()
                genuine(data)

            session._take_bytes = take  # type: ignore[method-assign]
            assert not store.exists("file")
            assert dropped.is_set()
            assert not store.exists("file")
            assert eventually(lambda: list(plain.data.iterdir()) == [])

    def test_collect_upload_in_the_middle_of_sending_drops_it(
        self, plain: PlainServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with open_artifact_store(plain.uri(("timeout", "5"), ("patience", "0"))) as store:
            upload = store.open("file", "wb")
            upload.write(b"x" * 100)
            [session] = sessions_of(store)
            genuine = session._send

            def send(packets: bytes) -> None:
                upload.abort()
                genuine(packets)

            monkeypatch.setattr(session, "_send", send)
            assert not store.exists("file")
            monkeypatch.undo()
            assert not store.exists("file")
            assert eventually(lambda: list(plain.data.iterdir()) == [])

    def test_interrupt_in_the_middle_of_a_request_ends_the_connection_alone(
        self, plain: PlainServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What follows half a request would be taken for its other half."""
        with open_artifact_store(plain.uri()) as store:
            put(store, "kept", content(MIB))
            [session] = sessions_of(store)
            genuine, calls = session._fit, [0]

            def interrupted(data: memoryview) -> list[memoryview]:
                calls[0] += 1
                if calls[0] == 2:
                    raise KeyboardInterrupt
                return genuine(data[:100])

            monkeypatch.setattr(session, "_fit", interrupted)
            with pytest.raises(KeyboardInterrupt):
                session.ask(write(b"handle", 0, content(1000)))
            assert not session.alive
            assert read(store, "kept") == content(MIB)
            assert sessions_of(store) != [session]

    def test_greeting_in_place_of_answers_is_an_error_of_the_server(self, plain: PlainServer) -> None:
        plain.greeting = b"Welcome to the machine!\n"
        with open_artifact_store(plain.uri()) as store, pytest.raises(InternalError, match="greeting"):
            store.list_artifacts()


FORKING = """
    import os, sys
    from holdall.stores import open_artifact_store

    store = open_artifact_store(sys.argv[1])

    def work(name):
        for index in range(20):
            with store.open(f"{name}/{index}", "wb") as upload:
                upload.write(name.encode() * 1000)
            with store.open(f"{name}/{index}") as reader:
                assert reader.read() == name.encode() * 1000

    work("before")
    children = []
    for child in range(3):
        pid = os.fork()
        if pid == 0:
            work(f"child{child}")
            os._exit(0)
        children.append(pid)
    work("parent")
    print([os.waitpid(pid, 0)[1] for pid in children], len(list(store.walk())))
    store.close()
"""


def test_fork_gives_both_sides_connections_of_their_own(sshd: SshdServer) -> None:
    command = [sys.executable, "-c", textwrap.dedent(FORKING), sshd.new_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "[0, 0, 0] 105\n", done.stderr


class TestDecoder:
    """Answers, however the stream of them is cut; and what is none."""

    REPLIES = tuple(
        (number, Reply(kind, body))
        for number, kind, body in [
            (1, STATUS, struct.pack(">IIxxxxI", 0, 0, 0)),
            (2, DATA, b""),
            (3, DATA, os.urandom(5000)),
            (0xFFFFFFFF, 104, b"x" * 17),
            (4, DATA, b"y"),
        ]
    )

    def stream(self) -> bytes:
        packets = b""
        for number, reply in self.REPLIES:
            body = struct.pack(">I", len(reply.body)) + reply.body if reply.kind == DATA else reply.body
            packets += struct.pack(">IBI", len(body) + 5, reply.kind, number) + body
        return packets

    def test_decode_stream_cut_anywhere_finds_all_answers(self) -> None:
        stream = self.stream()
        for cut in range(len(stream)):
            decoder = Decoder()
            assert (*decoder.feed(stream[:cut]), *decoder.feed(stream[cut:])) == self.REPLIES

    def test_decode_stream_in_pieces_finds_all_answers(self) -> None:
        stream = self.stream() * 20
        for seed in range(20):
            chance, decoder, position = random.Random(seed), Decoder(), 0
            found: list[tuple[int, Reply]] = []
            while position < len(stream):
                size = chance.choice([1, 2, 3, 100, 4000])
                found += decoder.feed(stream[position : position + size])
                position += size
            assert tuple(found) == self.REPLIES * 20

    @pytest.mark.parametrize("length", [0, 4, (1 << 20) + 1, 0xFFFFFFFF])
    def test_decode_packet_of_impossible_length_is_an_error(self, length: int) -> None:
        with pytest.raises(InternalError):
            list(Decoder().feed(struct.pack(">IBI", length, 101, 1)))

    def test_parse_answer_that_is_cut_short_is_an_error(self) -> None:
        attributes = struct.pack(">IQIIIII", 0xF, 1, 2, 3, 4, 5, 6)
        names = struct.pack(">I", 1) + struct.pack(">I", 1) + b"n" + struct.pack(">I", 1) + b"l" + attributes
        assert attributes_of(Reply(105, attributes)).size == 1
        assert names_of(Reply(104, names))[0].name == b"n"
        for parse, kind, body in ((attributes_of, 105, attributes), (names_of, 104, names)):
            for end in range(len(body)):
                with pytest.raises(InternalError):
                    parse(Reply(kind, body[:end]))

    def test_parse_names_without_end_is_an_error(self) -> None:
        with pytest.raises(InternalError):
            names_of(Reply(104, struct.pack(">I", 0xFFFFFFFF) + b"\0" * 1000))

    def test_parse_answer_of_another_kind_is_an_error(self) -> None:
        with pytest.raises(InternalError):
            data_of(Reply(104, b""))
        with pytest.raises(Refused):
            data_of(Reply(STATUS, struct.pack(">I", 0)))  # done, and no bytes
        assert data_of(Reply(STATUS, struct.pack(">I", 1))) == b""
