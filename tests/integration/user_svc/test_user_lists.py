import asyncio
import itertools
import random
from typing import Any

import pytest
from google.protobuf import timestamp_pb2
from marquee.user.v1 import user_pb2
from marquee.user.v1 import user_service_pb2 as pb
from support.users import ada, create, update, violations

from user_svc.store import listing


def plain(user_id: str, locale: str = "", time_zone: str = "") -> user_pb2.User:
    return user_pb2.User(id=user_id, display_name="N", locale=locale, time_zone=time_zone)


async def ids(world: Any, size: int = 1000, **wanted: Any) -> list[str]:
    """Reads a listing to its end."""
    found: list[str] = []
    token = ""
    while True:
        page = await world.stub.ListUsers(
            pb.ListUsersRequest(page_size=size, page_token=token, filter=pb.UserFilter(**wanted))
        )
        assert len(page.users) <= size
        found += [user.id for user in page.users]
        token = page.next_page_token
        if not token:
            return found


def after(moment: timestamp_pb2.Timestamp) -> timestamp_pb2.Timestamp:
    later = timestamp_pb2.Timestamp()
    later.FromMilliseconds(moment.ToMilliseconds() + 1)
    return later


async def test_many_users_at_once(world: Any) -> None:
    for name in ("ada", "bob"):
        await create(world, ada(id=name, email=""))
    request = pb.BatchGetUsersRequest(user_ids=["bob", "nobody", "ada", "bob", "nobody"])
    answer = await world.stub.BatchGetUsers(request)
    assert [user.id for user in answer.users] == ["bob", "ada"]
    assert answer.users[1] == (await world.stub.GetUser(pb.GetUserRequest(user_id="ada"))).user
    assert list(answer.missing_user_ids) == ["nobody"]

    thousand = pb.BatchGetUsersRequest(user_ids=[*(f"x{n}" for n in range(999)), "ada"])
    answer = await world.stub.BatchGetUsers(thousand)
    assert ([user.id for user in answer.users], len(answer.missing_user_ids)) == (["ada"], 999)

    for wrong, field in (
        ([], "user_ids"),
        (["ada"] * 1001, "user_ids"),
        (["ada", "a b"], "user_ids[1]"),
    ):
        call = world.stub.BatchGetUsers(pb.BatchGetUsersRequest(user_ids=wrong))
        assert await violations(call) == [field]


async def test_answers_stay_small_enough_for_any_client(world: Any) -> None:
    attributes = {f"{number:02}": "\u20ac" * 1024 for number in range(64)}
    names = [f"big{number:02}" for number in range(20)]  # 200 kB each
    for name in names:
        await create(world, user_pb2.User(id=name, display_name="N", attributes=attributes))
    page = await world.stub.ListUsers(pb.ListUsersRequest())
    assert 1 <= len(page.users) < 20
    assert page.ByteSize() < 4 * 1024 * 1024
    assert await ids(world) == names
    call = world.stub.BatchGetUsers(pb.BatchGetUsersRequest(user_ids=names))
    assert await violations(call) == ["user_ids"]
    few = await world.stub.BatchGetUsers(pb.BatchGetUsersRequest(user_ids=names[:10]))
    assert len(few.users) == 10


async def test_filters(world: Any) -> None:
    for name, locale, zone in (
        ("a1", "de", "Europe/Berlin"),
        ("a2", "en", "Europe/London"),
        ("b1", "de", "Europe/Vienna"),
        ("b2", "en", "Europe/Berlin"),
        ("b.3", "de", "Europe/Berlin"),
    ):
        await create(world, plain(name, locale, zone))
    await create(world, ada(id="z", email="Ada@example.org"))
    for size in (1, 2, 100):
        assert await ids(world, size, id_prefix="b") == ["b.3", "b1", "b2"]
        assert await ids(world, size, id_prefix="b1") == ["b1"]
        assert await ids(world, size, email="ada@EXAMPLE.org") == ["z"]
        assert await ids(world, size, email="ada@EXAMPLE.org", locale="de") == []
        assert await ids(world, size, locale="de") == ["a1", "b.3", "b1"]
        assert await ids(world, size, locale="de", id_prefix="b") == ["b.3", "b1"]
        assert await ids(world, size, time_zone="Europe/Berlin") == ["a1", "b.3", "b2"]
        assert await ids(world, size, locale="de", time_zone="Europe/Berlin") == ["a1", "b.3"]
        assert await ids(world, size, locale="fr") == []


async def test_listings_by_creation(world: Any) -> None:
    moments = {}
    for name in ("c", "a", "d", "b"):
        moments[name] = (await create(world, plain(name, "de" if name > "b" else "en"))).create_time
        await asyncio.sleep(0.002)  # creations are told apart by milliseconds
    for size in (1, 3, 100):
        begin = moments["c"]
        assert await ids(world, size, create_time_from=begin) == ["c", "a", "d", "b"]
        assert await ids(world, size, create_time_from=after(begin)) == ["a", "d", "b"]
        assert await ids(world, size, create_time_before=moments["d"]) == ["c", "a"]
        bounds = {"create_time_from": moments["a"], "create_time_before": moments["b"]}
        assert await ids(world, size, **bounds) == ["a", "d"]
        assert await ids(world, size, create_time_from=begin, locale="de") == ["c", "d"]


