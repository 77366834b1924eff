"""What the notification service does, over ports that the adapters fill."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from mesh.errors import Unavailable
from mesh.telemetry.context import current_traceparent
from mesh.telemetry.spans import span
from mesh.times import now
from notify_svc.domain import ListChange, Notification, Plan, Recipient
from notify_svc.planner import plan_list_change

ResultT = TypeVar("ResultT")
_MISSED_AT_A_TIME = 100


class Transaction(Protocol):
    """What one transaction of the planning may read and write."""

    async def is_planned(self, change: ListChange) -> bool:
        """Tells whether the event has been planned for that person."""

    async def recipient(self, user_id: str) -> Recipient:
        """Returns what is known of a person; defaults if that is nothing."""

    async def keep(self, plan: Plan) -> None:
        """Stores deliveries and notification, which gets the person's next sequence number."""


class Notifications(Protocol):
    """Where notifications and what is known of their recipients are kept."""

    async def transaction(self, work: Callable[[Transaction], Awaitable[ResultT]]) -> ResultT:
        """Commits all that `work` does, or nothing; `work` may run several times."""

    async def learn(self, recipient: Recipient) -> bool:
        """Keeps what is known of a person, unless something newer is known; tells whether it did.

        A deleted recipient's notifications and deliveries are removed.
        """

    async def page(
        self, user_id: str, *, before: int | None, limit: int, unread_only: bool
    ) -> list[Notification]:
        """Returns listed notifications with sequences under `before`, newest first."""

    async def unread(self, user_id: str) -> int:
        """Counts the listed notifications that are not read."""

    async def mark_read(self, user_id: str, ids: Collection[str], moment: datetime) -> int:
        """Marks listed notifications as read; returns how many became so."""

    async def last_sequence(self, user_id: str) -> int:
        """Returns the sequence number of a person's newest notification, or 0."""

    async def between(
        self, user_id: str, *, after: int, until: int, limit: int
    ) -> list[Notification]:
        """Returns all notifications with `after` < sequence <= `until`, oldest first."""


class Subscription(Protocol):
    """One device's wait for news.

    Attributes:
        position: The sequence number up to which the device has been told.
    """

    position: int

    @property
    def ended(self) -> bool:
        """Whether the stream must end, since the server is about to."""

    async def wait(self, seconds: float) -> bool:
        """Waits until there may be news or the stream must end; False if the time ran out."""


class Live(Protocol):
    """Wakes the devices of a person."""

    def wake(self, user_id: str) -> None:
        """Tells the person's devices that there may be news."""

    def subscribe(self, user_id: str) -> AbstractContextManager[Subscription]:
        """Registers a device for as long as the context lasts."""


@dataclass(frozen=True, slots=True)
class StreamMessage:
    """One message of a live stream.

    Attributes:
        position: Resume after this sequence number.
        notification: What arrived; None for a heartbeat.
    """

    position: int
    notification: Notification | None = None


class NotificationService:
    """The use cases of notifications."""

    def __init__(
        self,
        notifications: Notifications,
        live: Live,
        *,
        heartbeat_seconds: float = 15.0,
        clock: Callable[[], datetime] = now,
    ) -> None:
        """Takes the store, the live side, the pause between heartbeats, and what time it is."""
        self._notifications = notifications
        self._live = live
        self._heartbeat_seconds = heartbeat_seconds
        self._clock = clock

    async def learn(self, recipient: Recipient) -> bool:
        """Keeps what is known of a person; late and repeated news change nothing."""
        return await self._notifications.learn(recipient)

    async def plan(self, change: ListChange) -> Plan | None:
        """Plans and stores what an event leads to, once however often it comes.

        Returns:
            The plan, or None if it was made before.
        """
        with span("plan notification") as planning:
            traceparent = current_traceparent()

            async def work(transaction: Transaction) -> Plan | None:
                if await transaction.is_planned(change):
                    return None
                recipient = await transaction.recipient(change.user_id)
                plan = plan_list_change(
                    change, recipient, moment=self._clock(), traceparent=traceparent
                )
                listed = plan.notification is not None and plan.notification.listed
                with span("deliver inbox") if listed else nullcontext():
                    await transaction.keep(plan)
                return plan

            plan = await self._notifications.transaction(work)
            planning.set_attribute("marquee.notification.planned_before", plan is None)
        if plan is not None and plan.notification is not None:
            self._live.wake(change.user_id)
        return plan

    async def page(
        self, user_id: str, *, before: int | None, limit: int, unread_only: bool
    ) -> tuple[list[Notification], bool]:
        """Returns a page of an inbox, newest first, and whether there is more.

        Args:
            user_id: Whose.
            before: The sequence number under which to begin; None: the newest.
            limit: How many at most.
            unread_only: Whether to leave out what has been read.
        """
        found = await self._notifications.page(
            user_id, before=before, limit=limit + 1, unread_only=unread_only
        )
        return found[:limit], len(found) > limit

    async def unread(self, user_id: str) -> int:
        """Counts what a person has not read."""
        return await self._notifications.unread(user_id)

    async def mark_read(self, user_id: str, ids: Collection[str]) -> tuple[int, int]:
        """Marks notifications as read.

        Returns:
            How many became read, and how many are still unread.
        """
        marked = await self._notifications.mark_read(user_id, ids, self._clock())
        return marked, await self._notifications.unread(user_id)

    async def subscribe(
        self, user_id: str, after: int | None
    ) -> AsyncGenerator[StreamMessage, None]:
        """Streams a person's notifications; never ends by itself.

        The first message is a heartbeat with the position from which the stream goes on.

        Args:
            user_id: Whose.
            after: The last sequence number that was handled; None: from now on.

        Raises:
            Unavailable: The server is about to end; subscribe elsewhere with the last position.
        """
        with self._live.subscribe(user_id) as subscription:
            _end_if_draining(subscription)
            last = await self._notifications.last_sequence(user_id)
            # A greater position is from before the inbox was lost; what comes now is news.
            subscription.position = last if after is None else min(after, last)
            yield StreamMessage(subscription.position)
            while True:
                async for notification in self._news(user_id, subscription):
                    yield StreamMessage(notification.sequence, notification)
                if not await subscription.wait(self._heartbeat_seconds):
                    yield StreamMessage(subscription.position)
                _end_if_draining(subscription)

    async def _news(self, user_id: str, subscription: Subscription) -> AsyncIterator[Notification]:
        """Yields what is streamed beyond the position, and moves it."""
        last = await self._notifications.last_sequence(user_id)
        while subscription.position < last:
            found = await self._notifications.between(
                user_id, after=subscription.position, until=last, limit=_MISSED_AT_A_TIME
            )
            for notification in found:
                if notification.streamed:
                    yield notification
                subscription.position = notification.sequence
            if len(found) < _MISSED_AT_A_TIME:
                subscription.position = last


def _end_if_draining(subscription: Subscription) -> None:
    if subscription.ended:
        raise Unavailable(
            "DRAINING",
            "this server is going away; subscribe again with the last cursor",
            retry_after=0.5,
        )
