"""One KafkaProducer from its making to its end."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias
from uuid import UUID

import structlog
from kafka import KafkaProducer
from kafka.errors import BrokerResponseError, KafkaError, KafkaTimeoutError

from mesh.kafka.client import ClientHolder
from mesh.kafka.errors import BrokerUnavailableError, NotSentError, TopicSetupError
from mesh.kafka.producer.chunks import MAX_RECORD_BYTES
from mesh.kafka.record import OutgoingRecord
from mesh.kafka.topics import TopicSpec, ensure_topics_blocking

_log = structlog.get_logger(__name__)

Outcome: TypeAlias = BaseException | None
"""Why a record counts as not sent; None if the broker acknowledged it."""

_TURN_SECONDS: Final = 0.5
_BOOTSTRAP_SECONDS: Final = 5.0


class ProducerSession:
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
    ) -> list[Outcome]:
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
        outcomes: list[Outcome] = []
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


def _fate(future: Any, *, log_is_kept: bool) -> Outcome:
    """Says what became of a record."""
    error: Outcome = None
    if not future.is_done:
        error = KafkaTimeoutError("not acknowledged")
    elif future.exception is not None:
        error = future.exception
    elif not log_is_kept:
        error = NotSentError("the broker lost the topic meanwhile")
    return error


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
        batch_size=MAX_RECORD_BYTES,
        linger_ms=delivery_ms - request_ms,
        max_request_size=MAX_RECORD_BYTES,
        delivery_timeout_ms=delivery_ms,
        request_timeout_ms=request_ms,
        max_block_ms=min(5_000, delivery_ms),
        bootstrap_timeout_ms=int(min(_BOOTSTRAP_SECONDS, delivery_timeout) * 1000),
        reconnect_backoff_max_ms=1000,
        metrics_enabled=False,
        kafka_client=holder,
    )
