import asyncio
import random
from collections import defaultdict

import pytest

from mesh.kafka.dead_letters import KafkaDeadLetters, Provenance
from mesh.kafka.errors import PoisonRecord, RetryLater
from mesh.kafka.record import OutgoingRecord
from mesh.kafka.topics import DEAD_LETTERS


def numbered(topic, numbers, *, keys=10):
    return [OutgoingRecord(topic, b"key-%d" % (n % keys), b"%d" % n) for n in numbers]


def firsts(values):
    """Without repetitions, which at-least-once delivery allows."""
    return list(dict.fromkeys(values))


def in_order(values):
    return values == sorted(values)


async def test_records_are_handled_whole_in_order_of_their_key_and_committed(
    kafka_bootstrap, publishers, consumers, spy, topic, eventually
):
    publisher = await publishers(kafka_bootstrap)
    chance = random.Random(3)
    handled = defaultdict(list)

    async def handler(record):
        await asyncio.sleep(chance.random() * 0.004)
        handled[record.key].append(int(record.value))

    consumer = await consumers(kafka_bootstrap, publisher, handler)
    assert await publisher.publish(numbered(topic, range(400))) == [None] * 400
    await eventually(lambda: asyncio.sleep(0, sum(map(len, handled.values())) == 400))
    assert {key: len(values) for key, values in handled.items()} == {
        b"key-%d" % k: 40 for k in range(10)
    }
    assert all(in_order(values) for values in handled.values())
    assert consumer.healthy()
    assert consumer.last_poll_age() < 5
    assert {p.topic for p in consumer.assigned()} == {topic}
    assert len(consumer.assigned()) == 6

    async def all_is_committed():
        lag = consumer.lag()
        return len(lag) == 6 and sum(part.records for part in lag.values()) == 0

    await eventually(all_is_committed)
    assert sum(part.end for part in consumer.lag().values()) == 400
    committed = await spy(kafka_bootstrap).committed(topic, topic)
    assert sum(offset or 0 for offset in committed.values()) == 400

    await consumer.stop()
    assert not consumer.healthy()
    assert consumer.assigned() == frozenset()


async def test_poison_goes_to_the_dead_letters_and_is_committed(
    kafka_bootstrap, publishers, consumers, spy, topic, eventually
):
    publisher = await publishers(kafka_bootstrap)
    handled = []

    async def handler(record):
        if record.headers.get("ce_type") == b"garbage":
            raise PoisonRecord("no such event type")
        if record.headers.get("ce_type") == b"crash":
            raise ZeroDivisionError("division by zero")
        handled.append(record.value)

    def record(value, kind):
        return OutgoingRecord(topic, b"k", value, (("ce_type", kind), ("traceparent", b"00-x")))

    batch = [
        record(b"1", b"good"),
        record(b"\xff\xfe", b"garbage"),
        record(None, b"crash"),
        record(b"4", b"good"),
    ]
    await consumers(kafka_bootstrap, publisher, handler, max_attempts=3)
    assert await publisher.publish(batch) == [None] * 4
    await eventually(lambda: asyncio.sleep(0, len(handled) == 2))
    assert handled == [b"1", b"4"]

    async def committed():
        offsets = await spy(kafka_bootstrap).committed(topic, topic)
        return sorted(offset or 0 for offset in offsets.values()) == [0, 0, 0, 0, 0, 4]

    await eventually(committed)

    log = await spy(kafka_bootstrap).log(DEAD_LETTERS)
    letters = [
        r for found in log.values() for r in found if dict(r.headers)["dlq_topic"].decode() == topic
    ]
    garbage, crash = letters
    assert (garbage.key, garbage.value) == (b"k", b"\xff\xfe")
    assert (crash.key, crash.value) == (b"k", None)
    assert dict(garbage.headers)["ce_type"] == b"garbage"
    assert dict(garbage.headers)["traceparent"] == b"00-x"
    origin = Provenance.from_headers(dict(garbage.headers))
    assert (origin.topic, origin.offset, origin.group) == (topic, 1, topic)
    assert (origin.reason, origin.error_type) == ("no such event type", "PoisonRecord")
    assert (origin.attempts, origin.value_bytes) == (1, -1)
    assert 0 <= origin.failed_at_ms - origin.timestamp_ms < 60_000
    origin = Provenance.from_headers(dict(crash.headers))
    assert (origin.offset, origin.attempts, origin.error_type) == (2, 3, "ZeroDivisionError")
    assert origin.reason == "ZeroDivisionError: division by zero"


