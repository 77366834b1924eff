"""The thread that owns the KafkaConsumer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

import structlog
from kafka import TopicPartition

from mesh.kafka.backoff import Backoff
from mesh.kafka.consumer.offsets import PartitionLag
from mesh.kafka.consumer.origins import SessionLostError
from mesh.kafka.consumer.session import ConsumerSession

_log = structlog.get_logger(__name__)


class Poller:
    """Keeps a session going: polls it, and makes a new one when it fails.

    `beat_age` says how long ago the thread last took a turn; polling may hang inside kafka-python
    (a batch whose checksum is wrong does that), and nobody can free it from outside.
    """

    def __init__(
        self,
        name: str,
        make_session: Callable[[], ConsumerSession],
        after_session: Callable[[], None],
    ) -> None:
        """Takes how to make a session and what to do once one has ended.

        Args:
            name: The thread's name.
            make_session: Connects; runs in the thread and may raise.
            after_session: Drops what a session has left behind; runs in the thread.
        """
        self._make_session = make_session
        self._after_session = after_session
        self._draining = threading.Event()
        self._ending = threading.Event()
        self._session: ConsumerSession | None = None
        self._assigned: frozenset[TopicPartition] = frozenset()
        self._beat = time.monotonic()
        self._backoff = Backoff(first=0.2, longest=5.0)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._beat = time.monotonic()
        self._thread.start()

    def drain(self) -> None:
        """Takes no more records, but stays in the group and commits."""
        self._draining.set()

    def end(self, timeout: float) -> bool:
        """Commits, leaves the group and ends the thread; blocks.

        Returns:
            Whether the thread ended within `timeout` seconds.
        """
        self._draining.set()
        self._ending.set()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def beat_age(self) -> float:
        """Seconds since the thread last took a turn or tried to connect."""
        return time.monotonic() - self._beat

    @property
    def assigned(self) -> frozenset[TopicPartition]:
        """The partitions that the session owned after its last turn."""
        return self._assigned

    @property
    def lag(self) -> Mapping[TopicPartition, PartitionLag]:
        """How far each of them is."""
        session = self._session
        return {} if session is None else session.lag

    def _run(self) -> None:
        failures = 0
        while not self._ending.is_set():
            self._beat = time.monotonic()
            try:
                session = self._session = self._make_session()
                try:
                    while not self._ending.is_set():
                        session.turn(draining=self._draining.is_set())
                        self._assigned = session.assigned
                        self._beat = time.monotonic()
                        failures = 0
                finally:
                    self._session = None
                    self._assigned = frozenset()
                    session.close()
            except SessionLostError as error:
                failures = 0
                _log.warning("Kafka session starts again", why=str(error))
            except Exception as error:  # whatever it was, the next session may do better
                failures += 1
                _log.warning(
                    "Kafka session failed",
                    error=f"{type(error).__name__}: {error}",
                    failures=failures,
                )
            self._after_session()
            if not self._ending.is_set():
                self._ending.wait(self._backoff.seconds(max(1, failures)))
