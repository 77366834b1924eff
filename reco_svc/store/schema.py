"""The collections as the code expects them."""

from __future__ import annotations

from pymongo import IndexModel

from mesh.mongo.migrations import CollectionSpec, object_schema
from mesh.outbox.store import OUTBOX_SPECS
from reco_svc.domain import ModelStatus

DATABASE = "marquee_reco"
MOVIES = "movies"
INTERACTIONS = "interactions"
INTERACTION_BATCHES = "interaction_batches"
USER_STATE = "user_state"
USER_PROFILES = "user_profiles"
MODELS = "models"
SERVING = "serving"
EMBEDDINGS = "embeddings"
TOLD_LISTS = "told_lists"

_INTEGER: str | list[str] = ["int", "long"]
_NUMBER: str | list[str] = ["int", "long", "double"]

SPECS = (
    CollectionSpec(
        MOVIES,
        object_schema(
            {
                "_id": "string",
                "title": "string",
                "genres": "array",
                "year": _INTEGER,
                "languages": "array",
                "create_time": "date",
                "update_time": "date",
            }
        ),
        (IndexModel([("update_time", 1)]),),
    ),
    # One small document per person and event id makes recording idempotent; what happened stands in
    # batches, of which a person's lie next to each other. So neither needs a second index.
    CollectionSpec(INTERACTIONS, object_schema({"_id": "string", "batch": "string"})),
    CollectionSpec(
        INTERACTION_BATCHES,
        object_schema(
            {"_id": "string", "user_id": "string", "rows": "array", "record_time": "date"}
        ),
    ),
    # deleted_version: at which the user service deleted that person; nothing more is recorded then.
    CollectionSpec(
        USER_STATE,
        object_schema(
            {"_id": "string", "version": _INTEGER, "history": "array"},
            record_time="date",
            deleted_version=_INTEGER,
        ),
    ),
    CollectionSpec(
        USER_PROFILES,
        object_schema(
            {
                "_id": "string",
                "version": _INTEGER,
                "liked_genres": "array",
                "disliked_genres": "array",
            },
            deleted="bool",
        ),
    ),
    CollectionSpec(
        MODELS,
        object_schema(
            {"_id": "string", "status": _INTEGER, "create_time": "date"},
            progress=_NUMBER,
            metrics="object",
            parameters="object",
            failure="string",
            heartbeat_time="date",
        ),
        (
            IndexModel(
                [("status", 1)],
                name="one_in_training",
                unique=True,
                partialFilterExpression={"status": int(ModelStatus.TRAINING)},
            ),
        ),
    ),
    CollectionSpec(
        SERVING,
        object_schema(
            {
                "_id": "string",
                "model_version": "string",
                "sequence": _INTEGER,
                "promote_time": "date",
            }
        ),
    ),
    CollectionSpec(
        EMBEDDINGS,
        object_schema(
            {
                "_id": "string",
                "model_version": "string",
                "movie_id": "string",
                "in_vector": "binData",
                "out_vector": "binData",
                "origin": "string",
            }
        ),
        (IndexModel([("model_version", 1), ("movie_id", 1)], unique=True),),
    ),
    CollectionSpec(
        TOLD_LISTS,
        object_schema(
            {
                "_id": "string",
                "version": _INTEGER,
                "movie_ids": "array",
                "watermark": _INTEGER,
                "model_version": "string",
            }
        ),
    ),
    *OUTBOX_SPECS,
)
