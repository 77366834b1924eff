import asyncio
from typing import Any

from marquee.user.v1 import user_pb2

INBOX, STREAM = user_pb2.CHANNEL_INBOX, user_pb2.CHANNEL_STREAM


async def rows(world: Any, **query: Any) -> list[dict[str, Any]]:
    return await world.database["notifications"].find(query).sort("sequence", 1).to_list()


async def test_an_event_leads_to_one_notification_however_often_it_comes(
    world: Any, make: Any
) -> None:
    event = make.list_changed("Heat", "Ronin")
    await asyncio.gather(*(world.handle(event) for _ in range(5)))
    await world.handle(event)
    (row,) = await rows(world)
    assert row["sequence"] == 1
    assert row["title"] == "New for you: Heat and 1 more"
    assert row["body"].splitlines()[0] == "Heat: because you watched Casino and Fargo."
    assert row["movie_ids"] == ["Heat", "Ronin"]
    assert await world.count("deliveries", outcome="delivered") == 2


async def test_sequences_grow_by_one_also_under_contention(world: Any, make: Any) -> None:
    events = [make.list_changed(f"Movie {number}") for number in range(12)]
    others = [make.list_changed("Movie", user_id="bob") for _ in range(3)]
    await asyncio.gather(*(world.handle(event) for event in [*events, *others, *events]))
    assert [row["sequence"] for row in await rows(world, user_id="ada")] == list(range(1, 13))
    assert [row["sequence"] for row in await rows(world, user_id="bob")] == [1, 2, 3]
    assert await world.count("deliveries") == 30


async def test_what_is_known_of_a_person_shapes_what_they_are_told(world: Any, make: Any) -> None:
    await world.handle(make.user_changed(1, name="Ada"), make.list_changed("Heat"))
    await world.handle(make.user_changed(2, STREAM), make.list_changed("Ronin"))
    await world.handle(make.user_changed(3, INBOX), make.list_changed("Fargo"))
    await world.handle(make.user_changed(4, INBOX, STREAM), make.list_changed("Alien"))
    kept = await rows(world)
    assert [row["title"] for row in kept] == [
        "New for you, Ada: Heat",
        "New for you, Ada: Ronin",
        "New for you, Ada: Fargo",
    ]
    assert [(row["listed"], row["streamed"]) for row in kept] == [
        (True, True),
        (True, False),
        (False, True),
    ]
    assert await world.count("deliveries", outcome="suppressed") == 4
    assert await world.count("deliveries") == 8


async def test_late_and_repeated_user_events_do_no_harm(world: Any, make: Any) -> None:
    first, second = make.user_changed(1, name="Old"), make.user_changed(2, name="New")
    await world.handle(second, first, second, first)
    row = await world.database["recipients"].find_one({"_id": "ada"})
    assert (row["display_name"], row["version"]) == ("New", 2)


async def test_a_user_event_after_notifications_keeps_their_numbers(world: Any, make: Any) -> None:
    await world.handle(make.list_changed("Heat"))
    await world.handle(make.user_changed(1))
    await world.handle(make.list_changed("Ronin"))
    assert [row["sequence"] for row in await rows(world)] == [1, 2]
    assert (await rows(world))[1]["title"] == "New for you, Ada: Ronin"


async def test_a_deletion_removes_all_and_is_final(world: Any, make: Any) -> None:
    created = make.user_changed(1)
    await world.handle(created, make.list_changed("Heat"), make.list_changed("X", user_id="bob"))
    await world.handle(make.user_deleted(2), make.user_deleted(2))
    assert [row["user_id"] for row in await rows(world)] == ["bob"]
    row = await world.database["recipients"].find_one({"_id": "ada"})
    assert "Ada" not in str(row)

    await world.handle(created, make.list_changed("Ronin"))
    assert await world.count("notifications", user_id="ada") == 0

    await world.handle(make.user_changed(3, name="Another"), make.list_changed("Fargo"))
    (row,) = await rows(world, user_id="ada")
    assert row["title"] == "New for you, Another: Fargo"
    assert row["sequence"] == 2, "an old cursor must not hide it"


async def test_a_deletion_and_a_plan_at_once_leave_nothing_behind(world: Any, make: Any) -> None:
    for number in range(10):
        user_id = f"user{number}"
        await world.handle(make.user_changed(1, user_id=user_id))
        await asyncio.gather(
            world.handle(make.user_deleted(2, user_id=user_id)),
            world.handle(make.list_changed("Heat", user_id=user_id)),
        )
    assert await world.count("notifications") == 0
