"""Moves rows of the outbox to Kafka."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import pymongo
import structlog
from pymongo.errors import PyMongoError

from mesh.kafka.backoff import Backoff
from mesh.kafka.producer import EventPublisher
from mesh.mongo.client import Document
from mesh.outbox.lease import Lease
from mesh.outbox.store import Outbox, end_of_key, to_outgoing
from mesh.telemetry.context import TRACEPARENT
from mesh.telemetry.messaging import end_send_span, start_send_span
from mesh.telemetry.spans import untraced_database

_log = structlog.get_logger(__name__)
_RELEASE_SECONDS = 1.0


class OutboxRelay:
    """Publishes pending rows in order per key and forgets each once the broker has acknowledged it.

    A row whose acknowledgement is lost, or whose relay dies before forgetting it, is sent again:
    at least once, with the same event id.
    """

    def __init__(
        self,
        outbox: Outbox,
        publisher: EventPublisher,
        owner: str,
        *,
        batch: int = 250,
        sweep_seconds: float = 0.5,
    ) -> None:
        """Takes the outbox, the way to the broker, and this replica's name.

        Args:
            outbox: What to publish from.
            publisher: Where to.
            owner: Names this replica among those that share the outbox.
            batch: Rows read and sent at a time.
            sweep_seconds: How often to look for rows nobody woke the relay for.
        """
        self._outbox = outbox
        self._publisher = publisher
        self._lease = Lease(outbox.database, "outbox-relay", owner)
        self._batch = batch
        self._sweep_seconds = sweep_seconds
        self._position = ""
        self._backoff = Backoff(longest=2.0)
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to relay in the background."""
        self._stopping.clear()
        self._task = asyncio.create_task(self._run_untraced(), name="outbox-relay")

    async def stop(self, *, patience_seconds: float = 5.0) -> None:
        """Ends after the batch under way; rows that remain are sent after the next start.

        Args:
            patience_seconds: How long to wait for a broker that does not acknowledge that batch.
        """
        if self._task is None:
            return
        self._stopping.set()
        self._outbox.wake.set()
        await asyncio.wait({self._task}, timeout=patience_seconds)
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._task = None
        with contextlib.suppress(PyMongoError), pymongo.timeout(_RELEASE_SECONDS):
            await self._lease.release()

    async def _run_untraced(self) -> None:
        with untraced_database():
            await self._run()

    async def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            self._outbox.wake.clear()
            ours = more = False
            try:
                ours = await self._lease.hold()
                more = ours and await self._relay_batch()
                failures = 0
            except (PyMongoError, PublishFailedError, OSError) as error:
                failures += 1
                if failures == 1 or failures % 20 == 0:
                    _log.warning("outbox waits", error=str(error), failures=failures)
            except Exception:
                # Whatever it is, events must not stop for good while the service seems well.
                failures += 1
                _log.exception("outbox waits", failures=failures)
            if failures:
                await _wait(self._stopping, self._backoff.seconds(failures))
            elif not ours:
                # The owner looks for itself; to be woken would only mean to ask for the lease.
                await _wait(self._stopping, self._sweep_seconds)
            elif not more:
                await _wait(self._outbox.wake, self._sweep_seconds)

    async def _relay_batch(self) -> bool:
        """Sends the next rows and tells whether more may wait.

        Batches go round the keys, so that neither a busy key nor one whose rows the broker refuses
        keeps the others waiting.
        """
        begin = self._position
        rows = await self._outbox.pending(begin, self._batch)
        full = len(rows) == self._batch
        # Behind the last key, not within it: what of it has failed must go before the rest.
        self._position = end_of_key(rows[-1]) if full else ""
        if rows:
            await self._send(rows)
        return full or bool(begin)

    async def _send(self, rows: Sequence[Document]) -> None:
        results = await self._publish(rows)
        sent = [row["_id"] for row, error in zip(rows, results, strict=True) if error is None]
        if sent:
            await self._outbox.remove(sent)
        failed = [error for error in results if error is not None]
        if failed:
            raise PublishFailedError(f"{len(failed)} of {len(rows)} rows not sent: {failed[0]!r}")

    async def _publish(self, rows: Sequence[Document]) -> list[BaseException | None]:
        spans = [
            start_send_span(
                row["topic"],
                key=row["key"],
                message_id=bytes(row["headers"]["ce_id"]).decode(),
                traceparent=bytes(row["headers"].get(TRACEPARENT, b"")).decode(),
            )
            for row in rows
        ]
        try:
            results = await self._publisher.publish([to_outgoing(row) for row in rows])
        except BaseException as error:
            for span in spans:
                end_send_span(span, error)
            raise
        for span, outcome in zip(spans, results, strict=True):
            end_send_span(span, outcome)
        return results


class PublishFailedError(Exception):
    """The broker did not acknowledge every row of a batch."""


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
