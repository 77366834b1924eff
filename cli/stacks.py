"""Stacks that a command starts for itself."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn, TypeVar

from rich.console import Console

from cli.errors import CliError
from cli.views.stack import progress_line
from cli.views.text import cell
from devstack.components import ALL, OTLP, StackConfig
from devstack.logs import readable
from devstack.ports import Ports
from devstack.stack import Progress, ProgressCallback, Stack

_LOG_LINES = 10

ResultT = TypeVar("ResultT")


class ComponentDied(CliError):
    """A component of the stack ended although nobody asked it to."""


async def wait_for_death(stack: Stack, console: Console) -> NoReturn:
    """Watches a stack; shows the last log lines of a component that dies.

    Raises:
        ComponentDied: That happened.
    """
    death = await stack.wait_for_death()
    console.print(cell(f"the last log lines of {death.component}:"))
    for line in _tail(death.log_path):
        console.print(cell(f"  {line}"), soft_wrap=True)
    raise ComponentDied(str(death))


@asynccontextmanager
async def own_stack(
    console: Console, data_dir: Path | None = None, *, traces: bool = True
) -> AsyncIterator[Stack]:
    """Runs a stack on free ports for as long as the context lasts.

    Args:
        console: Told what is ready.
        data_dir: Where it keeps its data; None: in a temporary directory, removed at the end
            unless something fails.
        traces: Whether it collects traces.

    Raises:
        DevstackError: It cannot be started.
    """
    temporary = data_dir is None
    if data_dir is None:
        data_dir = Path(tempfile.mkdtemp(prefix="marquee-"))
    config = StackConfig(
        data_dir=data_dir,
        ports=Ports.free(),
        components=frozenset(ALL) if traces else frozenset(ALL) - {OTLP},
    )
    stack = Stack(config, report_to(console))
    try:
        await stack.start()
        try:
            yield stack
        finally:
            await stack.stop()
    except Exception:
        console.print(cell(f"data and logs are kept in {data_dir}"), soft_wrap=True)
        temporary = False
        raise
    finally:
        if temporary:
            shutil.rmtree(data_dir, ignore_errors=True)


async def until_death(
    stack: Stack, console: Console, work: Coroutine[None, None, ResultT]
) -> ResultT:
    """Does something with a stack, and gives up as soon as one of its components dies.

    Raises:
        ComponentDied: That happened.
    """
    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(wait_for_death(stack, console))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if watching.done():
            watching.result()
        return working.result()
    finally:
        for task in (working, watching):
            task.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


def report_to(console: Console) -> ProgressCallback:
    """Returns what prints the progress of a stack."""

    def report(step: Progress) -> None:
        if line := progress_line(step):
            console.print(cell(line))

    return report


def _tail(log: Path) -> list[str]:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [readable(line) for line in lines if line.strip()][-_LOG_LINES:]
