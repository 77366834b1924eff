"""How the client of MongoDB is set up."""

from __future__ import annotations

import pytest
from pymongo.errors import PyMongoError

from mesh.mongo.client import connect
from mesh.mongo.migrations import object_schema


async def test_the_defaults_of_the_mesh() -> None:
    async with connect("mongodb://db:1/", "marquee-test") as client:
        assert client.options.timeout == 5
        assert client.options.pool_options.max_pool_size == 50
        assert client.options.pool_options.appname == "marquee-test"
        assert client.write_concern.document == {"w": "majority"}
        assert client.codec_options.tz_aware


async def test_limits_of_the_connection_string_go_first() -> None:
    uri = "mongodb://db:1/?timeoutms=900&maxPoolSize=7&w=1"
    async with connect(uri, "marquee-test") as client:
        assert client.options.timeout == 0.9
        assert client.options.pool_options.max_pool_size == 7
        assert client.options.server_selection_timeout == 3
        assert client.write_concern.document == {"w": "majority"}, "events must not be lost"


@pytest.mark.parametrize("uri", ["mongodb://", "mongodb://a:b:c@db", "mongodb://db:x"])
async def test_a_wrong_connection_string(uri: str) -> None:
    with pytest.raises((PyMongoError, ValueError)):
        connect(uri, "marquee-test")


def test_a_schema_names_what_is_required() -> None:
    assert object_schema({"a": "string"}, b=["int", "null"]) == {
        "bsonType": "object",
        "required": ["a"],
        "properties": {"a": {"bsonType": "string"}, "b": {"bsonType": ["int", "null"]}},
    }
