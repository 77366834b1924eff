"""Models, their embeddings, and which one serves, in MongoDB."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray
from pymongo import ReturnDocument
from pymongo.asynchronous.database import AsyncDatabase

from mesh.mongo.client import Document, Session
from mesh.mongo.lookup import find_by_ids
from mesh.times import now
from reco_svc.domain import Model, ModelStatus
from reco_svc.store.races import creating
from reco_svc.store.schema import EMBEDDINGS, MODELS, SERVING

_SERVING_ID = "serving"
_LITTLE_ENDIAN = np.dtype("<f4")
ORIGIN_TRAINED = "trained"
ORIGIN_CONTENT = "content"


@dataclass(frozen=True, slots=True)
class Embedding:
    """The two vectors of a movie under one model.

    Attributes:
        movie_id: The movie.
        in_vector: [d] float32, what having interacted with it says of a person.
        out_vector: [d] float32, what a person must be like to be recommended it.
        origin: `trained`, or `content` for one predicted from metadata.
    """

    movie_id: str
    in_vector: NDArray[np.float32]
    out_vector: NDArray[np.float32]
    origin: str = ORIGIN_TRAINED


class ModelStore:
    """Reads and writes models."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._models = database[MODELS]
        self._serving = database[SERVING]

    async def create(self, model: Model) -> None:
        """Writes a model that begins its training.

        Raises:
            CreatedMeanwhile: Another model is in training.
        """
        with creating():
            await self._models.insert_one(
                {
                    "_id": model.version,
                    "status": int(ModelStatus.TRAINING),
                    "create_time": model.create_time,
                    "heartbeat_time": now(),
                    "progress": 0.0,
                    "parameters": dict(model.parameters),
                }
            )

    async def training(self) -> str | None:
        """Returns the version in training, if there is one."""
        document = await self._models.find_one({"status": int(ModelStatus.TRAINING)}, {"_id": 1})
        return None if document is None else str(document["_id"])

    async def report(self, version: str, progress: float) -> bool:
        """Notes the progress of a training, which is also its sign of life.

        Returns:
            Whether the model is still in training; if not, its training was given up.
        """
        result = await self._models.update_one(
            {"_id": version, "status": int(ModelStatus.TRAINING)},
            {"$set": {"progress": progress, "heartbeat_time": now()}},
        )
        return result.matched_count == 1

    async def finish(self, model: Model) -> None:
        """Notes the success of a training: READY with its measures, unless it was given up."""
        await self._models.update_one(
            {"_id": model.version, "status": int(ModelStatus.TRAINING)},
            {
                "$set": {
                    "status": int(ModelStatus.READY),
                    "progress": 1.0,
                    "metrics": dict(model.metrics),
                    "parameters": dict(model.parameters),
                    "interaction_count": model.interaction_count,
                    "user_count": model.user_count,
                    "movie_count": model.movie_count,
                    "finish_time": now(),
                }
            },
        )

    async def fail(self, version: str, failure: str) -> bool:
        """Notes that a training did not succeed, unless its end is noted already.

        Returns:
            Whether it was noted now.
        """
        result = await self._models.update_one(
            {"_id": version, "status": int(ModelStatus.TRAINING)}, _failed(failure)
        )
        return result.matched_count == 1

    async def fail_silent(self, alive_seconds: float) -> None:
        """Notes as failed the trainings that gave no sign of life for so long."""
        await self._models.update_many(
            {
                "status": int(ModelStatus.TRAINING),
                "heartbeat_time": {"$lt": now() - timedelta(seconds=alive_seconds)},
            },
            _failed("the training process has gone"),
        )

    async def get(self, version: str) -> Model | None:
        """Returns one model, or None."""
        document = await self._models.find_one({"_id": version})
        return None if document is None else _to_model(document, await self.serving_version())

    async def page(self, before: str | None, size: int) -> list[Model]:
        """Returns up to `size` models older than `before`, newest first."""
        query = {} if before is None else {"_id": {"$lt": before}}
        serving = await self.serving_version()
        cursor = self._models.find(query).sort("_id", -1).limit(size)
        return [_to_model(document, serving) async for document in cursor]

    async def serving_version(self, session: Session | None = None) -> str | None:
        """Returns the version of the serving model, or None before the first promotion."""
        document = await self._serving.find_one({"_id": _SERVING_ID}, session=session)
        return None if document is None else str(document["model_version"])

    async def promote(self, version: str, promote_time: datetime, session: Session) -> int:
        """Makes a model the serving one and returns how many promotions there have been.

        Raises:
            CreatedMeanwhile: Another first promotion was faster; the transaction is lost.
        """
        with creating():
            document = await self._serving.find_one_and_update(
                {"_id": _SERVING_ID},
                {
                    "$set": {"model_version": version, "promote_time": promote_time},
                    "$inc": {"sequence": 1},
                },
                upsert=True,
                return_document=ReturnDocument.AFTER,
                session=session,
            )
        assert document is not None  # an upsert returns what it wrote
        return int(document["sequence"])


