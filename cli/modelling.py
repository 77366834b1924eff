"""Trains a model on the mesh and makes it the serving one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from marquee.reco.v1 import model_service_pb2 as pb

from cli.errors import CliError
from cli.mesh_client import Mesh, patiently
from cli.terminal import Advance
from cli.tracing import untraced

_POLL_S = 0.25
_INDEX_PATIENCE_S = 60.0


class TrainingFailed(CliError):
    """The service says that the training did not succeed."""


async def train_model(mesh: Mesh, *, seed: int, holdout: float, advance: Advance) -> pb.Model:
    """Trains a model on everything recorded and returns it once it is ready.

    Args:
        mesh: Where.
        seed: Makes the training repeatable.
        holdout: The share of each person's interactions held out for the measures; 0: the default.
        advance: Told how much further the training is, as a share of the whole.

    Raises:
        TrainingFailed: It did not succeed.
        grpc.aio.AioRpcError: A call failed for good.
    """
    reply = await mesh.models.TrainModel(pb.TrainModelRequest(seed=seed, holdout_fraction=holdout))
    model = reply.model
    shown = 0.0
    while model.status in (pb.MODEL_STATUS_UNSPECIFIED, pb.MODEL_STATUS_TRAINING):
        await asyncio.sleep(_POLL_S)
        request = pb.GetModelRequest(version=model.version)
        with untraced():
            model = (await patiently(mesh.models.GetModel, request)).model
        advance(max(0.0, model.progress - shown))
        shown = max(shown, model.progress)
    if model.status == pb.MODEL_STATUS_FAILED:
        raise TrainingFailed(f"training {model.version} failed: {model.failure}")
    advance(1.0 - shown)
    return model


async def promote_model(mesh: Mesh, version: str) -> pb.GetIndexStatusResponse:
    """Makes a model the serving one and waits until its index answers.

    Raises:
        CliError: The index did not follow in time.
        grpc.aio.AioRpcError: A call failed for good.
    """
    await patiently(mesh.models.PromoteModel, pb.PromoteModelRequest(version=version))
    give_up_at = time.monotonic() + _INDEX_PATIENCE_S
    while time.monotonic() < give_up_at:
        with untraced():
            status = await patiently(mesh.models.GetIndexStatus, pb.GetIndexStatusRequest())
        if status.model_version == version:
            return status
        await asyncio.sleep(_POLL_S)
    raise CliError(
        f"model {version} was promoted, but its index did not answer within "
        f"{_INDEX_PATIENCE_S:g} s: see the recommendation service's log"
    )


def beside_popularity(metrics: Mapping[str, float]) -> dict[str, tuple[float, float | None]]:
    """Sorts a model's measures: by name, that of the model and that of popularity if known."""
    prefix = "popularity."
    return {
        name: (value, metrics.get(prefix + name))
        for name, value in sorted(metrics.items())
        if not name.startswith(prefix)
    }
