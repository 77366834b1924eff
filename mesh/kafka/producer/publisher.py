"""The publisher that services use."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from kafka.errors import KafkaError

from mesh.kafka.errors import NotSentError, TopicSetupError
from mesh.kafka.producer.chunks import chunks
from mesh.kafka.producer.session import Outcome, ProducerSession
from mesh.kafka.record import OutgoingRecord
from mesh.kafka.topics import TOPICS, TopicSpec


class EventPublisher:
    """Publishes batches of records and reports for each whether the broker acknowledged it.

    Order per key. A batch is sent in chunks small enough that all records of a chunk which go to
    one partition travel in one request: they are written together or not at all. Nothing leaves
    before its chunk is complete, because the producer lingers until it is flushed. The next chunk
    waits for the fate of the previous one, and once a record has failed, later records of its topic
    and key are held back and reported as `NotSentError`. So a caller that sends what failed again,
    in the same order and before anything newer, keeps every key in order.

    At least once. A record reported as failed may have been written all the same. kafka-python's
    idempotent producer would filter some of these duplicates, and is off on purpose: a broker that
    lost its memory hands out its producer ids anew, takes an older producer's records for repeats
    of another's, and answers DUPLICATE_SEQUENCE_NUMBER, which kafka-python reports as success: the
    record is lost without a trace. With one request in flight per connection, order does not need
    idempotence; duplicates carry the same event id.

    A broker that is away fails the batch after `delivery_timeout`; it is not an error to start
    without one. If it comes back empty, the topics are created again.
    """

    def __init__(
        self,
        bootstrap: str,
        client_id: str,
        *,
        topics: Sequence[TopicSpec] = TOPICS,
        delivery_timeout: float = 30.0,
    ) -> None:
        """Takes the broker's address; nothing is opened yet.

        Args:
            bootstrap: Kafka bootstrap servers, `host:port[,…]`.
            client_id: Names this client in the broker's logs and metrics.
            topics: Created when the broker does not have them.
            delivery_timeout: Seconds until a record that is not acknowledged counts as failed.
        """
        self._bootstrap = bootstrap
        self._client_id = client_id
        self._topics = tuple(topics)
        self._delivery_timeout = delivery_timeout
        self._order = asyncio.Lock()
        self._thread: ThreadPoolExecutor | None = None
        self._give_up_at = math.inf
        self._session: ProducerSession | None = None

    async def start(self) -> None:
        """Makes ready to publish; a broker is looked for when the first batch is published."""
        self._give_up_at = math.inf
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"{self._client_id}-publisher")

    async def publish(self, records: Sequence[OutgoingRecord]) -> list[BaseException | None]:
        """Publishes records in their order and waits until the broker has acknowledged them.

        Batches of concurrent callers follow each other.

        Returns:
            For each record, in order: None if the broker acknowledged it, otherwise why not.

        Raises:
            RuntimeError: The publisher is not started, or closed.
        """
        async with self._order:
            if self._thread is None:
                raise RuntimeError("the publisher is not started")
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, self._publish, list(records))

    async def close(self, grace: float = 5.0) -> None:
        """Waits for the batch under way, for at most `grace` seconds, then closes connections."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._give_up_at = time.monotonic() + grace
        await asyncio.get_running_loop().run_in_executor(thread, self._end_session)
        thread.shutdown(wait=False)

    def _publish(self, records: list[OutgoingRecord]) -> list[Outcome]:
        outcomes: list[Outcome] = [NotSentError("not tried")] * len(records)
        broken: dict[tuple[str, bytes], BaseException] = {}
        for start, stop in chunks(records):
            try:
                session = self._open_session()
            except (OSError, KafkaError, TopicSetupError) as error:
                outcomes[start:] = [error] * (len(records) - start)
                break
            chunk = records[start:stop]
            outcomes[start:stop] = session.send(chunk, broken, lambda: self._give_up_at)
            if session.silent:
                if session.lost:
                    self._end_session()
                held_back = NotSentError("the broker did not answer for an earlier record")
                outcomes[stop:] = [held_back] * (len(records) - stop)
                break
        return outcomes

    def _open_session(self) -> ProducerSession:
        if self._session is None:
            self._session = ProducerSession(
                self._bootstrap, self._client_id, self._topics, self._delivery_timeout
            )
        return self._session

    def _end_session(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None
