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
from mesh.times import now
from reco_svc.domain import Model, ModelStatus
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
        """Writes a model that begins its training."""
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

    async def training(self, *, alive_seconds: float) -> str | None:
        """Returns the version in training whose process gave a sign of life, if there is one."""
        document = await self._models.find_one(
            {
                "status": int(ModelStatus.TRAINING),
                "heartbeat_time": {"$gte": now() - timedelta(seconds=alive_seconds)},
            }
        )
        return None if document is None else str(document["_id"])

    async def report(self, version: str, progress: float) -> None:
        """Notes the progress of a training, which is also its sign of life."""
        await self._models.update_one(
            {"_id": version, "status": int(ModelStatus.TRAINING)},
            {"$set": {"progress": progress, "heartbeat_time": now()}},
        )

    async def finish(self, model: Model) -> None:
        """Notes the end of a training: READY with its measures, or FAILED with the reason."""
        await self._models.update_one(
            {"_id": model.version, "status": int(ModelStatus.TRAINING)},
            {
                "$set": {
                    "status": int(model.status),
                    "progress": model.progress,
                    "metrics": dict(model.metrics),
                    "parameters": dict(model.parameters),
                    "interaction_count": model.interaction_count,
                    "user_count": model.user_count,
                    "movie_count": model.movie_count,
                    "failure": model.failure,
                    "finish_time": model.finish_time,
                }
            },
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

    async def serving_version(self) -> str | None:
        """Returns the version of the serving model, or None before the first promotion."""
        document = await self._serving.find_one({"_id": _SERVING_ID})
        return None if document is None else str(document["model_version"])

    async def promote(self, version: str, promote_time: datetime, session: Session) -> int:
        """Makes a model the serving one and returns how many promotions there have been."""
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
        cursor = self._embeddings.find(
            {"_id": {"$in": [f"{model_version}/{movie_id}" for movie_id in movie_ids]}},
            {"movie_id": 1},
        )
        return {document["movie_id"] async for document in cursor}

    async def all(self, model_version: str) -> AsyncIterator[Embedding]:
        """Yields the embeddings of a model by movie id."""
        cursor = self._embeddings.find({"model_version": model_version}, batch_size=2000)
        async for document in cursor.sort("movie_id", 1):
            yield Embedding(
                document["movie_id"],
                np.frombuffer(document["in_vector"], dtype=_LITTLE_ENDIAN),
                np.frombuffer(document["out_vector"], dtype=_LITTLE_ENDIAN),
                document["origin"],
            )

    async def count(self, model_version: str) -> int:
        """Returns how many movies have an embedding under a model."""
        return await self._embeddings.count_documents({"model_version": model_version})


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
