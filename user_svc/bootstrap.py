"""The user service, wired."""

from __future__ import annotations

import asyncio

from marquee.user.v1 import user_service_pb2_grpc

from mesh.app import Application
from mesh.messaging import Messaging
from mesh.mongo.database import open_database
from mesh.outbox.store import OUTBOX_SPECS, Outbox
from mesh.server import Registration
from mesh.settings import MeshSettings
from user_svc.rpc import UserServicer
from user_svc.service import UserService
from user_svc.store import DATABASE, SPECS, MongoAccounts

NAME = "marquee-user"


async def bootstrap(settings: MeshSettings) -> Application:
    """Builds the service.

    Raises:
        NotAReplicaSetError: The database has no transactions.
        PyMongoError: The database does not answer or refuses.
    """
    failure = asyncio.Event()
    mongo = await open_database(
        settings.mongodb_uri, DATABASE, [*SPECS, *OUTBOX_SPECS], app_name=NAME
    )
    outbox = Outbox(mongo.client, mongo.database)
    messaging = Messaging(settings, NAME, failure=failure)
    messaging.relay(outbox)
    servicer = UserServicer(UserService(MongoAccounts(mongo.database, outbox)))
    registration = Registration(
        "marquee.user.v1.UserService",
        servicer,
        user_service_pb2_grpc.add_UserServiceServicer_to_server,
    )
    return Application([registration], [mongo, *messaging.components], failure=failure)