async def test_a_record_too_large_for_a_dead_letter_leaves_its_value_behind(
    kafka_bootstrap, publishers, consumers, spy, topic, eventually
):
    publisher = await publishers(kafka_bootstrap)
    group = topic

    async def handler(record):
        raise PoisonRecord("far too long")

    await consumers(
        kafka_bootstrap, publisher, handler, dead_letters=KafkaDeadLetters(publisher, group)
    )
    size = 1024 * 1024 - 200
    assert await publisher.publish([OutgoingRecord(topic, b"big", bytes(size))]) == [None]
    letters = []

    async def buried():
        log = await spy(kafka_bootstrap).log(DEAD_LETTERS)
        letters[:] = [
            r
            for found in log.values()
            for r in found
            if dict(r.headers)["dlq_topic"].decode() == topic
        ]
        return bool(letters)

    await eventually(buried)
    (letter,) = letters
    assert (letter.key, letter.value) == (b"big", b"")
    assert Provenance.from_headers(dict(letter.headers)).value_bytes == size


async def test_what_passes_is_tried_until_it_does_and_nothing_overtakes_it(
    kafka_bootstrap, publishers, consumers, topic, eventually
):
    publisher = await publishers(kafka_bootstrap)
    handled = defaultdict(list)
    trouble = {
        b"3": [ConnectionError()] * 6,
        b"5": [RetryLater("soon")] * 6,
        b"13": [OSError()] * 9,
    }

    async def handler(record):
        if trouble.get(record.value):
            raise trouble[record.value].pop()
        handled[record.key].append(int(record.value))

    await consumers(kafka_bootstrap, publisher, handler, max_attempts=2)
    assert await publisher.publish(numbered(topic, range(100))) == [None] * 100
    await eventually(lambda: asyncio.sleep(0, sum(map(len, handled.values())) == 100))
    assert all(in_order(values) for values in handled.values())
    assert handled[b"key-3"] == list(range(3, 100, 10))


async def test_a_slow_partition_is_paused_and_does_not_stop_the_others(
    kafka_bootstrap, publishers, consumers, topic, eventually
):
    publisher = await publishers(kafka_bootstrap)
    gate = asyncio.Event()
    handled = []

    async def handler(record):
        if record.key == b"key-0":
            await gate.wait()
        handled.append(int(record.value))

    consumer = await consumers(kafka_bootstrap, publisher, handler, pending_per_partition=20)
    assert await publisher.publish(numbered(topic, range(5000))) == [None] * 5000

    def most_ahead():
        return max(part.position - part.committed for part in consumer.lag().values())

    # Everything but the partition of key-0 is handled; of that, only a window is in memory.
    await eventually(
        lambda: asyncio.sleep(
            0, {n % 10 for n in handled if n >= 4990} >= {1} and len(handled) > 2000
        )
    )
    await eventually(lambda: asyncio.sleep(0, bool(consumer.lag())))
    await asyncio.sleep(1.2)
    assert 20 <= most_ahead() <= 20 + 200
    gate.set()
    await eventually(lambda: asyncio.sleep(0, len(set(handled)) == 5000))


