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
import contextlib
from collections.abc import Awaitable, Callable, Sequence

import structlog

from mesh.app import Component
from mesh.errors import Code, MeshError
from mesh.events import Event, UndecodableEventError, from_record
from mesh.kafka.backoff import Backoff
from mesh.kafka.consumer import ConsumerOptions, ConsumerRuntime
from mesh.kafka.dead_letters import KafkaDeadLetters
from mesh.kafka.errors import (
    BrokerUnavailableError,
    PoisonRecord,
    TopicSetupError,
    default_is_transient,
)
from mesh.kafka.producer import EventPublisher
from mesh.kafka.record import IncomingRecord
from mesh.kafka.topics import ensure_topics
from mesh.outbox.relay import OutboxRelay
from mesh.outbox.store import Outbox
from mesh.settings import MeshSettings
from mesh.telemetry.messaging import process_span

EventHandler = Callable[[Event], Awaitable[None]]
"""Handles one event. It may see an event again and must then change nothing more.

What it raises decides, as for `ConsumerRuntime`: `PoisonRecord` makes a dead letter of the event at
once; trouble that passes (of the network, MongoDB or Kafka, `RetryLater`, and the mesh errors
UNAVAILABLE, ABORTED, DEADLINE_EXCEEDED and RESOURCE_EXHAUSTED) brings it again for ever, with
later events of its key waiting behind it; anything else a few times, then it is a dead letter.
"""

_PASSING_CODES = frozenset(
    {Code.UNAVAILABLE, Code.ABORTED, Code.DEADLINE_EXCEEDED, Code.RESOURCE_EXHAUSTED}
)
_WATCH_SECONDS = 1.0
_TOPICS_SECONDS = 3.0  # short: the process cannot end while a thread waits for the broker
_log = structlog.get_logger(__name__)


def is_transient(error: BaseException) -> bool:
    """Tells whether an error of a handler passes by itself; see `EventHandler`."""
    if isinstance(error, MeshError):
        return error.code in _PASSING_CODES
    return default_is_transient(error)


class EventConsumer:
    """A member of a consumer group that hands decoded events to a handler.

    Each event is handled inside a `process` span in the trace of its cause. A record that is no
    event becomes a dead letter.
    """

    def __init__(
        self,
        settings: MeshSettings,
        *,
        client_id: str,
        group: str,
        topics: Sequence[str],
        handler: EventHandler,
        publisher: EventPublisher,
        failure: asyncio.Event,
    ) -> None:
        """Prepares the member.

        Args:
            settings: Broker and session timeout.
            client_id: Names this client in the broker's logs.
            group: The consumer group, for example `marquee-notify`.
            topics: What to subscribe to.
            handler: Called for each event; those of one key come one after the other, of different
                keys side by side.
            publisher: Sends dead letters; started before and closed after this component.
            failure: Set when the consumer cannot go on; give `Application.failure`.
        """
        self._bootstrap = settings.kafka_bootstrap
        self._group = group
        self._handler = handler
        self._failure = failure
        self._task: asyncio.Task[None] | None = None
        self._running = False
        self.runtime = ConsumerRuntime(
            settings.kafka_bootstrap,
            group,
            topics,
            self._handle,
            KafkaDeadLetters(publisher, group),
            options=ConsumerOptions(
                session_timeout_ms=settings.kafka_session_timeout_ms, client_id=client_id
            ),
            is_transient=is_transient,
        )

    async def start(self) -> None:
        """Begins to consume in the background; returns without waiting for the broker."""
        self._task = asyncio.create_task(self._run(), name=f"{self._group}-consumer")

    async def stop(self) -> None:
        """Finishes the events under way, commits, and leaves the group."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        if self._running:
            self._running = False
            await self.runtime.stop()

    async def _run(self) -> None:
        try:
            await self._have_topics()
            await self.runtime.start()
            self._running = True
            while self.runtime.healthy():  # noqa: ASYNC110  # a thread's health has no event
                await asyncio.sleep(_WATCH_SECONDS)
            _log.error("consumer hangs; the process ends", group=self._group)
        except Exception:
            _log.exception("consumer cannot go on; the process ends", group=self._group)
        self._failure.set()

    async def _have_topics(self) -> None:
        """Waits until the broker has the topics, which a group joins faster when they exist."""
        failures = 0
        while True:
            try:
                return await ensure_topics(self._bootstrap, timeout_seconds=_TOPICS_SECONDS)
            except BrokerUnavailableError as error:
                failures += 1
                if failures == 1:
                    _log.warning("consumer waits for Kafka", group=self._group, error=str(error))
                await asyncio.sleep(Backoff().seconds(failures))
            except TopicSetupError as error:
                # Not ours to create, perhaps: the group takes those that are there.
                _log.warning("topics cannot be created", group=self._group, error=str(error))
                return None

    async def _handle(self, record: IncomingRecord) -> None:
        try:
            event = from_record(record)
        except UndecodableEventError as error:
            raise PoisonRecord(str(error)) from error
        with process_span(
            record.topic,
            group=self._group,
            partition=record.partition,
            offset=record.offset,
            key=event.subject,
            message_id=event.id,
            traceparent=event.traceparent,
        ):
            await self._handler(event)


class Messaging:
    """Builds the relay and the consumers of one service and keeps them in the order to start."""

    def __init__(
        self, settings: MeshSettings, service_name: str, *, failure: asyncio.Event
    ) -> None:
        """Takes what they share.

        Args:
            settings: Broker, session timeout, and the name of this replica.
            service_name: For example `marquee-user`.
            failure: Set when a component cannot go on; give the same to `Application`.
        """
        self._settings = settings
        self._failure = failure
        self._client_id = f"{service_name}-{settings.instance_id}"
        self.publisher = EventPublisher(settings.kafka_bootstrap, self._client_id)
        self._components: list[Component] = [_Publishing(self.publisher)]

    @property
    def components(self) -> Sequence[Component]:
        """Everything built so far, in the order to start it; give it to `Application`."""
        return tuple(self._components)

    def relay(self, outbox: Outbox) -> OutboxRelay:
        """Has the rows of an outbox published."""
        relay = OutboxRelay(outbox, self.publisher, self._settings.instance_id)
        self._components.append(relay)
        return relay

    def consume(self, group: str, topics: Sequence[str], handler: EventHandler) -> EventConsumer:
        """Has the events of some topics handled; see `EventConsumer` and `EventHandler`."""
        consumer = EventConsumer(
            self._settings,
            client_id=self._client_id,
            group=group,
            topics=topics,
            handler=handler,
            publisher=self.publisher,
            failure=self._failure,
        )
        self._components.append(consumer)
        return consumer


class _Publishing:
    """The publisher as a component."""

    def __init__(self, publisher: EventPublisher) -> None:
        self._publisher = publisher

    async def start(self) -> None:
        await self._publisher.start()

    async def stop(self) -> None:
        await self._publisher.close()
