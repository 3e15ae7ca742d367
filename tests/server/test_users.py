"""The file of users, and `holdall users`, which edits it."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from holdall.cli import app
from holdall.stores.errors import InvalidParameterValue, NotFound
from holdall.users import PasswordHash, Role, User, edited_users, load_users, save_users, token_digest

PASSWORD = "correct horse é"
HASH = "scrypt:1024:8:1:c2FsdHNhbHQ=:" + "A" * 43 + "="
NAMES = ["alice", "a b", 'quote"d', "back\\slash", "名前", "🙂", "é", "[[users]]", "#", "a=b", "'"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "users.toml"


def run(*words: str | Path, typed: str = "", code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["users", *map(str, words)], input=typed)
    assert result.exit_code == code, (result.output, result.exception)
    return result


def test_hash_password_verifies_it_and_no_other() -> None:
    hashed = PasswordHash.of(PASSWORD)
    assert hashed.verify(PASSWORD)
    assert not hashed.verify(PASSWORD + " ")
    assert not hashed.verify("")
    assert str(PasswordHash.of(PASSWORD)) != str(hashed)
    assert PasswordHash.parse(str(hashed)) == hashed
    assert PASSWORD not in repr(User("a", Role.READER, hashed)) + str(hashed)
    assert str(hashed.key) not in repr(User("a", Role.READER, hashed))


def test_hash_unguessable_costs_as_much_as_its_model_and_verifies_nothing() -> None:
    model = PasswordHash.of(PASSWORD, cost=1 << 11)
    nobody = PasswordHash.unguessable(model)
    assert (nobody.cost, nobody.block, nobody.lanes, len(nobody.key)) == (1 << 11, model.block, model.lanes, 32)
    assert not nobody.verify(PASSWORD)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "secret",
        "plain:secret",
        HASH.replace("1024", "1000"),
        HASH.replace("1024", "2"),
        HASH.replace("1024:8", "67108864:8"),
        HASH.replace("1024:8", "8388608:999"),
        HASH.replace("1024:8", "1024:0"),
        HASH.replace(":1:", ":0:"),
        HASH.replace("c2FsdHNhbHQ=", "c2Fs"),
        HASH[:-10],
        HASH.replace("c2FsdHNhbHQ=", "c2FsdHNhbHQ"),
        HASH + "\n",
    ],
)
def test_parse_malformed_or_weak_hash_raises(text: str) -> None:
    with pytest.raises(InvalidParameterValue):
        PasswordHash.parse(text)


def test_save_users_of_all_names_loads_the_same(file: Path) -> None:
    users = {name: User(name, Role.WRITER, PasswordHash.parse(HASH), (token_digest(name),)) for name in NAMES}
    users["bare"] = User("bare", Role.ADMIN)
    save_users(file, users.values())
    assert load_users(file) == users
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_save_users_over_file_that_others_can_read_makes_it_private(file: Path) -> None:
    file.touch(0o644)
    before = os.umask(0)
    try:
        save_users(file, [])
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [item.name for item in file.parent.iterdir()] == [file.name]


def test_load_missing_file_raises_with_remedy(file: Path) -> None:
    with pytest.raises(NotFound, match="holdall users add"):
        load_users(file)


@pytest.mark.parametrize(
    "text",
    [
        "not toml",
        "users = 5",
        "user = []",
        "other = 1",
        "users = [5]",
        "[[users]]\nname = 'a'",
        "[[users]]\nrole = 'reader'",
        "[[users]]\nname = 'a'\nrole = 'root'",
        "[[users]]\nname = 5\nrole = 'reader'",
        "[[users]]\nname = ''\nrole = 'reader'",
        "[[users]]\nname = 'a:b'\nrole = 'reader'",
        "[[users]]\nname = 'a'\nrole = 'reader'\npasword = ''",
        "[[users]]\nname = 'a'\nrole = 'reader'\npassword = 'secret word'",
        "[[users]]\nname = 'a'\nrole = 'reader'\npassword = 5",
        "[[users]]\nname = 'a'\nrole = 'reader'\ntokens = 'sha256:00'",
        "[[users]]\nname = 'a'\nrole = 'reader'\ntokens = ['secret']",
        "[[users]]\nname = 'a'\nrole = 'reader'\n[[users]]\nname = 'a'\nrole = 'admin'",
    ],
)
def test_load_malformed_file_raises_and_tells_no_secret(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(InvalidParameterValue, match="users") as caught:
        load_users(file)
    assert "secret" not in caught.value.message


def test_load_file_that_is_not_utf8_raises(file: Path) -> None:
    file.write_bytes(b"\xff")
    with pytest.raises(InvalidParameterValue):
        load_users(file)


def test_edit_users_in_threads_loses_none(file: Path) -> None:
    def add(name: str) -> None:
        with edited_users(file) as users:
            users[name] = User(name, Role.READER)

    threads = [threading.Thread(target=add, args=(f"user-{number}",)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(load_users(file)) == 20


def test_edit_users_that_fails_leaves_the_file(file: Path) -> None:
    save_users(file, [User("a", Role.READER)])
    before = file.read_bytes()

    def fail() -> None:
        with edited_users(file) as users:
            users.clear()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert file.read_bytes() == before


# The command


def test_add_user_takes_password_from_standard_input(file: Path) -> None:
    result = run("add", file, "alice", "--role", "writer", typed=f"{PASSWORD}\n")
    assert PASSWORD not in result.output + file.read_text()
    user = load_users(file)["alice"]
    assert user.role is Role.WRITER
    assert user.password is not None
    assert user.password.verify(PASSWORD)


@pytest.mark.parametrize("typed", ["", "short\n", "with\ttab and more\n", "x" * 2000])
def test_add_user_with_bad_password_makes_no_file(file: Path, typed: str) -> None:
    run("add", file, "alice", "--role", "writer", typed=typed, code=2)
    assert not file.exists()


@pytest.mark.parametrize("name", ["", "a:b", "a\nb", "x" * 300])
def test_add_user_with_bad_name_fails(file: Path, name: str) -> None:
    run("add", file, name, "--role", "reader", typed=PASSWORD, code=2)
    assert not file.exists()


def test_add_user_that_is_there_changes_them_only_if_asked(file: Path) -> None:
    run("add", file, "alice", "--role", "reader", typed=PASSWORD)
    run("token", file, "alice")
    run("add", file, "alice", "--role", "admin", typed="another word", code=1)
    assert load_users(file)["alice"].role is Role.READER
    run("add", file, "alice", "--role", "admin", "--update", typed="another word")
    user = load_users(file)["alice"]
    assert user.role is Role.ADMIN
    assert user.password is not None
    assert user.password.verify("another word")
    assert len(user.tokens) == 1
    run("add", file, "bob", "--role", "admin", "--update", "--no-password", code=1)


def test_remove_user_takes_them_away(file: Path) -> None:
    run("add", file, "alice", "--role", "reader", "--no-password")
    run("add", file, "bob", "--role", "reader", "--no-password")
    run("remove", file, "alice")
    assert list(load_users(file)) == ["bob"]
    run("remove", file, "alice", code=1)


def test_make_tokens_keeps_digests_only(file: Path) -> None:
    run("add", file, "ci", "--role", "writer", "--no-password")
    first, second = run("token", file, "ci").stdout.strip(), run("token", file, "ci").stdout.strip()
    assert first != second
    assert first not in file.read_text()
    assert load_users(file)["ci"].tokens == (token_digest(first), token_digest(second))
    third = run("token", file, "ci", "--replace").stdout.strip()
    assert load_users(file)["ci"].tokens == (token_digest(third),)
    run("token", file, "ci", "--revoke")
    assert load_users(file)["ci"].tokens == ()
    run("token", file, "nobody", code=1)
    run("token", file, "ci", "--replace", "--revoke", code=2)


def test_list_users_shows_no_hashes(file: Path) -> None:
    run("add", file, "alice", "--role", "reader", typed=PASSWORD)
    run("token", file, "alice")
    shown = run("list", file).stdout
    assert "alice" in shown
    assert "scrypt" not in shown
    assert run("list", file, "--json").stdout.count('"tokens": 1') == 1
    run("list", file.with_name("missing"), code=1)
