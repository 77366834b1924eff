"""The Kafka side of a service: decoded events in, the outbox out, wired from the settings.

    messaging = Messaging(settings, "marquee-notify", failure=failure)
    messaging.consume("marquee-notify", [topics.USER_EVENTS], handler)
    messaging.relay(outbox)
    Application([...], [mongo, *messaging.components], failure=failure)

A broker that is away never keeps a service from starting: every component here retries behind the
back of the RPCs, which go on serving.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from mesh.app import Component
from mesh.events import Event, UndecodableEventError, from_record
from mesh.kafka.consumer import ConsumerRuntime, PoisonRecord
from mesh.kafka.producer import EventPublisher
from mesh.kafka.record import IncomingRecord
from mesh.outbox.relay import OutboxRelay
from mesh.outbox.store import Outbox
from mesh.settings import MeshSettings
from mesh.telemetry.messaging import process_span

EventHandler = Callable[[Event], Awaitable[None]]
"""Handles one event. It may see an event again and must then change nothing.

It raises `PoisonRecord` for an event that no retry can handle; after any other exception the same
event comes again, later, with nothing after it on the same key handled before.
"""

__all__ = ["EventConsumer", "EventHandler", "Messaging", "PoisonRecord"]


class EventConsumer:
    """A member of a consumer group that hands decoded events to a handler."""

    def __init__(
        self,
        settings: MeshSettings,
        *,
        group: str,
        topics: Sequence[str],
        handler: EventHandler,
        failure: asyncio.Event,
    ) -> None:
        """Prepares the member.

        Args:
            settings: Broker, session timeout and the name of this replica.
            group: The consumer group, for example `marquee-notify`.
            topics: What to subscribe to.
            handler: Called once per event, events of one key one after the other.
            failure: Set when the consumer cannot go on; give `Application.failure`.
        """
        raise NotImplementedError

    async def start(self) -> None:
        """Begins to consume in the background; returns without waiting for the broker."""

    async def stop(self) -> None:
        """Finishes the events under way, commits, and leaves the group."""


class Messaging:
    """Builds publishers, relays and consumers, and keeps them in the order of their start.

    Attributes:
        failure: Set when a component cannot go on; give it to `Application`.
    """

    def __init__(
        self, settings: MeshSettings, service_name: str, *, failure: asyncio.Event
    ) -> None:
        """Takes the settings and the name of the service, for example `marquee-user`."""
        raise NotImplementedError

    @property
    def components(self) -> Sequence[Component]:
        """Everything built so far, in the order to start it; give it to `Application`."""
        raise NotImplementedError

    @property
    def publisher(self) -> EventPublisher:
        """The publisher of this process, made when first asked for."""
        raise NotImplementedError

    def relay(self, outbox: Outbox) -> OutboxRelay:
        """Has the rows of an outbox published."""
        raise NotImplementedError

    def consume(self, group: str, topics: Sequence[str], handler: EventHandler) -> EventConsumer:
        """Has events handled; see `EventConsumer`."""
        raise NotImplementedError
