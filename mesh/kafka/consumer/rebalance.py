"""What kafka-python calls on its I/O thread when the group's partitions are shared out anew."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Protocol

from kafka import TopicPartition
from kafka.consumer.subscription_state import AsyncConsumerRebalanceListener
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor


class Owner(Protocol):
    """Who is told of partitions that go. Its coroutines run in kafka-python's own event loop."""

    async def give_up(self, partitions: Collection[TopicPartition]) -> None:
        """They will go to another member once this returns."""

    async def lose(self, partitions: Collection[TopicPartition]) -> None:
        """They may belong to another member already."""


class RebalanceListener(AsyncConsumerRebalanceListener):  # type: ignore[misc]  # untyped library
    """Tells an owner what it gives up."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Nothing to do: what is owned is looked at after every poll."""

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """The member owns them until this returns."""
        await self._owner.give_up(revoked)

    async def on_partitions_lost(self, lost: Collection[TopicPartition]) -> None:
        """The member was expelled from the group."""
        await self._owner.lose(lost)


class WatchfulAssignor(CooperativeStickyAssignor):  # type: ignore[misc]  # untyped library
    """The cooperative sticky assignor, with a word before every request to join the group."""

    def __init__(self, before_joining: Callable[[], None]) -> None:
        """Takes what to call before joining; an exception prevents it and comes out of poll."""
        super().__init__()
        self._before_joining = before_joining

    def metadata(self, topics: Collection[str]) -> Any:
        """Returns what the member tells its group."""
        self._before_joining()
        return super().metadata(topics)

    def forget(self) -> None:
        """Claims nothing at the next joining.

        kafka-python would go on claiming partitions that it was told are lost.
        """
        self.member_assignment = None
