"""Runs each training in a process of its own, so that serving keeps its core and its memory."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable

import structlog
from pymongo.errors import PyMongoError

from mesh.background import end_background, start_background
from mesh.telemetry.spans import untraced_database
from reco_svc.domain import Model
from reco_svc.service.models import TRAINING_ALIVE_SECONDS
from reco_svc.store.models import ModelStore

_log = structlog.get_logger(__name__)
_STOP_SECONDS = 2.0
_SWEEP_SECONDS = 10.0


class TrainerProcess:
    """Starts `reco_svc.training.job` and notes what it could not note itself.

    Trainings of replicas that are gone are noted as failed too, once they give no sign of life.
    """

    def __init__(self, models: ModelStore) -> None:
        self._models = models
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._watches: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.Task[None] | None = None
        self._stopping = False

    async def start(self) -> None:
        """Begins to look after trainings; they begin when asked for."""
        self._sweeper = start_background(self._sweep(), name="training-sweep")

    async def train(self, model: Model, *, seed: int, holdout_fraction: float) -> None:
        """Begins the training of a model that is stored as TRAINING.

        The process reads the same MARQUEE_* environment as this one.

        Raises:
            OSError: The process cannot be started.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "reco_svc.training.job",
            "--version",
            model.version,
            "--seed",
            str(seed),
            "--holdout-fraction",
            str(holdout_fraction),
            stdin=asyncio.subprocess.DEVNULL,
        )
        self._processes[model.version] = process
        watch = start_background(self._watch(model.version, process))
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)

    async def stop(self) -> None:
        """Ends trainings under way; they are noted as failed."""
        self._stopping = True
        if self._sweeper is not None:
            await end_background([self._sweeper])
        for process in self._processes.values():
            _signal(process.terminate)
        if self._watches:
            _, late = await asyncio.wait(set(self._watches), timeout=_STOP_SECONDS)
            if late:
                for process in self._processes.values():
                    _signal(process.kill)
                await asyncio.wait(late, timeout=_STOP_SECONDS)

    async def _watch(self, version: str, process: asyncio.subprocess.Process) -> None:
        status = await process.wait()
        del self._processes[version]
        failure = (
            "the service was stopped during the training"
            if self._stopping
            else f"the training process ended with status {status}"
        )
        # Nothing happens to a model whose end the process has noted itself; if the database is
        # away, the sweep will note it.
        with contextlib.suppress(PyMongoError):
            if await self._models.fail(version, failure):
                _log.error("training failed", model_version=version, failure=failure)

    async def _sweep(self) -> None:
        with untraced_database():
            while not self._stopping:
                try:
                    await self._models.fail_silent(TRAINING_ALIVE_SECONDS)
                except PyMongoError as error:
                    _log.warning("trainings cannot be looked after", error=str(error))
                await asyncio.sleep(_SWEEP_SECONDS)


def _signal(send: Callable[[], None]) -> None:
    with contextlib.suppress(ProcessLookupError):
        send()  # it may just have ended