async def test_a_rebalance_with_work_in_flight_loses_nothing(
    kafka_bootstrap, publishers, consumers, spy, topic, eventually
):
    publisher = await publishers(kafka_bootstrap)
    handled = defaultdict(list)
    by_member = defaultdict(int)
    second_began = {}

    def member(name):
        async def handler(record):
            await asyncio.sleep(0.003)
            handled[record.key].append(int(record.value))
            by_member[name] += 1
            if name == "second":
                second_began.setdefault(record.partition, record.offset)

        return handler

    rarely = {"commit_interval": 3600.0}  # so only what is given up is committed
    first = await consumers(kafka_bootstrap, publisher, member("first"), **rarely)
    published = 0
    stop = asyncio.Event()

    async def keep_publishing():
        nonlocal published
        while not stop.is_set():
            batch = numbered(topic, range(published, published + 30), keys=30)
            assert await publisher.publish(batch) == [None] * 30
            published += 30
            await asyncio.sleep(0.05)

    publishing = asyncio.create_task(keep_publishing())
    await eventually(lambda: asyncio.sleep(0, len(first.assigned()) == 6))
    second = await consumers(kafka_bootstrap, publisher, member("second"), **rarely)
    await eventually(lambda: asyncio.sleep(0, len(second.assigned()) == 3))
    assert first.assigned().isdisjoint(second.assigned())
    await eventually(lambda: asyncio.sleep(0, by_member["second"] > 20))
    await first.stop()
    await eventually(lambda: asyncio.sleep(0, len(second.assigned()) == 6))
    stop.set()
    await publishing
    await eventually(
        lambda: asyncio.sleep(
            0, len({n for values in handled.values() for n in values}) == published
        )
    )
    assert by_member["first"] > 20
    for values in handled.values():
        assert in_order(firsts(values))
    # It went on where the first member had stopped.
    assert len(second_began) == 6
    assert all(offset > 0 for offset in second_began.values())
    await second.stop()
    committed = await spy(kafka_bootstrap).committed(topic, topic)
    assert sum(offset or 0 for offset in committed.values()) == published


@pytest.mark.parametrize("grace", [10.0, 0.0], ids=["graceful", "impatient"])
async def test_stopping_commits_what_is_done_and_no_more(
    kafka_bootstrap, publishers, consumers, spy, topic, eventually, grace
):
    publisher = await publishers(kafka_bootstrap)
    done, begun = [], []

    async def slow(record):
        begun.append(int(record.value))
        await asyncio.sleep(0.3 if record.key == b"key-0" else 0.02)
        done.append(int(record.value))

    consumer = await consumers(
        kafka_bootstrap, publisher, slow, commit_interval=3600.0, concurrency=4
    )
    assert await publisher.publish(numbered(topic, range(100))) == [None] * 100
    await eventually(lambda: asyncio.sleep(0, len(done) > 20))
    await consumer.stop(grace)
    if grace:
        assert sorted(begun) == sorted(done)
    at_stop = set(done)
    committed = await spy(kafka_bootstrap).committed(topic, topic)
    log = await spy(kafka_bootstrap).log(topic)
    covered = {
        int(record.value)
        for partition, records in log.items()
        for record in records
        if record.offset < (committed[partition] or 0)
    }
    assert covered
    assert covered <= at_stop

    after = []

    async def quick(record):
        after.append(int(record.value))

    await consumers(kafka_bootstrap, publisher, quick)
    await eventually(lambda: asyncio.sleep(0, at_stop | set(after) == set(range(100))))
    assert covered.isdisjoint(after)


async def test_a_member_that_stops_while_it_joins_does_not_block_its_group(
    kafka_bootstrap, publishers, consumers, topic, eventually
):
    publisher = await publishers(kafka_bootstrap)
    handled = []

    async def handler(record):
        handled.append(record.value)

    first = await consumers(kafka_bootstrap, publisher, handler)
    await asyncio.sleep(0.3)  # Tansu lets it wait for half its session timeout
    await first.stop()
    await consumers(kafka_bootstrap, publisher, handler)
    assert await publisher.publish(numbered(topic, range(10))) == [None] * 10
    await eventually(lambda: asyncio.sleep(0, len(handled) == 10))
