"""The command `holdall`: its groups, its version, and how its errors are told."""

from __future__ import annotations

import logging
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from holdall.cli import artifacts, db, experiments, runs, users
from holdall.cli.conformance import conformance
from holdall.cli.demo import demo
from holdall.cli.info import info
from holdall.cli.output import say_error
from holdall.cli.server import server
from holdall.stores.errors import HoldallError, InvalidParameterValue

__all__ = ["app", "main"]

FAILURE = 1
USAGE = 2


class HoldallGroup(TyperGroup):
    """Tells an error in one line on standard error; `--debug` lets it through with its traceback.

    The exit code is 2 if what the user wrote is at fault, otherwise 1.
    """

    def invoke(self, ctx: Any) -> Any:
        """Run the command that the arguments name."""
        try:
            result: object = super().invoke(ctx)
            sys.stdout.flush()  # here a closed pipe is noticed quietly, at exit it is not
            return result
        except BrokenPipeError:  # the reader, such as `head`, has had enough
            _silence_output()
            raise typer.Exit(FAILURE) from None
        except HoldallError as error:
            if ctx.params.get("debug"):
                raise
            say_error(error.message)
            raise typer.Exit(USAGE if isinstance(error, InvalidParameterValue) else FAILURE) from None
        except OSError as error:
            if ctx.params.get("debug"):
                raise
            say_error(f"{error.filename}: {error.strerror}" if error.filename else str(error))
            raise typer.Exit(FAILURE) from None


app = typer.Typer(
    name="holdall",
    cls=HoldallGroup,
    help="Experiment tracking in any store you name by URI.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(demo)
app.add_typer(experiments.app, name="experiments")
app.add_typer(runs.app, name="runs")
app.add_typer(artifacts.app, name="artifacts")
app.command()(info)
app.add_typer(db.app, name="db")
app.command()(conformance)
app.command()(server)
app.add_typer(users.app, name="users")


def main() -> None:
    """Entry point of the console script."""
    app(prog_name="holdall")


def _show_version(wanted: bool) -> None:
    if wanted:
        import holdall

        typer.echo(f"holdall {holdall.__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[  # noqa: ARG001 - its callback does all there is to do
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show log lines, and the traceback of an error.")] = False,
) -> None:
    """Experiment tracking in any store you name by URI."""
    if debug:
        logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
        logging.getLogger("holdall").setLevel(logging.DEBUG)


def _silence_output() -> None:
    """Keep the interpreter from writing to the closed pipe once more when it ends."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
