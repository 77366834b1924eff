"""The notification service, wired."""

from __future__ import annotations

import asyncio

from marquee.notify.v1 import notification_service_pb2_grpc, personal_data_service_pb2_grpc

from mesh.app import Application
from mesh.messaging import Messaging
from mesh.mongo.database import open_database
from mesh.server import Registration
from notify_svc.events import GROUP, TOPICS, EventRouter
from notify_svc.live import LiveHub
from notify_svc.rpc.notifications import NotificationServicer
from notify_svc.rpc.personal_data import PersonalDataServicer
from notify_svc.service import NotificationService
from notify_svc.settings import NotifySettings
from notify_svc.store import DATABASE, SPECS, MongoNotifications
from notify_svc.store.personal_data import PersonalDataStore

NAME = "marquee-notify"


async def bootstrap(settings: NotifySettings) -> Application:
    """Builds the service.

    Raises:
        NotAReplicaSetError: The database has no transactions.
        PyMongoError: The database does not answer or refuses.
    """
    failure, draining = asyncio.Event(), asyncio.Event()
    mongo = await open_database(settings.mongodb_uri, DATABASE, SPECS, app_name=NAME)
    store = MongoNotifications(mongo.client, mongo.database)
    hub = LiveHub(store.last_sequences, draining=draining, sweep_seconds=settings.sweep_seconds)
    service = NotificationService(store, hub, heartbeat_seconds=settings.heartbeat_seconds)
    messaging = Messaging(settings, NAME, failure=failure)
    messaging.consume(GROUP, TOPICS, EventRouter(service).handle)
    registrations = [
        Registration(
            "marquee.notify.v1.NotificationService",
            NotificationServicer(service),
            notification_service_pb2_grpc.add_NotificationServiceServicer_to_server,
        ),
        Registration(
            "marquee.notify.v1.PersonalDataService",
            PersonalDataServicer(PersonalDataStore(mongo.database)),
            personal_data_service_pb2_grpc.add_PersonalDataServiceServicer_to_server,
        ),
    ]
    return Application(
        registrations,
        [mongo, hub, *messaging.components],
        failure=failure,
        draining=draining,
    )
