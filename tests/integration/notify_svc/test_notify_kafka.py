"""Events through a real broker into the inbox and onto the stream."""

from typing import Any

from marquee.notify.v1 import notification_service_pb2 as pb

from mesh.events import Event, to_record
from mesh.ids import new_id
from mesh.kafka import topics
from mesh.kafka.producer import EventPublisher
from mesh.kafka.record import OutgoingRecord
from mesh.telemetry.spans import span


async def publish(bootstrap: str, *events: Event, raw: OutgoingRecord | None = None) -> None:
    publisher = EventPublisher(bootstrap, "test")
    await publisher.start()
    records = [to_record(event) for event in events] + ([raw] if raw else [])
    assert await publisher.publish(records) == [None] * len(records)
    await publisher.close()


async def test_events_become_notifications_once_and_within_one_trace(
    world: Any, make: Any, read: Any, ended_spans: Any, eventually: Any, kafka_bootstrap: str
) -> None:
    ada = new_id()
    kafka = {"kafka_bootstrap": kafka_bootstrap, "kafka_session_timeout_ms": 6000}
    async with world.running(with_kafka=True, **kafka) as stub:
        stream = stub.Subscribe(pb.SubscribeRequest(user_id=ada))
        await read(stream, 1)
        await publish(kafka_bootstrap, make.user_changed(1, user_id=ada, name="Ada"))

        async def known() -> bool:
            return await world.count("recipients", _id=ada, display_name="Ada") == 1

        await eventually(known)
        with span("cause") as cause:
            first = make.list_changed("Heat", user_id=ada)
        second = make.list_changed("Ronin", user_id=ada)
        garbage = OutgoingRecord(topics.RECOMMENDATION_EVENTS, ada.encode(), b"\xff", ())
        await publish(kafka_bootstrap, first, first, raw=garbage)
        await publish(kafka_bootstrap, first, second)
        news = await read(stream, 2)
        assert [message.notification.sequence for message in news] == [1, 2]
        assert news[0].notification.title == "New for you, Ada: Heat"
        listed = await stub.ListNotifications(pb.ListNotificationsRequest(user_id=ada))
        assert [notification.title for notification in listed.notifications] == [
            "New for you, Ada: Ronin",
            "New for you, Ada: Heat",
        ]
        stream.cancel()

        await publish(kafka_bootstrap, make.user_deleted(2, user_id=ada))

        async def gone() -> bool:
            return await world.count("notifications", user_id=ada) == 0

        await eventually(gone)

    trace_id = cause.get_span_context().trace_id
    mine = {s.context.span_id: s for s in ended_spans() if s.context.trace_id == trace_id}

    def ancestry(name: str) -> list[str]:
        (found,) = [s for s in mine.values() if s.name == name]
        names = []
        while found is not None:
            names.append(found.name)
            found = found.parent and mine.get(found.parent.span_id)
        return names

    process = f"process {topics.RECOMMENDATION_EVENTS}"
    assert ancestry("deliver inbox") == ["deliver inbox", "plan notification", process, "cause"]
    assert ancestry("deliver stream") == ["deliver stream", "plan notification", process, "cause"]
    repeated = [s for s in mine.values() if s.name == process]
    assert len(repeated) == 3, "the repetitions are seen, and lead to nothing"


async def test_the_service_serves_without_a_broker(world: Any, make: Any, read: Any) -> None:
    await world.handle(make.list_changed("Heat"))
    async with world.running(with_kafka=True, kafka_bootstrap="127.0.0.1:1") as stub:
        stream = stub.Subscribe(pb.SubscribeRequest(user_id="ada"))
        await read(stream, 1)
        listed = await stub.ListNotifications(pb.ListNotificationsRequest(user_id="ada"))
        assert len(listed.notifications) == 1
        stream.cancel()
