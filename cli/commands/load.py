"""`marquee load`."""

from __future__ import annotations

import asyncio

from rich.console import Console

from cli.address import Edge, Entry, find_edge
from cli.aio import run
from cli.commands.options import (
    CaFileOption,
    CertFileOption,
    DataDirOption,
    DatasetArgument,
    EdgeOption,
    KeyFileOption,
    TokenFileOption,
)
from cli.datasets.opening import open_dataset
from cli.datasets.records import Dataset
from cli.datasets.wheel import ML_100K
from cli.importing.importer import InteractionReport, import_interactions, import_movies
from cli.mesh_client import Mesh, connect
from cli.terminal import make_console, progress
from cli.views.importing import import_table, refusals_table
from cli.views.text import cell
from devstack.state import DEFAULT_DIRECTORY


def load(
    dataset: DatasetArgument = ML_100K,
    edge: EdgeOption = None,
    *,
    data_dir: DataDirOption = DEFAULT_DIRECTORY,
    token_file: TokenFileOption = None,
    ca_file: CaFileOption = None,
    cert_file: CertFileOption = None,
    key_file: KeyFileOption = None,
) -> int:
    """Import movies and ratings through the gRPC API.

    The whole data set is read before anything is sent; rows that cannot be read end the command
    with their line numbers.

    Each rating becomes an interaction whose event id follows from the data set's name and the
    row's content. So the import may be repeated, also after it was interrupted: the service
    answers DUPLICATE for what it has and records the rest. There is no position to keep, and none
    that could be wrong about a database that was dropped.

    The exit status is 1 if a row was not recorded: CONFLICT (the event id has other content),
    UNKNOWN_MOVIE or INVALID.
    """
    found = find_edge(Entry(edge, data_dir, token_file, ca_file, cert_file, key_file))
    return run(_load(dataset, found, make_console()))


async def _load(name: str, edge: Edge, console: Console) -> int:
    dataset = await asyncio.to_thread(open_dataset, name)
    async with connect(edge) as mesh:
        report = await load_dataset(mesh, dataset, console)
    return 1 if report.refused else 0


async def load_dataset(mesh: Mesh, dataset: Dataset, console: Console) -> InteractionReport:
    """Imports a data set and shows how.

    Raises:
        grpc.aio.AioRpcError: A call failed for good.
    """
    console.print(
        cell(f"{dataset.name}: {len(dataset.movies):,} movies, {len(dataset.ratings):,} ratings")
    )
    with progress(console, "movies      ", len(dataset.movies), "movies") as advance:
        movies = await import_movies(mesh, dataset.movies, advance)
    with progress(console, "interactions", len(dataset.ratings), "rows") as advance:
        report = await import_interactions(mesh, dataset, advance)
    console.print(import_table(movies, report))
    if report.refused:
        console.print(refusals_table(report.refusals, report.refused))
    return report
