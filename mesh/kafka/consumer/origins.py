"""What the positions of a consumer belong to, and whether that still exists."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from kafka import TopicPartition

from mesh.kafka.client import ClientHolder


class SessionLostError(Exception):
    """What a session believes about its group or its topics is no longer so; make a new one."""


@dataclass(frozen=True, slots=True)
class _Origin:
    member_id: str
    topic_id: UUID | None


class Origins:
    """Under which membership, and from which log, each partition is read.

    A broker that comes back without its memory (Tansu keeps everything there) leaves positions and
    offsets behind that must neither be used nor committed. kafka-python says that a membership is
    lost only if no rejoining gets in first, and Tansu takes a member of its former life back under
    its old id as if nothing had been. What cannot be mistaken is the id that a topic gets when it
    is created; metadata, which carries it, is asked for again whenever a connection was lost. (A
    topic that is deleted and made anew while the connection holds is noticed with the next
    metadata, seconds later; an offset committed in between may skip its first records.)
    """

    def __init__(self, holder: ClientHolder) -> None:
        """Takes the client whose metadata to look at."""
        self._holder = holder
        self._origins: dict[TopicPartition, _Origin] = {}

    def note(self, partitions: Collection[TopicPartition], member_id: str) -> None:
        """Notes partitions that a member with this id reads now.

        Raises:
            SessionLostError: One of them was read under another identity.
        """
        for partition in partitions:
            origin = self._origins.setdefault(partition, self._now(partition, member_id))
            if origin.member_id != member_id:
                raise SessionLostError("the group has given this member a new identity")

    def verify(self) -> None:
        """Looks whether the noted partitions are still those of the same log.

        Raises:
            SessionLostError: One is not, or its topic does not exist any more.
        """
        for partition, origin in self._origins.items():
            if self._holder.cluster.topic_id(partition.topic) != origin.topic_id:
                raise SessionLostError(f"topic {partition.topic} is not the one it was")

    def in_doubt(self) -> bool:
        """Whether newer metadata is on its way."""
        return bool(self._holder.cluster.need_update)

    def vouch_for(self, partition: TopicPartition, member_id: str) -> bool:
        """Whether an offset of this partition may be committed by a member with this id."""
        return not self.in_doubt() and self._origins.get(partition) == self._now(
            partition, member_id
        )

    def forget(self, partitions: Collection[TopicPartition]) -> None:
        """Forgets partitions that are given up or lost."""
        for partition in partitions:
            self._origins.pop(partition, None)

    def _now(self, partition: TopicPartition, member_id: str) -> _Origin:
        return _Origin(member_id, self._holder.cluster.topic_id(partition.topic))