async def test_users_of_the_same_moment_are_all_listed(world: Any) -> None:
    for number in range(7):
        await create(world, plain(f"u{number}"))
    moment = timestamp_pb2.Timestamp(seconds=1_700_000_000)
    await world.database["users"].update_many({}, {"$set": {"create_time": moment.ToDatetime()}})
    for size in (1, 2, 3, 7):
        found = await ids(world, size, create_time_from=moment)
        assert found == [f"u{number}" for number in range(7)]


async def test_a_page_looks_at_a_bounded_number_of_users(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("user_svc.store.accounts.MOST_EXAMINED", 4)
    assert listing.MOST_EXAMINED >= 1000, "a whole page must be possible"
    for number in range(10):
        zone = "Europe/Paris" if number == 9 else "Europe/Berlin"
        await create(world, plain(f"u{number}", "de", zone))
    wanted = {"locale": "de", "time_zone": "Europe/Paris"}
    first = await world.stub.ListUsers(pb.ListUsersRequest(filter=pb.UserFilter(**wanted)))
    assert (list(first.users), first.next_page_token != "") == ([], True)
    assert await ids(world, **wanted) == ["u9"]


async def test_a_token_belongs_to_its_filter(world: Any) -> None:
    for name in ("a", "b", "c"):
        await create(world, plain(name, "de"))
    request = pb.ListUsersRequest(page_size=1, filter=pb.UserFilter(locale="de"))
    page = await world.stub.ListUsers(request)
    for other in (None, pb.UserFilter(locale="en"), pb.UserFilter(locale="de", id_prefix="b")):
        call = world.stub.ListUsers(
            pb.ListUsersRequest(page_token=page.next_page_token, filter=other)
        )
        assert await violations(call) == ["page_token"]
    request.page_token = page.next_page_token
    request.page_size = 2  # the size may differ from page to page
    assert [user.id for user in (await world.stub.ListUsers(request)).users] == ["b", "c"]


async def test_wrong_filters_name_their_fields(world: Any) -> None:
    wrong = pb.UserFilter(id_prefix="a b", email="x", locale="?", time_zone="Mars")
    assert await violations(world.stub.ListUsers(pb.ListUsersRequest(filter=wrong))) == [
        "filter.id_prefix",
        "filter.email",
        "filter.locale",
        "filter.time_zone",
    ]


class Crowd:
    """People who come, move and go while a listing is read."""

    def __init__(self, world: Any, choice: random.Random) -> None:
        self._world = world
        self._choice = choice
        self._there: list[str] = []
        self.steps = 0

    async def stir(self) -> None:
        """Does something to somebody."""
        self.steps += 1
        pick = self._choice.random()
        if pick < 0.5 or not self._there:
            # Anywhere between the others, so before, behind and at the reader's place.
            name = f"u{self._choice.randrange(10_000):04}.{self.steps}"
            await create(self._world, plain(name, "de", "Europe/Berlin"))
            self._there.append(name)
        elif pick < 0.75:
            name = self._there.pop(self._choice.randrange(len(self._there)))
            await self._world.stub.DeleteUser(pb.DeleteUserRequest(user_id=name))
        else:
            user = plain(self._choice.choice(self._there), self._choice.choice(["de", "en"]))
            await update(self._world, user, "locale")


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"id_prefix": "u"},
        {"locale": "de"},
        {"locale": "de", "time_zone": "Europe/Berlin"},
        {"create_time_from": timestamp_pb2.Timestamp(seconds=1)},
    ],
    ids=lambda wanted: "+".join(wanted) or "everybody",
)
async def test_pages_neither_skip_nor_repeat_while_users_come_and_go(
    world: Any, wanted: dict[str, Any]
) -> None:
    choice = random.Random(repr(wanted))
    steady = [f"u{number:04}" for number in range(0, 10_000, 500)]
    choice.shuffle(steady)
    for name in steady:
        await create(world, plain(name, "de", "Europe/Berlin"))
    crowd, done = Crowd(world, choice), asyncio.Event()

    async def stir_until_done() -> None:
        while not done.is_set():
            await crowd.stir()

    stirring = asyncio.create_task(stir_until_done())
    try:
        sizes = itertools.cycle((1, 3, 7))
        while crowd.steps < 20:
            found = await ids(world, next(sizes), **wanted)
            assert len(found) == len(set(found)), "somebody came twice"
            assert set(steady) <= set(found), "somebody was skipped"
            if "create_time_from" in wanted:
                assert [name for name in found if name in steady] == steady
            else:
                assert found == sorted(found)
    finally:
        done.set()
        await stirring
