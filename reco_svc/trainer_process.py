"""Runs each training in a process of its own, so that serving keeps its core and its memory."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from dataclasses import replace

import structlog
from pymongo.errors import PyMongoError

from mesh.background import start_background
from mesh.times import now
from reco_svc.domain import Model, ModelStatus
from reco_svc.store.models import ModelStore

_log = structlog.get_logger(__name__)
_STOP_SECONDS = 5.0


class TrainerProcess:
    """Starts `reco_svc.training.job` and notes what it could not note itself."""

    def __init__(self, models: ModelStore) -> None:
        self._models = models
        self._watches: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Does nothing: trainings begin when asked for."""

    async def train(self, model: Model, *, seed: int, holdout_fraction: float) -> None:
        """Begins the training of a model that is stored as TRAINING.

        The process reads the same MARQUEE_* environment as this one.
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
            # The matrices of a batch are small: more threads wait for each other longer than they
            # compute, and take the cores from those who serve.
            env={"OPENBLAS_NUM_THREADS": "1", **os.environ},
        )
        watch = start_background(self._watch(model, process))
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)

    async def stop(self) -> None:
        """Ends trainings under way; they are noted as failed."""
        for watch in list(self._watches):
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch

    async def _watch(self, model: Model, process: asyncio.subprocess.Process) -> None:
        try:
            status = await process.wait()
            if status == 0:
                return
            failure = f"the training process ended with status {status}"
        except asyncio.CancelledError:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), _STOP_SECONDS)
            except TimeoutError:
                process.kill()
                await process.wait()
            failure = "the service was stopped during the training"
        _log.error("training failed", model_version=model.version, failure=failure)
        # Leaves a reason that the process itself could note.
        with contextlib.suppress(PyMongoError):
            await self._models.finish(
                replace(model, status=ModelStatus.FAILED, failure=failure, finish_time=now())
            )
