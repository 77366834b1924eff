"""`marquee up`."""

from __future__ import annotations

import asyncio
import enum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.aio import run
from cli.stacks import report_to, wait_for_death
from cli.terminal import make_console
from cli.views.stack import endpoint_table, examples
from cli.views.text import cell
from devstack.components import StackConfig
from devstack.ports import Ports
from devstack.stack import Stack
from devstack.state import DEFAULT_DIRECTORY


class LogLevel(enum.Enum):
    """What the services' settings take as a severity."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


def up(
    data_dir: Annotated[
        Path, typer.Option(file_okay=False, help="Where the stack keeps everything.")
    ] = DEFAULT_DIRECTORY,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Drop what an earlier stack left in the directory.")
    ] = False,
    port_offset: Annotated[
        int, typer.Option(help="Move every port by this much, to run several stacks.")
    ] = 0,
    mongodb_uri: Annotated[
        str,
        typer.Option(
            envvar="MARQUEE_MONGODB_URI",
            metavar="URI",
            help="Use this MongoDB (a replica set) instead of the embedded one.",
        ),
    ] = "",
    kafka_bootstrap: Annotated[
        str,
        typer.Option(
            envvar="MARQUEE_KAFKA_BOOTSTRAP",
            metavar="HOST:PORT[,...]",
            help="Use these Kafka brokers instead of the embedded one.",
        ),
    ] = "",
    *,
    replicas: Annotated[
        int, typer.Option(min=1, max=9, help="How many processes of each service to run.")
    ] = 1,
    tls: Annotated[
        bool,
        typer.Option(
            "--tls", help="TLS at the edge and mutual TLS behind it, by an authority made here."
        ),
    ] = False,
    mtls: Annotated[
        bool,
        typer.Option(
            "--mtls", help="As --tls, and the edge asks its callers for a certificate, too."
        ),
    ] = False,
    log_level: Annotated[
        LogLevel,
        typer.Option(envvar="MARQUEE_LOG_LEVEL", help="Least severity the services log."),
    ] = LogLevel.INFO,
) -> int:
    """Start the whole mesh on this machine and keep it running.

    Starts a database, a broker, the three services and Envoy in front of them, and a small
    receiver for traces. Ctrl-C or SIGTERM takes everything down; so does the death of any part.
    """
    config = StackConfig(
        data_dir=data_dir,
        fresh=fresh,
        ports=Ports.shifted(port_offset, replicas),
        replicas=replicas,
        tls=tls or mtls,
        mtls=mtls,
        mongodb_uri=mongodb_uri,
        kafka_bootstrap=kafka_bootstrap,
        log_level=log_level.value,
    )
    return run(_up(config, make_console()))


async def _up(config: StackConfig, console: Console) -> int:
    stack = Stack(config, report_to(console))
    console.print(cell(f"starting the mesh; its data and logs are in {stack.directory.path}"))
    await stack.start()
    try:
        show_endpoints(stack, console)
        console.print("Ctrl-C takes everything down.")
        await wait_for_death(stack, console)
    except asyncio.CancelledError:
        console.print("taking everything down")
        return 0
    finally:
        await stack.stop()


def show_endpoints(stack: Stack, console: Console) -> None:
    """Prints where everything listens and what to paste to call it."""
    console.print(endpoint_table(stack.info))
    for purpose, command in examples(stack.info, stack.config.data_dir):
        console.print(cell(f"# {purpose}", "dim"), soft_wrap=True)
        console.print(cell(command), soft_wrap=True)
    console.print()
