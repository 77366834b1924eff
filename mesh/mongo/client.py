"""The client every service uses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

import pymongo
from pymongo import AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import PyMongoError
from pymongo.write_concern import WriteConcern

from mesh.deadline import remaining_seconds, share_of_the_database

Document = dict[str, Any]
Client = AsyncMongoClient[Document]
Session = AsyncClientSession
ResultT = TypeVar("ResultT")

OPERATION_SECONDS: Final = 5.0
"""How long one operation may take, outside of a call with less time."""

_TRANSACTION_SECONDS: Final = 30.0
_LIMITS: Final[Mapping[str, Any]] = {
    "timeoutMS": int(OPERATION_SECONDS * 1000),
    "serverSelectionTimeoutMS": 3000,
    "maxPoolSize": 50,
}


class NotAReplicaSetError(Exception):
    """The server is a standalone one: it has no transactions and no change streams."""


def connect(uri: str, app_name: str) -> Client:
    """Makes a client; it connects when first used.

    Every operation is bounded by `OPERATION_SECONDS` unless a deadline leaves it less, and is
    acknowledged by a majority. Call it after `setup_telemetry`: earlier clients are not traced.

    Args:
        uri: MongoDB connection string; its `timeoutMS`, `serverSelectionTimeoutMS` and
            `maxPoolSize` go before the defaults of the mesh.
        app_name: How the server's logs name this client.

    Raises:
        PyMongoError: The connection string is wrong.
    """
    given = {option.partition("=")[0].lower() for option in uri.partition("?")[2].split("&")}
    limits = {name: value for name, value in _LIMITS.items() if name.lower() not in given}
    return AsyncMongoClient(
        uri,
        appname=app_name,
        w="majority",
        tz_aware=True,
        uuidRepresentation="standard",
        **limits,
    )


async def require_replica_set(client: Client) -> None:
    """Checks that transactions are possible.

    Raises:
        NotAReplicaSetError: The server is neither a replica set member nor a mongos.
        PyMongoError: The server does not answer.
    """
    hello: Mapping[str, Any] = await client.admin.command("hello")
    if "setName" not in hello and hello.get("msg") != "isdbgrid":
        raise NotAReplicaSetError(
            "MongoDB must be a replica set (one member is enough: start mongod with --replSet and "
            "run rs.initiate()), since state and events are written in one transaction"
        )


async def in_transaction(
    client: Client, callback: Callable[[AsyncClientSession], Awaitable[ResultT]]
) -> ResultT:
    """Runs a callback in a transaction, again if it lost against another one.

    Args:
        client: The client of the event loop.
        callback: Takes the session and must give it to every operation. It may run several times,
            so it must do nothing but database operations.

    Returns:
        What the callback returned in the run that was committed.

    Raises:
        PyMongoError: The database does not answer, or other transactions were faster, for as long
            as the deadline of the call allows, or for 30 s.
    """
    # Left alone, pymongo tries again for two minutes, also when there is no server to be found.
    remaining = remaining_seconds()
    limit = _TRANSACTION_SECONDS if remaining is None else share_of_the_database(remaining)
    with pymongo.timeout(max(limit, 0.001)):  # 0 would mean: without limit
        async with client.start_session() as session:
            return await session.with_transaction(callback, write_concern=WriteConcern("majority"))


async def ping(client: Client) -> bool:
    """Tells whether the server answers."""
    try:
        await client.admin.command("ping")
    except PyMongoError:
        return False
    return True