class EmbeddingStore:
    """Reads and writes embeddings."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._embeddings = database[EMBEDDINGS]

    async def put(self, model_version: str, embeddings: Sequence[Embedding]) -> None:
        """Writes the embeddings of a model that are not there yet; others stay as they are."""
        if embeddings:
            known = await self._movie_ids(model_version, [e.movie_id for e in embeddings])
            rows = [
                {
                    "_id": f"{model_version}/{embedding.movie_id}",
                    "model_version": model_version,
                    "movie_id": embedding.movie_id,
                    "in_vector": embedding.in_vector.astype(_LITTLE_ENDIAN).tobytes(),
                    "out_vector": embedding.out_vector.astype(_LITTLE_ENDIAN).tobytes(),
                    "origin": embedding.origin,
                }
                for embedding in embeddings
                if embedding.movie_id not in known
            ]
            if rows:
                await self._embeddings.insert_many(rows)

    async def _movie_ids(self, model_version: str, movie_ids: Sequence[str]) -> set[str]:
        ids = [f"{model_version}/{movie_id}" for movie_id in movie_ids]
        known = find_by_ids(self._embeddings, ids, projection={"movie_id": 1})
        return {document["movie_id"] async for document in known}

    async def all(self, model_version: str) -> AsyncIterator[Embedding]:
        """Yields the embeddings of a model in no order; damaged ones have vectors of no length."""
        cursor = self._embeddings.find({"model_version": model_version}, batch_size=2000)
        async for document in cursor:
            yield Embedding(
                document["movie_id"],
                _vector(document["in_vector"]),
                _vector(document["out_vector"]),
                document["origin"],
            )

    async def count(self, model_version: str) -> int:
        """Returns how many movies have an embedding under a model."""
        return await self._embeddings.count_documents({"model_version": model_version})

    async def size(self) -> int:
        """Returns about how many embeddings there are of all models; cheaper than to count some."""
        return await self._embeddings.estimated_document_count()


def _vector(raw: bytes) -> NDArray[np.float32]:
    whole = raw if len(raw) % _LITTLE_ENDIAN.itemsize == 0 else b""
    return np.frombuffer(whole, dtype=_LITTLE_ENDIAN)


def _failed(failure: str) -> Document:
    return {"$set": {"status": int(ModelStatus.FAILED), "failure": failure, "finish_time": now()}}


def _to_model(document: Document, serving: str | None) -> Model:
    status = ModelStatus(document["status"])
    if status is ModelStatus.READY and document["_id"] == serving:
        status = ModelStatus.SERVING
    return Model(
        version=document["_id"],
        status=status,
        create_time=document["create_time"],
        progress=float(document.get("progress", 0.0)),
        metrics=document.get("metrics", {}),
        parameters=document.get("parameters", {}),
        interaction_count=document.get("interaction_count", 0),
        user_count=document.get("user_count", 0),
        movie_count=document.get("movie_count", 0),
        failure=document.get("failure", ""),
        finish_time=document.get("finish_time"),
    )
