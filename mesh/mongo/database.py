"""The database of a service: connected, checked, migrated, and closed at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pymongo.asynchronous.database import AsyncDatabase

from mesh.mongo.client import Client, Document, connect, require_replica_set
from mesh.mongo.migrations import CollectionSpec, migrate


@dataclass(frozen=True, slots=True)
class ServiceDatabase:
    """An open database; as the first component of an application it is closed last.

    Attributes:
        client: The client of the event loop.
        database: The database of the service.
    """

    client: Client
    database: AsyncDatabase[Document]

    async def start(self) -> None:
        """Does nothing: `open_database` has done it."""

    async def stop(self) -> None:
        """Closes the client."""
        await self.client.close()


async def open_database(
    uri: str, name: str, specs: Sequence[CollectionSpec], *, app_name: str
) -> ServiceDatabase:
    """Connects, checks that transactions are possible, and migrates.

    Args:
        uri: MongoDB connection string.
        name: Name of the database, for example `marquee_user`.
        specs: Its collections.
        app_name: How the server's logs name this client.

    Raises:
        NotAReplicaSetError: The server is a standalone one.
        PyMongoError: The server does not answer or refuses; nothing stays open.
    """
    client = connect(uri, app_name)
    try:
        await require_replica_set(client)
        await migrate(client[name], specs)
    except BaseException:
        await client.close()
        raise
    return ServiceDatabase(client, client[name])
