import asyncio
import time

import pytest
from kafka import KafkaAdminClient

from mesh.kafka.record import OutgoingRecord
from mesh.kafka.topics import ensure_topics, spec_of


def numbered(topic, numbers, prefix):
    return [OutgoingRecord(topic, b"key-%d" % (n % 10), b"%s %d" % (prefix, n)) for n in numbers]


async def sent(publisher, batch, *, within=15.0):
    """Publishes until everything is acknowledged, as the outbox does."""
    deadline = time.monotonic() + within
    while batch:
        assert time.monotonic() < deadline
        outcomes = await publisher.publish(batch)
        batch = [record for record, error in zip(batch, outcomes, strict=True) if error]


def committed_in(consumer):
    return sum(part.committed for part in consumer.lag().values())


class Line:
    """A TCP line to the broker that can be cut, so that clients lose it and it loses nothing."""

    def __init__(self, broker_port: int) -> None:
        self._broker_port = broker_port
        self._server: asyncio.Server | None = None
        self._pipes: set[asyncio.Task[None]] = set()
        self._up = True
        self.port = 0

    async def start(self, port: int) -> None:
        self.port = port
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)

    async def cut(self) -> None:
        self._up = False
        for pipe in list(self._pipes):
            pipe.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)

    def mend(self) -> None:
        self._up = True

    async def close(self) -> None:
        await self.cut()
        self._server.close()

    async def _serve(self, reader, writer) -> None:
        task = asyncio.current_task()
        self._pipes.add(task)
        try:
            if self._up:
                far_reader, far_writer = await asyncio.open_connection(
                    "127.0.0.1", self._broker_port
                )
                try:
                    async with asyncio.TaskGroup() as group:
                        group.create_task(self._pump(reader, far_writer))
                        group.create_task(self._pump(far_reader, writer))
                finally:
                    far_writer.close()
        except asyncio.CancelledError:
            pass
        finally:
            self._pipes.discard(task)
            writer.close()

    async def _pump(self, reader, writer) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()


@pytest.fixture
async def line(private_kafka, free_port):
    """A private broker that tells its clients to come by the line."""
    line = Line(private_kafka.port)
    port = free_port()
    private_kafka.command = [
        f"--advertised-listener-url=tcp://127.0.0.1:{port}"
        if argument.startswith("--advertised-listener-url=")
        else argument
        for argument in private_kafka.command
    ]
    private_kafka.start()
    await line.start(port)
    yield line
    await line.close()


async def test_a_broker_that_comes_back_empty_costs_nothing_that_is_published_then(
    private_kafka, publishers, consumers, topic, spy, eventually
):
    handled = []

    async def handler(record):
        handled.append(record.value)

    publisher = await publishers(private_kafka.address)
    consumer = await consumers(private_kafka.address, publisher, handler)  # no broker yet
    await asyncio.sleep(0.5)
    assert consumer.healthy()
    private_kafka.start()
    old = {r.value for r in numbered(topic, range(300), b"old")}
    await sent(publisher, numbered(topic, range(300), b"old"))
    await eventually(lambda: asyncio.sleep(0, set(handled) == old))

    # Fewer and more records than the old positions: neither are they beyond the end of the new
    # log, where nothing ever comes, nor is what lies below them skipped.
    for life, count in ((b"short", 50), (b"long", 2000)):
        handled.clear()
        private_kafka.kill()
        private_kafka.start()
        await sent(publisher, numbered(topic, range(count), life))
        new = {r.value for r in numbered(topic, range(count), life)}
        await eventually(lambda new=new: asyncio.sleep(0, new <= set(handled)))

        async def committed(count=count):
            offsets = await spy(private_kafka.address).committed(topic, topic)
            return sum(offset or 0 for offset in offsets.values()) >= count

        await eventually(committed)
        assert len(consumer.assigned()) == 6
        assert consumer.healthy()


async def test_offsets_of_a_former_log_are_not_committed_into_the_new_one(
    private_kafka, publishers, consumers, topic, eventually
):
    """Work from before the restart that ends after it must not move the group forward."""
    gate = asyncio.Event()
    handled = []

    async def handler(record):
        if record.value.startswith(b"old"):
            await gate.wait()
        handled.append(record.value)

    private_kafka.start()
    publisher = await publishers(private_kafka.address)
    first = await consumers(private_kafka.address, publisher, handler)
    await sent(publisher, numbered(topic, range(100), b"old"))
    await eventually(lambda: asyncio.sleep(0, bool(first.lag())))
    private_kafka.kill()
    private_kafka.start()
    gate.set()
    await sent(publisher, numbered(topic, range(200), b"new"))
    await asyncio.sleep(0.5)
    await first.stop()
    await consumers(private_kafka.address, publisher, handler)
    new = {r.value for r in numbered(topic, range(200), b"new")}
    await eventually(lambda: asyncio.sleep(0, new <= set(handled)))


async def test_a_topic_that_is_made_anew_is_read_from_its_beginning(
    private_kafka, publishers, consumers, topic, eventually
):
    handled = []

    async def handler(record):
        handled.append(record.value)

    private_kafka.start()
    publisher = await publishers(private_kafka.address)
    consumer = await consumers(private_kafka.address, publisher, handler)
    await sent(publisher, numbered(topic, range(100), b"old"))
    await eventually(lambda: asyncio.sleep(0, committed_in(consumer) == 100))

    def delete_topic():
        admin = KafkaAdminClient(bootstrap_servers=private_kafka.address)
        admin.delete_topics([topic])
        admin.close()

    await asyncio.to_thread(delete_topic)
    await ensure_topics(private_kafka.address, [spec_of(topic)])
    await sent(publisher, numbered(topic, range(10), b"new"))
    new = {r.value for r in numbered(topic, range(10), b"new")}
    await eventually(lambda: asyncio.sleep(0, new <= set(handled)))


async def test_a_broker_that_comes_back_with_its_memory_goes_on_where_it_was(
    line, publishers, consumers, topic, eventually
):
    handled = []

    async def handler(record):
        handled.append(record.value)

    address = f"127.0.0.1:{line.port}"
    publisher = await publishers(address, delivery_timeout=20.0)
    consumer = await consumers(address, publisher, handler)
    await sent(publisher, numbered(topic, range(200), b"before"))
    await eventually(lambda: asyncio.sleep(0, committed_in(consumer) == 200))
    await line.cut()
    publishing = asyncio.create_task(sent(publisher, numbered(topic, range(200), b"during")))
    await asyncio.sleep(1.0)
    line.mend()
    await publishing
    await sent(publisher, numbered(topic, range(200), b"after"))
    await eventually(lambda: asyncio.sleep(0, len(set(handled)) == 600))
    assert [v for v in handled[200:] if v.startswith(b"before")] == []
