"""`marquee demo`."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.address import edge_of
from cli.aio import run
from cli.commands.options import SeedOption
from cli.commands.up import show_endpoints
from cli.datasets.opening import open_dataset
from cli.datasets.records import Dataset
from cli.datasets.wheel import ML_100K
from cli.demo.run import STACK, Scene, plan, prepare, tell_one_person
from cli.demo.timeline import Timeline
from cli.errors import CliError, report
from cli.mesh_client import connect
from cli.stacks import own_stack, until_death, wait_for_death
from cli.terminal import make_console
from cli.tracing import telemetry
from cli.views.text import cell
from devstack.stack import Stack

_USER = "31"


def demo(
    data_dir: Annotated[
        Path | None,
        typer.Option(
            file_okay=False,
            help="Keep the data there. Without it: a temporary directory, removed at the end.",
        ),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the mesh running afterwards, until Ctrl-C.")
    ] = False,
    user: Annotated[
        str, typer.Option(help="Whose recommendations: a user of the data set.")
    ] = _USER,
    seed: SeedOption = 0,
) -> int:
    """Show the main job of the mesh on MovieLens-100K, from nothing to a notification.

    Starts a mesh of its own on free ports, imports the movies and ratings, trains a model,
    recommends to a real person, lets them rate movies of a kind they watched little, and follows
    the change through Kafka to their inbox and their live stream, and then in the trace.

    The exit status is 0 only if every step happened.
    """
    choice = _Choice(data_dir, keep, user, seed)
    return run(_demo(choice, make_console()))


@dataclass(frozen=True, slots=True)
class _Choice:
    data_dir: Path | None
    keep: bool
    user: str
    seed: int


async def _demo(choice: _Choice, console: Console) -> int:
    dataset = await asyncio.to_thread(open_dataset, ML_100K)
    timeline = Timeline(console, plan(dataset))
    async with AsyncExitStack() as context:
        try:
            with timeline.step(STACK):
                stack = await context.enter_async_context(own_stack(console, choice.data_dir))
            steps = _steps(stack, dataset, choice, timeline, console)
            failure = await _failure_of(until_death(stack, console, steps))
        finally:
            console.print(timeline.table())
        if choice.keep:
            if failure is not None:
                report(failure)
            await _keep(stack, console)
        elif failure is not None:
            raise failure
    return 0 if timeline.complete else 1


async def _failure_of(work: Coroutine[None, None, None]) -> CliError | None:
    try:
        await work
    except CliError as error:
        return error
    return None


async def _keep(stack: Stack, console: Console) -> None:
    show_endpoints(stack, console)
    console.print(cell(f"everything is in {stack.directory.path}; Ctrl-C takes it down."))
    try:
        await wait_for_death(stack, console)
    except asyncio.CancelledError:
        console.print("taking everything down")


async def _steps(
    stack: Stack, dataset: Dataset, choice: _Choice, timeline: Timeline, console: Console
) -> None:
    async with telemetry(stack.endpoints.otlp), connect(edge_of(stack)) as mesh:
        scene = Scene(
            mesh=mesh,
            traces=stack.traces,
            dataset=dataset,
            user_id=choice.user,
            seed=choice.seed,
            timeline=timeline,
            console=console,
        )
        await prepare(scene)
        await tell_one_person(scene)
