import asyncio
import time

import pytest

from mesh.kafka.errors import BrokerUnavailableError, NotSentError, TopicSetupError
from mesh.kafka.record import OutgoingRecord
from mesh.kafka.topics import TopicSpec, ensure_topics


def records(topic, count, *, keys=7, prefix=b""):
    return [
        OutgoingRecord(topic, b"key-%d" % (i % keys), prefix + b"%d" % i, (("ce_id", b"%d" % i),))
        for i in range(count)
    ]


async def sent(publisher, batch, *, within=15.0):
    """Publishes until everything is acknowledged, as the outbox does; returns the attempts."""
    deadline, attempts = time.monotonic() + within, 0
    while batch:
        attempts += 1
        assert time.monotonic() < deadline
        outcomes = await publisher.publish(batch)
        batch = [record for record, error in zip(batch, outcomes, strict=True) if error]
    return attempts


async def test_every_record_arrives_whole_and_in_order_of_its_key(
    kafka_bootstrap, publishers, spy, topic
):
    publisher = await publishers(kafka_bootstrap)
    batch = records(topic, 3000)  # several chunks
    batch.append(OutgoingRecord(topic, b"key-0", None, (("a", b"1"), ("a", b"2"))))
    assert await publisher.publish(batch) == [None] * 3001

    log = await spy(kafka_bootstrap).log(topic)
    assert len(log) == 6
    where = {}
    for partition, found in log.items():
        for record in found:
            assert where.setdefault(record.key, partition) == partition
    for key in range(7):
        wanted = [b"%d" % i for i in range(3000) if i % 7 == key] + ([None] if key == 0 else [])
        found = log[where[b"key-%d" % key]]
        assert [r.value for r in found if r.key == b"key-%d" % key] == wanted
    last = log[where[b"key-0"]][-1]
    assert last.value is None
    assert list(last.headers) == [("a", b"1"), ("a", b"2")]


async def test_after_a_failure_the_rest_of_its_key_is_held_back(
    kafka_bootstrap, publishers, spy, topic
):
    publisher = await publishers(kafka_bootstrap)
    batch = [
        OutgoingRecord(topic, b"a", b"1"),
        OutgoingRecord(topic, b"a", bytes(2_000_000)),
        OutgoingRecord(topic, b"b", b"2"),
        OutgoingRecord(topic, b"a", b"3"),
        OutgoingRecord(topic, b"b", bytes(600_000)),  # begins another chunk
        OutgoingRecord(topic, b"a", b"4"),
        OutgoingRecord(topic, b"b", b"5"),
    ]
    outcomes = await publisher.publish(batch)
    assert [type(outcome).__name__ for outcome in outcomes] == [
        "NoneType",
        "MessageSizeTooLargeError",
        "NoneType",
        "NotSentError",
        "NoneType",
        "NotSentError",
        "NoneType",
    ]
    log = await spy(kafka_bootstrap).log(topic)
    values = {(r.key, r.value) for found in log.values() for r in found}
    assert values == {(b"a", b"1"), (b"b", b"2"), (b"b", bytes(600_000)), (b"b", b"5")}


async def test_a_topic_that_cannot_exist_fails_alone(kafka_bootstrap, publishers, topic):
    publisher = await publishers(kafka_bootstrap)
    bad, good = await publisher.publish(
        [OutgoingRecord("no such topic!", b"a", b"1"), OutgoingRecord(topic, b"a", b"1")]
    )
    assert isinstance(bad, ValueError)
    assert good is None


async def test_a_broker_that_is_away_fails_the_batch_and_is_found_again(
    private_kafka, publishers, spy, topic
):
    publisher = await publishers(private_kafka.address, delivery_timeout=1.5)
    outcomes = await publisher.publish(records(topic, 3))  # never seen yet
    assert all(isinstance(outcome, BrokerUnavailableError) for outcome in outcomes)

    private_kafka.start()
    assert await publisher.publish(records(topic, 3)) == [None] * 3

    private_kafka.kill()
    began = time.monotonic()
    outcomes = await publisher.publish(records(topic, 9000, keys=9000))
    assert all(outcomes)
    assert time.monotonic() - began < 10  # not once per chunk
    assert isinstance(outcomes[-1], NotSentError)

    private_kafka.start()
    await sent(publisher, records(topic, 2000))
    log = await spy(private_kafka.address).log(topic)
    assert len(log) == 6  # created by us, not by the broker on a whim
    assert {r.value for found in log.values() for r in found} >= {b"%d" % i for i in range(2000)}


async def test_nothing_acknowledged_is_missing_after_the_broker_lost_its_memory(
    private_kafka, publishers, spy, topic
):
    """With kafka-python's idempotent producer, `early`'s last records are acknowledged and lost.

    The new broker gives `late` the producer id that `early` had, and takes `early`'s sequence
    numbers for repeats.
    """
    private_kafka.start()
    early = await publishers(private_kafka.address)
    late = await publishers(private_kafka.address)
    for i in range(5):
        assert await early.publish([OutgoingRecord(topic, b"k", b"old %d" % i)]) == [None]
    private_kafka.kill()
    private_kafka.start()
    for i in range(20):
        await sent(late, [OutgoingRecord(topic, b"k", b"late %d" % i)])
    for i in range(5):
        await sent(early, [OutgoingRecord(topic, b"k", b"early %d" % i)])
    log = await spy(private_kafka.address).log(topic)
    values = [r.value for found in log.values() for r in found]
    firsts = list(dict.fromkeys(values))  # a record may come twice
    assert firsts == [b"late %d" % i for i in range(20)] + [b"early %d" % i for i in range(5)]


async def test_closing_gives_up_on_a_batch_under_way(private_kafka, publishers, topic):
    private_kafka.start()
    publisher = await publishers(private_kafka.address, delivery_timeout=30.0)
    assert await publisher.publish(records(topic, 1)) == [None]
    private_kafka.kill()
    began = time.monotonic()
    task = asyncio.create_task(publisher.publish(records(topic, 1)))
    await asyncio.sleep(0.2)
    await publisher.close(grace=0.5)
    (outcome,) = await task
    assert outcome is not None
    assert time.monotonic() - began < 10
    with pytest.raises(RuntimeError, match="not started"):
        await publisher.publish(records(topic, 1))


async def test_topics_are_created_once_and_kept(kafka_bootstrap, topic):
    specs = (TopicSpec(topic, 3, {"cleanup.policy": "compact"}),)
    await ensure_topics(kafka_bootstrap, specs)
    await ensure_topics(kafka_bootstrap, specs)
    await ensure_topics(kafka_bootstrap, (TopicSpec(topic, 5),))  # warns, and leaves it
    await ensure_topics(kafka_bootstrap, ())


async def test_a_topic_that_cannot_be_made_is_named(kafka_bootstrap, topic):
    # Tansu accepts it and never shows a partition; Kafka refuses it.
    with pytest.raises((BrokerUnavailableError, TopicSetupError), match=topic):
        await ensure_topics(kafka_bootstrap, (TopicSpec(topic, 0),), timeout_seconds=0.5)


async def test_without_a_broker_the_error_says_where_it_looked(free_port):
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(BrokerUnavailableError, match=rf"no Kafka broker answers at {address}"):
        await ensure_topics(address, timeout_seconds=0.5)
