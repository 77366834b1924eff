"""The commands, and the one line with which a failed one ends."""

from __future__ import annotations

import errno
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import metadata
from io import TextIOWrapper
from typing import Annotated

import structlog
import typer

from cli.commands import keys
from cli.commands.cert import cert
from cli.commands.demo import demo
from cli.commands.evaluate import evaluate
from cli.commands.load import load
from cli.commands.token import token
from cli.commands.train import train
from cli.commands.up import up
from cli.errors import INTERRUPTED, CliError, report
from devstack.errors import DevstackError

app = typer.Typer(
    name="marquee",
    add_completion=False,
    rich_markup_mode=None,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"marquee {metadata.version('marquee')}")
        raise typer.Exit


@app.callback()
def options(
    _: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Marquee recommends movies and tells people about them: run it, fill it, look at it."""


for command in (up, load, train, evaluate, demo, token, cert):
    app.command()(command)
app.add_typer(keys.app, name="keys")

_FULL = (errno.ENOSPC, errno.EDQUOT)


def run(arguments: Sequence[str]) -> int:
    """Runs the command line.

    Args:
        arguments: Without the name of the program.

    Returns:
        The exit status. 0: done; 1: not done; 2: wrong arguments; 128 + n: ended by signal n.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a title must not end the command
    # What the mesh's runtime logs in this process is for the person, and not part of the output.
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        processors=[
            structlog.processors.add_log_level,
            structlog.dev.ConsoleRenderer(colors=False),
        ],
        # Looked up with each line: where standard error goes may change while this runs.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )
    try:
        return app(arguments, prog_name="marquee", standalone_mode=False) or 0
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has seen enough; the interpreter must not flush into the pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        return _failed(error)


def _failed(error: Exception) -> int:
    if isinstance(error, typer.TyperException):
        report(CliError(f"{error.format_message()} (marquee --help shows what there is)"))
        return error.exit_code
    if isinstance(error, CliError | DevstackError):
        report(error)
        return error.status if isinstance(error, CliError) else 1
    if isinstance(error, OSError) and error.errno in _FULL:
        report(CliError(f"{error.strerror}: make room where the data directory is"))
        return 1
    if os.environ.get("MARQUEE_LOG_LEVEL") == "DEBUG":
        traceback.print_exception(error)
    kind = type(error).__name__
    report(CliError(f"this is a bug: {kind}: {error} (MARQUEE_LOG_LEVEL=DEBUG shows where)"))
    return 1
