"""Publishing to Kafka: every record's fate is known, and a key's order survives failure."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeAlias, cast
from uuid import UUID

import structlog
from kafka import KafkaProducer
from kafka.errors import BrokerResponseError, KafkaError, KafkaTimeoutError

from mesh.kafka.client import ClientHolder
from mesh.kafka.errors import BrokerUnavailableError, NotSentError, TopicSetupError
from mesh.kafka.record import OutgoingRecord
from mesh.kafka.topics import TOPICS, TopicSpec, ensure_topics_blocking

_log = structlog.get_logger(__name__)

_MAX_RECORD_BYTES: Final = 1024 * 1024
_CHUNK_BYTES: Final = 512 * 1024
_CHUNK_RECORDS: Final = 1000
_RECORD_OVERHEAD_BYTES: Final = 64
_TURN_SECONDS: Final = 0.5
_BOOTSTRAP_SECONDS: Final = 5.0

_Outcome: TypeAlias = BaseException | None


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
        self._session: _Session | None = None

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

    def _publish(self, records: list[OutgoingRecord]) -> list[_Outcome]:
        outcomes: list[_Outcome] = [NotSentError("not tried")] * len(records)
        broken: dict[tuple[str, bytes], BaseException] = {}
        for start, stop in _chunks(records):
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

    def _open_session(self) -> _Session:
        if self._session is None:
            self._session = _Session(
                self._bootstrap, self._client_id, self._topics, self._delivery_timeout
            )
        return self._session

    def _end_session(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None


class _Session:
    """One KafkaProducer, used by one thread; thrown away when it can no longer be trusted.

    Attributes:
        silent: Whether the broker did not answer in time for a record of the last chunk.
        lost: Whether a record is still without a fate, so that the producer must go.
    """

    def __init__(
        self,
        bootstrap: str,
        client_id: str,
        topics: Sequence[TopicSpec],
        delivery_timeout: float,
    ) -> None:
        self.silent = False
        self.lost = False
        self._bootstrap = bootstrap
        self._topics = topics
        self._delivery_timeout = delivery_timeout
        self._seen: set[str] = set()
        ensure_topics_blocking(bootstrap, topics, min(_BOOTSTRAP_SECONDS, delivery_timeout))
        self._holder = ClientHolder()
        try:
            self._producer = _build_producer(bootstrap, client_id, delivery_timeout, self._holder)
        except KafkaTimeoutError as error:
            self._holder.close()
            raise BrokerUnavailableError(f"no Kafka broker answers at {bootstrap}") from error
        except BaseException:
            self._holder.close()
            raise

    def send(
        self,
        records: Sequence[OutgoingRecord],
        broken: dict[tuple[str, bytes], BaseException],
        give_up_at: Callable[[], float],
    ) -> list[_Outcome]:
        """Sends a chunk and waits for every record's fate.

        Args:
            records: At most a chunk.
            broken: The first error of each topic and key; read and added to.
            give_up_at: When to stop waiting, on the monotonic clock; may change meanwhile.

        Returns:
            For each record None, or why it counts as not sent.
        """
        self.silent = False
        topics = {record.topic for record in records}
        unreachable = self._unreachable_topics(topics)
        before = self._logs(topics)
        outcomes: list[_Outcome] = []
        futures: dict[int, Any] = {}
        for index, record in enumerate(records):
            error = unreachable.get(record.topic)
            first = broken.get((record.topic, record.key))
            if first is not None:
                error = NotSentError(f"an earlier record of its key failed: {first!r}")
            elif error is None:
                try:
                    futures[index] = self._producer.send(
                        record.topic,
                        key=record.key,
                        value=record.value,
                        headers=list(record.headers),
                    )
                except Exception as refused:  # the record's own fault, reported
                    error = refused
            outcomes.append(error)
            if error is not None:
                broken.setdefault((record.topic, record.key), error)
        self._await(list(futures.values()), topics, give_up_at)
        after = self._logs(topics)
        for index, future in futures.items():
            record = records[index]
            kept = record.topic in before and before[record.topic] == after.get(record.topic)
            outcomes[index] = error = _fate(future, log_is_kept=kept)
            self.silent = self.silent or isinstance(error, KafkaTimeoutError)
            if error is not None:
                broken.setdefault((record.topic, record.key), error)
        return outcomes

    def close(self) -> None:
        """Ends the producer and its thread; what is not acknowledged by now never will be."""
        with contextlib.suppress(KafkaError):
            self._producer.close(timeout=0 if self.lost else 1.0)
        # close() leaves the sender thread running when records are still unanswered.
        self._producer._sender.force_close()

    def _unreachable_topics(self, topics: set[str]) -> dict[str, BaseException]:
        """Looks up the partitions of topics; those that the broker does not have are created.

        Returns:
            The topics that cannot be published to this time, and why.
        """
        self._logs(topics)
        errors: dict[str, BaseException] = {}
        for topic in sorted(topics):
            try:
                self._producer.partitions_for(topic)
                self._seen.add(topic)
            except (KafkaError, TypeError, ValueError) as error:  # the latter two: a bad name
                errors[topic] = error
        if errors:
            self._create_topics()
        return errors

    def _logs(self, topics: set[str]) -> dict[str, UUID | None]:
        """Looks up the ids that tell the logs of topics from others of the same name.

        Tansu acknowledges records of a topic it does not have. Once the topic exists they cannot be
        read, until as many further batches have been refused. So an acknowledgement counts only if
        the topic was the same before and after. Metadata is asked for again, and waited for here,
        when a connection was lost; topics that the broker has lost are created again.

        Returns:
            The ids of those topics that exist; empty while that is in doubt.
        """
        cluster = self._holder.cluster
        if cluster.need_update:
            answered = threading.Event()
            update = cluster.request_update().add_both(lambda _: answered.set())
            answered.wait(_TURN_SECONDS)
            # An answer that there is no such topic is an answer, too.
            if not (update.succeeded() or isinstance(update.exception, BrokerResponseError)):
                return {}
        if self._vanished(topics):
            self._create_topics()
        return {topic: cluster.topic_id(topic) for topic in topics & cluster.topics()}

    def _await(
        self, futures: Sequence[Any], topics: set[str], give_up_at: Callable[[], float]
    ) -> None:
        deadline = time.monotonic() + self._delivery_timeout + 2 * _TURN_SECONDS
        while not all(future.is_done for future in futures):
            remaining = min(deadline, give_up_at()) - time.monotonic()
            if remaining <= 0:
                self.lost = True
                return
            with contextlib.suppress(KafkaError):
                self._producer.flush(timeout=min(remaining, _TURN_SECONDS))
            if self._vanished(topics):
                self._create_topics()

    def _vanished(self, topics: set[str]) -> set[str]:
        known: set[str] = self._holder.cluster.topics()
        return (topics & self._seen) - known

    def _create_topics(self) -> None:
        try:
            ensure_topics_blocking(self._bootstrap, self._topics, 2.0)
        except (OSError, KafkaError, TopicSetupError) as error:
            _log.warning("topics cannot be created again yet", error=str(error))


def _fate(future: Any, *, log_is_kept: bool) -> _Outcome:
    """Says what became of a record."""
    if not future.is_done:
        return KafkaTimeoutError("not acknowledged")
    if future.exception is None and not log_is_kept:
        return NotSentError("the broker lost the topic meanwhile")
    return cast(_Outcome, future.exception)


def _build_producer(
    bootstrap: str, client_id: str, delivery_timeout: float, holder: ClientHolder
) -> KafkaProducer:
    delivery_ms = int(delivery_timeout * 1000)
    request_ms = min(10_000, delivery_ms // 2)
    return KafkaProducer(
        bootstrap_servers=bootstrap.split(","),
        client_id=client_id,
        acks="all",
        enable_idempotence=False,
        max_in_flight_requests_per_connection=1,
        compression_type="gzip",
        # A batch leaves when it is flushed, not before: see EventPublisher on order.
        batch_size=_MAX_RECORD_BYTES,
        linger_ms=delivery_ms - request_ms,
        max_request_size=_MAX_RECORD_BYTES,
        delivery_timeout_ms=delivery_ms,
        request_timeout_ms=request_ms,
        max_block_ms=min(5_000, delivery_ms),
        bootstrap_timeout_ms=int(min(_BOOTSTRAP_SECONDS, delivery_timeout) * 1000),
        reconnect_backoff_max_ms=1000,
        metrics_enabled=False,
        kafka_client=holder,
    )


def _chunks(records: Sequence[OutgoingRecord]) -> Iterator[tuple[int, int]]:
    """Splits a batch so that no chunk can overflow a producer batch of one partition."""
    start = size = 0
    for index, record in enumerate(records):
        record_size = _size(record)
        if index > start and (size + record_size > _CHUNK_BYTES or index - start >= _CHUNK_RECORDS):
            yield start, index
            start, size = index, 0
        size += record_size
    if records:
        yield start, len(records)


def _size(record: OutgoingRecord) -> int:
    headers = sum(len(name.encode()) + len(value) + 8 for name, value in record.headers)
    return len(record.key) + len(record.value or b"") + headers + _RECORD_OVERHEAD_BYTES
