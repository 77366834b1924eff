"""`marquee evaluate`."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Annotated

import typer
from rich.console import Console

from cli.address import Edge, Entry, edge_of, find_edge
from cli.aio import run
from cli.commands.load import load_dataset
from cli.commands.options import (
    CaFileOption,
    CertFileOption,
    DataDirOption,
    DatasetArgument,
    KeyFileOption,
    SeedOption,
    TokenFileOption,
)
from cli.commands.train import train_and_promote
from cli.datasets.opening import open_dataset
from cli.datasets.records import Dataset
from cli.datasets.wheel import ML_100K
from cli.errors import CliError
from cli.evaluation import HELD_OUT, LIST_LENGTH, Served, measure_served, split
from cli.mesh_client import connect
from cli.stacks import own_stack, until_death
from cli.terminal import make_console, progress
from cli.views.quality import quality_table
from cli.views.text import seconds
from devstack.state import DEFAULT_DIRECTORY


def evaluate(
    dataset: DatasetArgument = ML_100K,
    seed: SeedOption = 0,
    min_ndcg: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Exit with status 1 if NDCG@10 is below this."),
    ] = None,
    *,
    edge: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Use this mesh instead of one started for the purpose. It is filled with the "
            "training part of the data set and should hold nothing else.",
        ),
    ] = None,
    data_dir: DataDirOption = DEFAULT_DIRECTORY,
    token_file: TokenFileOption = None,
    ca_file: CaFileOption = None,
    cert_file: CertFileOption = None,
    key_file: KeyFileOption = None,
) -> int:
    """Measure the recommendations as they are served.

    Starts a mesh of its own in a temporary directory, imports a random 75 % of each person's
    ratings, trains and promotes a model there, asks for everybody's top 10 over gRPC, and compares
    it with the ratings that were kept back. Nothing is left behind.
    """
    console = make_console()
    entry = Entry(edge, data_dir, token_file, ca_file, cert_file, key_file)
    found = None if edge is None else find_edge(entry)
    return run(_evaluate(dataset, seed, min_ndcg, found, console))


async def _evaluate(
    name: str, seed: int, min_ndcg: float | None, edge: Edge | None, console: Console
) -> int:
    dataset = await asyncio.to_thread(open_dataset, name)
    async with AsyncExitStack() as context:
        if edge is not None:
            served = await evaluate_mesh(edge, dataset, seed, console)
        else:
            stack = await context.enter_async_context(own_stack(console, traces=False))
            work = evaluate_mesh(edge_of(stack), dataset, seed, console)
            served = await until_death(stack, console, work)
    title = (
        f"{dataset.name}, top {LIST_LENGTH} of {served.model.users:,} people over gRPC in "
        f"{seconds(served.seconds)}, {HELD_OUT:.0%} held out, seed {seed}"
    )
    console.print(quality_table(served.measures(), title, "served"))
    if min_ndcg is not None and served.model.ndcg < min_ndcg:
        raise CliError(f"NDCG@{LIST_LENGTH} is {served.model.ndcg:.4f}, below {min_ndcg:g}")
    return 0


async def evaluate_mesh(edge: Edge, dataset: Dataset, seed: int, console: Console) -> Served:
    """Fills a mesh with the training part of a data set, trains it, and measures what it serves.

    Args:
        edge: Its edge.
        dataset: Movies and ratings.
        seed: Of the split and of the training.
        console: Where to show the progress.

    Raises:
        CliError: Rows were refused, training failed, or a served list is wrong.
        grpc.aio.AioRpcError: A call failed for good.
    """
    parts = await asyncio.to_thread(split, dataset, seed)
    async with connect(edge) as mesh:
        report = await load_dataset(mesh, parts.training, console)
        if report.refused:
            raise CliError(f"{report.refused:,} rows were not recorded")
        await train_and_promote(mesh, console, seed=seed, holdout=HELD_OUT)
        with progress(console, "recommending", len(parts.held_out), "people") as advance:
            return await measure_served(mesh, parts, advance)
