"""`marquee train`."""

from __future__ import annotations

from typing import Annotated

import typer
from marquee.reco.v1 import model_service_pb2
from rich.console import Console

from cli.address import Edge, Entry, find_edge
from cli.aio import run
from cli.commands.options import (
    CaFileOption,
    CertFileOption,
    DataDirOption,
    EdgeOption,
    KeyFileOption,
    SeedOption,
    TokenFileOption,
)
from cli.mesh_client import Mesh, connect
from cli.modelling import beside_popularity, promote_model, train_model
from cli.terminal import make_console, progress
from cli.views.quality import quality_table
from cli.views.text import cell
from devstack.state import DEFAULT_DIRECTORY


def train(
    seed: SeedOption = 0,
    holdout: Annotated[
        float,
        typer.Option(
            min=0.05,
            max=0.5,
            help="The share of each person's interactions held out to measure the quality. "
            "The model that serves is trained on everything.",
        ),
    ] = 0.25,
    promote: Annotated[
        bool, typer.Option(help="Whether to make the model the serving one.")
    ] = True,
    *,
    edge: EdgeOption = None,
    data_dir: DataDirOption = DEFAULT_DIRECTORY,
    token_file: TokenFileOption = None,
    ca_file: CaFileOption = None,
    cert_file: CertFileOption = None,
    key_file: KeyFileOption = None,
) -> int:
    """Train a model on everything recorded, and promote it.

    Shows the quality on held-out interactions beside that of plain popularity, and waits until the
    index serves the model.
    """
    found = find_edge(Entry(edge, data_dir, token_file, ca_file, cert_file, key_file))
    return run(_train(found, seed, holdout, promote, make_console()))


async def _train(edge: Edge, seed: int, holdout: float, promote: bool, console: Console) -> int:
    async with connect(edge) as mesh:
        await train_and_promote(mesh, console, seed=seed, holdout=holdout, promote=promote)
    return 0


async def train_and_promote(
    mesh: Mesh, console: Console, *, seed: int, holdout: float, promote: bool = True
) -> model_service_pb2.Model:
    """Trains a model, shows its quality, and makes it the serving one.

    Args:
        mesh: Where.
        console: Where to show it.
        seed: Makes the training repeatable.
        holdout: The share held out for the measures.
        promote: Whether it is to serve.

    Raises:
        CliError: Training failed, or the index did not follow.
        grpc.aio.AioRpcError: A call failed for good.
    """
    with progress(console, "training", 1.0) as advance:
        model = await train_model(mesh, seed=seed, holdout=holdout, advance=advance)
    title = (
        f"model {model.version}: {model.interaction_count:,} interactions of "
        f"{model.user_count:,} people with {model.movie_count:,} movies; "
        f"measured on {holdout:.0%} held out"
    )
    console.print(quality_table(beside_popularity(model.metrics), title))
    if promote:
        status = await promote_model(mesh, model.version)
        console.print(
            cell(
                f"serving: index {status.index_version[:12]}, {status.movie_count:,} movies, "
                f"{status.dimension} dimensions, {status.kind}"
            )
        )
    return model
