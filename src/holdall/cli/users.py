"""`holdall users`: edits the file of users that `holdall server --auth FILE` reads."""

from __future__ import annotations

import getpass
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from holdall.cli.options import JsonOption
from holdall.cli.output import is_terminal, make_table, print_json, print_table, say, say_error, shown
from holdall.stores.errors import AlreadyExists, InvalidParameterValue, NotFound
from holdall.users import (
    PasswordHash,
    Role,
    User,
    check_password,
    edited_users,
    load_users,
    new_token,
    token_digest,
)

__all__ = ["app"]

app = typer.Typer(help="Users of a server.", no_args_is_help=True)

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="File of users: of `holdall server --auth FILE`.")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the user.")]


@app.callback()
def users() -> None:
    """Users of a server."""


@app.command()
def add(
    file: FileArgument,
    name: NameArgument,
    role: Annotated[Role, typer.Option("--role", help="What they may do.")],
    no_password: Annotated[bool, typer.Option("--no-password", help="Tokens only.")] = False,
    update: Annotated[bool, typer.Option("--update", help="Change a user that is there; their tokens stay.")] = False,
) -> None:
    """Add a user; the file is made if it is not there.

    The password is asked for, or is the first line of standard input if that is no terminal.
    """
    User(name, role)  # a bad name is refused before a password is asked for
    hashed = None if no_password else PasswordHash.of(_ask_password())
    with edited_users(file) as found:
        known = found.get(name)
        if known is not None and not update:
            raise AlreadyExists(f"There is a user {name!r} in {file}; to change them, say --update.")
        if known is None and update:
            raise _not_found(file, name)
        found[name] = User(name, role, hashed, known.tokens if known is not None else ())
    say(f"{shown(name)} has the role {role}.")


@app.command()
def remove(file: FileArgument, name: NameArgument) -> None:
    """Remove a user, with their password and tokens."""
    with edited_users(file) as found:
        if found.pop(name, None) is None:
            raise _not_found(file, name)
    say(f"{shown(name)} is removed.")


@app.command(name="list")
def list_users(file: FileArgument, as_json: JsonOption = False) -> None:
    """List the users."""
    found = sorted(load_users(file).values(), key=lambda user: user.name)
    if as_json:
        print_json(
            [
                {
                    "name": user.name,
                    "role": user.role.value,
                    "password": user.password is not None,
                    "tokens": len(user.tokens),
                }
                for user in found
            ]
        )
        return
    table = make_table("Name", "Role", "Password", "Tokens", right=("Tokens",), whole=("Name",))
    for user in found:
        table.add_row(shown(user.name), user.role, "yes" if user.password else "no", str(len(user.tokens)))
    print_table(table)


@app.command()
def token(
    file: FileArgument,
    name: NameArgument,
    replace_others: Annotated[bool, typer.Option("--replace", help="Withdraw the user's other tokens.")] = False,
    revoke: Annotated[bool, typer.Option("--revoke", help="Withdraw all of the user's tokens; make none.")] = False,
) -> None:
    """Make a token for a user and print it: only now, the file keeps nothing that it could be had from."""
    if replace_others and revoke:
        raise InvalidParameterValue("Say either --replace or --revoke.")
    made = new_token()
    with edited_users(file) as found:
        user = found.get(name)
        if user is None:
            raise _not_found(file, name)
        kept = () if replace_others or revoke else user.tokens
        found[name] = replace(user, tokens=kept if revoke else (*kept, token_digest(made)))
    if revoke:
        say(f"{len(user.tokens)} tokens of {shown(name)} are withdrawn.")
    else:
        typer.echo(made)


def _not_found(file: Path, name: str) -> NotFound:
    return NotFound(f"There is no user {name!r} in {file}; `holdall users list {file}` shows those that there are.")


def _ask_password() -> str:
    """A password from whoever is there; never from the command line, which others can see."""
    if not is_terminal():
        try:
            return check_password(sys.stdin.readline().rstrip("\r\n"))
        except UnicodeDecodeError:
            raise InvalidParameterValue("A password must be of UTF-8 text.") from None
    while True:
        password = getpass.getpass("Password: ")
        if getpass.getpass("Once more: ") == password:
            return check_password(password)
        say_error("They differ.")
