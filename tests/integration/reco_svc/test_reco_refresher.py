"""Changed lists, from Kafka to Kafka."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from kafka import KafkaConsumer, TopicPartition
from marquee.events.v1 import events_pb2
from marquee.reco.v1 import interaction_service_pb2 as pb
from marquee.reco.v1 import model_service_pb2
from support.tokens import Issuer

from mesh.events import new_event, to_record
from mesh.ids import new_id
from mesh.kafka import topics
from mesh.kafka.client import ClientHolder
from mesh.kafka.consumer.factory import from_kafka
from mesh.kafka.producer import EventPublisher
from mesh.kafka.record import IncomingRecord, OutgoingRecord
from mesh.peers import open_channel
from mesh.telemetry.spans import span
from mesh.times import now
from reco_svc.store import schema

DEGREES = {f"m{degree:03d}": np.radians(degree) for degree in range(0, 360, 6)}
CIRCLE = {movie: (float(np.cos(a)), float(np.sin(a))) for movie, a in DEGREES.items()}
TURNED = {movie: (float(np.sin(a * 7)), float(np.cos(a * 7))) for movie, a in DEGREES.items()}


class Log:
    """All records of a topic, read without a group."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._consumer = KafkaConsumer(
            bootstrap_servers=bootstrap,
            enable_auto_commit=False,
            metrics_enabled=False,
            kafka_client=ClientHolder(),
        )
        partitions = self._consumer.partitions_for_topic(topic)
        self._consumer.assign([TopicPartition(topic, number) for number in partitions])
        self._consumer.seek_to_beginning()
        self._records: list[IncomingRecord] = []

    async def of(self, key: str) -> list[IncomingRecord]:
        """The records of a key so far."""
        polled = await asyncio.to_thread(self._consumer.poll, 100)
        self._records += [from_kafka(raw) for raws in polled.values() for raw in raws]
        return [record for record in self._records if record.key == key.encode()]

    def close(self) -> None:
        self._consumer.close()


async def publish(bootstrap: str, *records: OutgoingRecord) -> None:
    publisher = EventPublisher(bootstrap, "test")
    await publisher.start()
    assert await publisher.publish(records) == [None] * len(records)
    await publisher.close()


async def test_what_people_do_and_what_is_promoted_changes_lists_in_kafka(
    world: Any, interaction: Any, eventually: Any, ended_spans: Any, kafka_bootstrap: str
) -> None:
    ada = new_id()
    async with world.running(with_kafka=True) as reco:
        await reco.add_movies(*CIRCLE)
        first = await world.store_model(CIRCLE)
        await world.promote(reco, first, eventually)
        with span("cause") as cause:
            await reco.record(*(interaction(ada, f"m{degree:03d}") for degree in (0, 6, 12)))

        log = await asyncio.to_thread(Log, kafka_bootstrap, topics.RECOMMENDATION_EVENTS)
        lists: list[Any] = []

        async def told(times: int) -> None:
            async def check() -> bool:
                return len(await log.of(ada)) >= times

            await eventually(check)
            lists[:] = [
                events_pb2.RecommendationListChanged.FromString(record.value or b"")
                for record in await log.of(ada)
            ]
            assert len(lists) == times

        await told(1)
        best = [movie.movie_id for movie in lists[0].movies]
        assert sorted(best[:4]) == ["m018", "m024", "m348", "m354"]
        assert (len(best), lists[0].new_movie_ids) == (10, best)
        assert lists[0].movies[0].title.startswith("Title of m")
        assert set(lists[0].movies[0].because_titles) == {f"Title of m{d:03d}" for d in (0, 6, 12)}
        assert (lists[0].watermark, lists[0].model_version) == (1, first)

        # Delivered again, the same interactions change nothing more.
        again = events_pb2.InteractionRecorded(
            user_id=ada, interactions=[pb.Interaction(movie_id="m000")], watermark=1
        )
        await publish(kafka_bootstrap, to_record(new_event("/test", ada, 1, again)))
        second = await world.store_model(TURNED)
        await world.promote(reco, second, eventually)
        await told(2)
        assert (lists[1].watermark, lists[1].model_version) == (1, second)
        assert len(lists[1].new_movie_ids) >= 3

        deleted = events_pb2.UserDeleted(user_id=ada, version=2)
        await publish(kafka_bootstrap, to_record(new_event("/test", ada, 2, deleted)))

        async def forgotten() -> bool:
            state = await world.database[schema.USER_STATE].find_one({"_id": ada})
            return not state["history"]

        await eventually(forgotten)
        answer = await reco.record(interaction(ada, "m000"))
        assert [result.status for result in answer.results] == [pb.INTERACTION_STATUS_INVALID]
        assert len(await log.of(ada)) == 2
        log.close()

    trace_id = cause.get_span_context().trace_id
    names = {s.name for s in ended_spans() if s.context.trace_id == trace_id}
    assert {
        f"send {topics.INTERACTION_EVENTS}",
        f"process {topics.INTERACTION_EVENTS}",
        f"send {topics.RECOMMENDATION_EVENTS}",
    } <= names


@asynccontextmanager
async def process(listen: str, kafka: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The service as a process of its own; ended with SIGTERM, which must succeed."""
    environment = {
        **os.environ,
        "MARQUEE_LISTEN": listen,
        "MARQUEE_KAFKA_BOOTSTRAP": kafka,
        "MARQUEE_KAFKA_SESSION_TIMEOUT_MS": "6000",
        "MARQUEE_DRAIN_SECONDS": "0",
    }
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "reco_svc", env=environment
    )
    try:
        yield running
        running.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            assert await running.wait() == 0
    finally:
        if running.returncode is None:
            running.kill()
            await running.wait()


async def test_a_service_that_ends_amid_a_promotion_leaves_the_rest_to_the_next(
    named_world: Any, eventually: Any, kafka_bootstrap: str, free_port: Any, issuer: Issuer
) -> None:
    world, people = named_world, 500
    told = world.database[schema.TOLD_LISTS]
    async with world.running() as reco:
        await reco.add_movies(*CIRCLE)
    history = [{"m": "m000", "t": 4, "v": 0.0, "o": now()}]
    await world.database[schema.USER_STATE].insert_many(
        [{"_id": f"u{n}", "version": 1, "history": history} for n in range(people)]
    )
    version = await world.store_model(CIRCLE)
    listen = f"127.0.0.1:{free_port()}"
    async with (
        process(listen, kafka_bootstrap),
        open_channel(listen, token_source=issuer.source()) as channel,
    ):
        promote = channel.unary_unary(
            "/marquee.reco.v1.ModelService/PromoteModel",
            request_serializer=model_service_pb2.PromoteModelRequest.SerializeToString,
            response_deserializer=model_service_pb2.PromoteModelResponse.FromString,
        )
        request = model_service_pb2.PromoteModelRequest(version=version)
        await promote(request, wait_for_ready=True, timeout=30)

        async def begun() -> bool:
            return bool(await told.estimated_document_count())

        await eventually(begun)
    assert await told.count_documents({}) < people

    async with world.running(with_kafka=True):

        async def complete() -> bool:
            return bool(await told.count_documents({"model_version": version}) == people)

        await eventually(complete)
