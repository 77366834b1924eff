"""Use cases of models."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from mesh.errors import Aborted, FailedPrecondition, NotFound, Unavailable
from mesh.ids import new_id
from mesh.mongo.client import Session
from mesh.times import now
from reco_svc.domain import CreatedMeanwhile, Model, ModelStatus
from reco_svc.events import model_promoted
from reco_svc.ports import Models, Transactions
from reco_svc.service.attempts import write_again_if_raced

# A training process gives a sign of life far more often; after so long without one it is dead.
TRAINING_ALIVE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class IndexStatus:
    """What this replica serves; see `marquee.reco.v1.GetIndexStatusResponse`."""

    model_version: str
    index_version: str
    movie_count: int
    dimension: int
    kind: str
    load_time: datetime


class TrainingStarter(Protocol):
    """Runs a training outside of this process."""

    async def train(self, model: Model, *, seed: int, holdout_fraction: float) -> None:
        """Begins the training of a model that is stored as TRAINING."""


class ModelService:
    """Trains models and decides which one serves."""

    def __init__(
        self,
        outbox: Transactions,
        models: Models,
        starter: TrainingStarter,
        *,
        has_interactions: Callable[[], Awaitable[bool]],
        index_status: Callable[[], IndexStatus | None],
        promoted: Callable[[], None],
    ) -> None:
        """Takes its surroundings.

        Args:
            outbox: For promotions.
            models: The stored models.
            starter: Begins trainings.
            has_interactions: Whether there is anything to train on.
            index_status: What this replica serves.
            promoted: Called after a promotion, so that this replica loads the model at once.
        """
        self._outbox = outbox
        self._models = models
        self._starter = starter
        self._has_interactions = has_interactions
        self._promoted = promoted
        self.index_status = index_status

    async def train(self, seed: int, holdout_fraction: float) -> Model:
        """Starts a training.

        Raises:
            Aborted: Another one is under way.
            FailedPrecondition: Nothing was recorded yet.
            Unavailable: Its process cannot start; the model is noted as failed.
        """
        if not await self._has_interactions():
            raise FailedPrecondition("NO_INTERACTIONS", "no interactions are recorded yet")
        await self._models.fail_silent(TRAINING_ALIVE_SECONDS)
        model = Model(
            version=new_id(),
            status=ModelStatus.TRAINING,
            create_time=now(),
            parameters={"seed": str(seed), "holdout_fraction": f"{holdout_fraction:g}"},
        )
        try:
            await self._models.create(model)
        except CreatedMeanwhile:
            raise await self._under_way() from None
        try:
            await self._starter.train(model, seed=seed, holdout_fraction=holdout_fraction)
        except OSError as error:
            await self._models.fail(model.version, f"the training process cannot start: {error}")
            raise Unavailable(
                "TRAINING_NOT_STARTED", "the training process cannot start", retry_after=5.0
            ) from error
        return model

    async def _under_way(self) -> Aborted:
        running = await self._models.training()
        return Aborted(
            "TRAINING_UNDER_WAY",
            f"model {running} is in training" if running else "another training has just ended",
            metadata={"model_version": running} if running else None,
            retry_after=5.0,
        )

    async def get(self, version: str) -> Model:
        """Returns one model.

        Raises:
            NotFound: There is none of that version.
        """
        model = await self._models.get(version)
        if model is None:
            raise NotFound("model", version)
        return model

    async def page(self, before: str | None, size: int) -> list[Model]:
        """Returns up to `size` models, newest first."""
        return await self._models.page(before, size)

    async def promote(self, version: str) -> Model:
        """Makes a trained model the serving one; promoting the serving one changes nothing.

        Raises:
            NotFound: There is none of that version.
            FailedPrecondition: Its training has not succeeded.
        """
        model = await self.get(version)
        if model.status is ModelStatus.SERVING:
            return model
        if model.status is not ModelStatus.READY:
            raise FailedPrecondition(
                "MODEL_NOT_READY",
                f"model {version} is {model.status.name}",
                metadata={"status": model.status.name},
            )
        moment = now()

        async def write(session: Session) -> None:
            if await self._models.serving_version(session) == version:
                return  # another call was faster; the mesh is told once
            sequence = await self._models.promote(version, moment, session)
            await self._outbox.append(session, [model_promoted(version, moment, sequence)])

        await write_again_if_raced(self._outbox, write)
        self._promoted()
        return await self.get(version)
