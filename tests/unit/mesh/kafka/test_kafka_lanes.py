import asyncio
import random
from collections import defaultdict

import pytest
from kafka import TopicPartition

from mesh.kafka.backoff import Backoff
from mesh.kafka.consumer.lanes import LaneDispatcher, Work
from mesh.kafka.consumer.offsets import OffsetLedger
from mesh.kafka.consumer.options import ConsumerOptions
from mesh.kafka.errors import PoisonRecord, RetryLater, default_is_transient
from mesh.kafka.record import IncomingRecord

TOPIC = "topic"
AT_ONCE = Backoff(first=0.0, longest=0.0)


class Graveyard:
    """Keeps dead letters in memory; fails as often as told."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.buried: list[tuple[IncomingRecord, str, str, int]] = []

    async def bury(self, record, *, reason, error_type, attempts):
        if self.failures:
            self.failures -= 1
            raise ConnectionError("no broker")
        self.buried.append((record, reason, error_type, attempts))


class Bench:
    """A dispatcher with its ledger, fed by partition and key."""

    def __init__(self, handler, *, graveyard=None, is_transient=default_is_transient, **options):
        options.setdefault("backoff", AT_ONCE)
        self.graveyard = graveyard or Graveyard()
        self.ledger = OffsetLedger()
        self.lanes = LaneDispatcher(
            handler, self.graveyard, self.ledger, is_transient, ConsumerOptions(**options)
        )
        self._next = defaultdict(int)

    def feed(self, *keys, partition=0):
        works = []
        for key in keys:
            offset = self._next[partition]
            self._next[partition] += 1
            record = IncomingRecord(TOPIC, partition, offset, key, b"v", {}, 0)
            tracker = self.ledger.hand_over(TopicPartition(TOPIC, partition), offset)
            works.append(Work(record, tracker))
        self.lanes.submit(works)

    def committable(self, partition=0):
        return self.ledger.uncommitted().get(TopicPartition(TOPIC, partition))

    async def finished(self, partition=0):
        async with asyncio.timeout(20):
            while self.committable(partition) != self._next[partition]:  # no event to wait for
                await asyncio.sleep(0.001)


async def test_a_key_is_handled_in_order_and_alone_while_others_run():
    seen, active, together = defaultdict(list), defaultdict(int), 0
    chance = random.Random(7)

    async def handler(record):
        nonlocal together
        active[record.key] += 1
        assert active[record.key] == 1
        together = max(together, sum(active.values()))
        await asyncio.sleep(chance.random() * 0.003)
        seen[record.key].append(record.offset)
        active[record.key] -= 1

    bench = Bench(handler, concurrency=8)
    keys = [chance.choice([b"a", b"b", b"c", b"d", None]) for _ in range(300)]
    for start in range(0, 300, 50):
        bench.feed(*keys[start : start + 50])
        await asyncio.sleep(0.005)
    await bench.finished()
    assert {key: offsets == sorted(offsets) for key, offsets in seen.items()} == dict.fromkeys(
        set(keys), True
    )
    assert sum(map(len, seen.values())) == 300
    assert 2 <= together <= 5  # as many as there are keys, and not one after the other


async def test_never_more_handlers_than_allowed():
    running = most = 0

    async def handler(record):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1

    bench = Bench(handler, concurrency=3)
    bench.feed(*(b"%d" % i for i in range(50)))
    await bench.finished()
    assert most == 3


async def test_the_same_key_in_another_partition_is_another_lane():
    gate = asyncio.Event()

    async def handler(record):
        if record.partition == 0:
            await gate.wait()

    bench = Bench(handler)
    bench.feed(b"k", partition=0)
    bench.feed(b"k", partition=1)
    await bench.finished(partition=1)
    assert bench.committable(0) == 0
    gate.set()
    await bench.finished(partition=0)


async def test_poison_is_buried_at_once_and_the_lane_goes_on():
    handled = []

    async def handler(record):
        if record.offset == 1:
            raise PoisonRecord("not an event")
        handled.append(record.offset)

    bench = Bench(handler)
    bench.feed(b"k", b"k", b"k")
    await bench.finished()
    assert handled == [0, 2]
    ((record, reason, error_type, attempts),) = bench.graveyard.buried
    assert (record.offset, reason, error_type, attempts) == (
        1,
        "not an event",
        "PoisonRecord",
        1,
    )


async def test_an_unknown_error_is_tried_again_and_then_buried():
    tries = 0

    async def handler(record):
        nonlocal tries
        tries += 1
        raise KeyError("title")

    bench = Bench(handler, max_attempts=4)
    bench.feed(b"k")
    await bench.finished()
    assert tries == 4
    ((_, reason, error_type, attempts),) = bench.graveyard.buried
    assert (reason, error_type, attempts) == ("KeyError: 'title'", "KeyError", 4)


async def test_attempts_are_counted_per_record():
    tries = defaultdict(int)

    async def handler(record):
        tries[record.offset] += 1
        if tries[record.offset] < 3:
            raise ValueError

    bench = Bench(handler, max_attempts=3)
    bench.feed(b"k", b"k", b"k")
    await bench.finished()
    assert tries == {0: 3, 1: 3, 2: 3}
    assert bench.graveyard.buried == []


@pytest.mark.parametrize("error", [RetryLater("not yet"), ConnectionRefusedError(), TimeoutError()])
async def test_what_passes_by_itself_is_tried_for_ever_in_order(error):
    tries, handled = 0, []

    async def handler(record):
        nonlocal tries
        if record.offset == 0:
            tries += 1
            if tries < 50:
                raise error
        handled.append(record.offset)

    bench = Bench(handler, max_attempts=2)
    bench.feed(b"k", b"k", b"k")
    await bench.finished()
    assert tries == 50
    assert handled == [0, 1, 2]
    assert bench.graveyard.buried == []


async def test_transient_trouble_does_not_use_up_attempts():
    errors = [OSError(), ValueError(), OSError(), OSError(), ValueError(), OSError()]

    async def handler(record):
        if errors:
            raise errors.pop(0)

    bench = Bench(handler, max_attempts=3)
    bench.feed(b"k")
    await bench.finished()
    assert bench.graveyard.buried == []


async def test_retry_later_holds_even_with_a_predicate_of_ones_own():
    errors = [RetryLater("soon")] * 9

    async def handler(record):
        if errors:
            raise errors.pop()

    bench = Bench(handler, max_attempts=1, is_transient=lambda error: False)
    bench.feed(b"k")
    await bench.finished()
    assert bench.graveyard.buried == []


async def test_a_waiting_key_holds_no_place():
    release = False

    async def handler(record):
        if record.key == b"stuck" and not release:
            raise RetryLater("its user is not known yet")

    bench = Bench(handler, concurrency=1, backoff=Backoff(first=0.002, longest=0.002))
    bench.feed(b"stuck", partition=0)
    bench.feed(*(b"%d" % i for i in range(20)), partition=1)
    await bench.finished(partition=1)
    assert bench.committable(0) == 0
    release = True
    await bench.finished(partition=0)


async def test_the_offset_is_finished_only_after_the_dead_letter_is_safe():
    tries = 0
    graveyard = Graveyard(failures=5)

    async def handler(record):
        nonlocal tries
        tries += 1
        assert graveyard.failures == 5
        raise PoisonRecord("bad")

    bench = Bench(handler, graveyard=graveyard, backoff=Backoff(first=0.005, longest=0.005))
    bench.feed(b"k")
    await asyncio.sleep(0.004)
    assert graveyard.failures < 5
    assert bench.committable() == 0
    await bench.finished()
    assert tries == 1  # once condemned, it is not handled again
    assert len(graveyard.buried) == 1


async def test_dropping_waits_for_handlers_and_counts_what_they_finish():
    gate, handled = asyncio.Event(), []

    async def handler(record):
        await gate.wait()
        handled.append(record.offset)

    bench = Bench(handler)
    bench.feed(b"a", b"a", b"b", partition=0)
    bench.feed(b"a", partition=1)
    await asyncio.sleep(0)
    dropping = asyncio.create_task(bench.lanes.drop({TopicPartition(TOPIC, 0)}, grace=10.0))
    await asyncio.sleep(0.01)
    assert not dropping.done()
    gate.set()
    await dropping
    await bench.finished(partition=1)
    assert bench.committable(0) == 1  # 0 and 2 finished, 1 was still waiting
    assert sorted(handled) == [0, 0, 2]


async def test_handlers_that_outlast_the_grace_are_cancelled_and_not_finished():
    cancelled = []

    async def handler(record):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(record.offset)
            raise

    bench = Bench(handler)
    bench.feed(b"a", b"b")
    await asyncio.sleep(0.01)
    await bench.lanes.drop(None, grace=0.01)
    assert sorted(cancelled) == [0, 1]
    assert bench.committable() == 0


async def test_what_waits_for_its_next_attempt_is_dropped_too():
    tries = 0

    async def handler(record):
        nonlocal tries
        tries += 1
        raise RetryLater("later")

    bench = Bench(handler, backoff=Backoff(first=0.01, longest=0.01))
    bench.feed(b"a")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await bench.lanes.drop(None, grace=1.0)
    before = tries
    await asyncio.sleep(0.05)
    assert tries == before


async def test_after_draining_nothing_is_taken():
    handled = []

    async def handler(record):
        handled.append(record.offset)

    bench = Bench(handler)
    await bench.lanes.drain(1.0)
    bench.feed(b"a")
    await asyncio.sleep(0.01)
    assert handled == []
    assert bench.committable() == 0


async def test_a_cancellation_inside_a_handler_is_no_reason_to_lose_the_record():
    tries = 0

    async def handler(record):
        nonlocal tries
        tries += 1
        if tries == 1:
            raise asyncio.CancelledError  # say, a client of the handler was closed

    bench = Bench(handler)
    bench.feed(b"a")
    await bench.finished()
    assert tries == 2
