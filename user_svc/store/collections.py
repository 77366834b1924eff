"""The collections as the code expects them."""

from __future__ import annotations

from pymongo import IndexModel

from mesh.mongo.migrations import CollectionSpec, object_schema

DATABASE = "marquee_user"
USERS = "users"
TOMBSTONES = "tombstones"
CREATIONS = "creations"
USER_CHANGES = "user_changes"
_NUMBER = ["int", "long"]

SPECS = (
    CollectionSpec(
        USERS,
        object_schema(
            {
                "_id": "string",
                "version": _NUMBER,
                "profile_version": _NUMBER,
                "preferences_version": _NUMBER,
                "profile": "object",
                "preferences": "object",
                "create_time": "date",
                "profile_time": "date",
            },
            preferences_time=["date", "null"],
            email_key="string",
        ),
        (
            IndexModel(
                [("email_key", 1)],
                name="unique_email",
                unique=True,
                partialFilterExpression={"email_key": {"$exists": True}},
            ),
            # One for each filter, in the order of its listing.
            IndexModel([("profile.locale", 1), ("_id", 1)], name="locale"),
            IndexModel([("profile.time_zone", 1), ("_id", 1)], name="time_zone"),
            IndexModel([("create_time", 1), ("_id", 1)], name="creation"),
        ),
    ),
    # The versions of deleted users, so that a user of the same id goes on from there.
    CollectionSpec(
        TOMBSTONES, object_schema({"_id": "string", "version": _NUMBER, "delete_time": "date"})
    ),
    # By caller and request id; see `user_svc.store.rows.creation_key`.
    CollectionSpec(
        CREATIONS,
        object_schema(
            {"_id": "string", "user_id": "string"},
            fingerprint="string",
            account=["object", "null"],
        ),
        (IndexModel([("user_id", 1)]),),
    ),
    # The audit trail, one row a change; of a deleted user only the last one is left.
    CollectionSpec(
        USER_CHANGES,
        object_schema(
            {
                "_id": "string",
                "user_id": "string",
                "version": _NUMBER,
                "time": "date",
                "actor": "string",
                "method": "string",
                "fields": "array",
                "etag": "string",
                "request_id": "string",
                "trace_id": "string",
            }
        ),
        (IndexModel([("user_id", 1), ("version", -1)], name="trail", unique=True),),
    ),
)
