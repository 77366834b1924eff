"""The user service, wired."""

from __future__ import annotations

import asyncio

from marquee.user.v1 import user_service_pb2 as pb
from marquee.user.v1 import user_service_pb2_grpc

from mesh.app import Application
from mesh.auth.peer_tokens import peer_tokens
from mesh.messaging import Messaging
from mesh.mongo.database import open_database
from mesh.outbox.store import OUTBOX_SPECS, Outbox
from mesh.peers import open_channel
from mesh.server import Registration
from user_svc.holders.channels import Channels
from user_svc.holders.own import OwnHolder
from user_svc.holders.peers import notify_holder, reco_holder
from user_svc.rpc import UserServicer
from user_svc.service.export import ExportService
from user_svc.service.ports import HolderOf
from user_svc.service.users import UserService
from user_svc.settings import UserSettings
from user_svc.store import DATABASE, SPECS, MongoAccounts

NAME = "marquee-user"


async def bootstrap(settings: UserSettings) -> Application:
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
    accounts = MongoAccounts(mongo.database, outbox)
    token_source = peer_tokens(settings)
    reco, notify = (
        open_channel(target, token_source=token_source, tls=settings.peer_tls)
        for target in (settings.reco_target, settings.notify_target)
    )
    holders: list[HolderOf[pb.ExportedRecord]] = [
        OwnHolder(accounts),
        reco_holder(reco),
        notify_holder(notify),
    ]
    servicer = UserServicer(UserService(accounts), ExportService(holders))
    registration = Registration(
        "marquee.user.v1.UserService",
        servicer,
        user_service_pb2_grpc.add_UserServiceServicer_to_server,
    )
    return Application(
        [registration], [mongo, Channels([reco, notify]), *messaging.components], failure=failure
    )
