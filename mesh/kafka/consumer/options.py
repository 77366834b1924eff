"""How a consumer should behave."""

from __future__ import annotations

from dataclasses import dataclass, field

from mesh.kafka.backoff import Backoff


@dataclass(frozen=True, slots=True)
class ConsumerOptions:
    """Settings of one consumer; durations in seconds unless named otherwise.

    Attributes:
        session_timeout_ms: How soon a dead member is noticed. Tansu also holds a joining group for
            half of it.
        group_instance_id: A name that stays the same across restarts, so that a short one does not
            rebalance the group; None for a new name each time.
        client_id: Names this client in the broker's logs and metrics.
        concurrency: How many handlers run at once.
        pending_per_partition: How many records of a partition may be handed over beyond its lowest
            unfinished one; then the partition is paused.
        max_attempts: How often a record is tried before it becomes a dead letter, if its errors are
            not transient.
        backoff: The waits between attempts.
        commit_interval: How often finished offsets are committed.
        revoke_grace: How long handlers may go on when their partition is taken away, before they
            are cancelled.
        watchdog: After how long without a turn the polling thread counts as dead.
    """

    session_timeout_ms: int = 30_000
    group_instance_id: str | None = None
    client_id: str = "marquee"
    concurrency: int = 32
    pending_per_partition: int = 500
    max_attempts: int = 5
    backoff: Backoff = field(default_factory=Backoff)
    commit_interval: float = 1.0
    revoke_grace: float = 5.0
    watchdog: float = 30.0
