import asyncio
from typing import Any

import grpc
import pytest
from marquee.user.v1 import user_pb2
from marquee.user.v1 import user_service_pb2 as pb
from support.tokens import Issuer, bearer
from support.users import ada, changes, create, failure, get, mask, update, violations


async def test_single_attributes_change_without_the_others(world: Any) -> None:
    await create(world, ada(attributes={"size": "37", "hat.colour": "red", "old": "x"}))
    values = user_pb2.User(id="ada", attributes={"size": "38", "new": "1", "unnamed": "y"})
    paths = ["attributes.size", "attributes.new", "attributes.old"]
    updated = await update(world, values, *paths)
    assert dict(updated.attributes) == {"size": "38", "hat.colour": "red", "new": "1"}
    removed = await update(world, user_pb2.User(id="ada"), "attributes.hat.colour")
    assert dict(removed.attributes) == {"size": "38", "new": "1"}
    replaced = await update(world, values, "attributes")
    assert dict(replaced.attributes) == dict(values.attributes)


@pytest.mark.parametrize("paths", [["nonsense"], ["user.email"], ["id"], ["*", "email"], [""]])
async def test_unknown_paths_are_refused(world: Any, paths: list[str]) -> None:
    await create(world, ada())
    call = world.stub.UpdateUser(pb.UpdateUserRequest(user=ada(), update_mask=mask(*paths)))
    assert set(await violations(call)) == {"update_mask"}
    preferences = user_pb2.Preferences(user_id="ada")
    request = pb.UpdatePreferencesRequest(preferences=preferences, update_mask=mask(*paths))
    assert set(await violations(world.stub.UpdatePreferences(request))) == {"update_mask"}


async def test_with_etags_no_writer_overwrites_another(world: Any) -> None:
    await create(world, ada(attributes={"n": "0"}))
    writers, rounds = 5, 4

    async def count_once() -> int:
        """Reads, adds one and writes until nobody came between; returns how often it lost."""
        lost = 0
        while True:
            user = await get(world, "ada")
            user.attributes["n"] = str(int(user.attributes["n"]) + 1)
            request = pb.UpdateUserRequest(user=user, update_mask=mask("attributes"))
            try:
                await world.stub.UpdateUser(request)
            except grpc.aio.AioRpcError as error:
                assert error.code() is grpc.StatusCode.ABORTED  # noqa: PT017  # others are wrong
                lost += 1
            else:
                return lost

    async def count() -> int:
        return sum([await count_once() for _ in range(rounds)])

    lost = await asyncio.gather(*(count() for _ in range(writers)))
    assert (await get(world, "ada")).attributes["n"] == str(writers * rounds)
    assert sum(lost) > 0, "the writers were never in each other's way"
    trail = (await changes(world, "ada", page_size=200)).changes
    assert [change.version for change in trail] == list(range(1 + writers * rounds, 0, -1))


async def test_without_etags_the_last_writer_of_a_field_wins_and_other_fields_stay(
    world: Any,
) -> None:
    await create(world, ada(attributes={}))
    values = user_pb2.User(
        id="ada",
        display_name="Countess",
        locale="fr",
        time_zone="Europe/Paris",
        attributes={"a": "1", "b": "2", "c": "3"},
    )
    paths = ["display_name", "locale", "time_zone", "attributes.a", "attributes.b", "attributes.c"]
    await asyncio.gather(*(update(world, values, path) for path in paths))
    stored = await get(world, "ada")
    assert (stored.display_name, stored.locale, stored.time_zone) == (
        "Countess",
        "fr",
        "Europe/Paris",
    )
    assert dict(stored.attributes) == dict(values.attributes)


async def test_repeated_creations_with_other_content_are_refused_whoever_is_first(
    world: Any,
) -> None:
    calls = [create(world, ada(id="", email="", locale=tag), "r") for tag in ("de", "fr") * 3]
    results = await asyncio.gather(*calls, return_exceptions=True)
    made = [result for result in results if isinstance(result, user_pb2.User)]
    refused = [result for result in results if isinstance(result, grpc.aio.AioRpcError)]
    assert (len(made), len(refused)) == (3, 3)
    assert all(user == made[0] for user in made)
    assert {error.code() for error in refused} == {grpc.StatusCode.INVALID_ARGUMENT}
    assert len((await world.stub.ListUsers(pb.ListUsersRequest())).users) == 1


@pytest.mark.usefixtures("ended_spans")  # without anybody who takes spans there are no traces
async def test_the_trail_says_who_changed_what(world: Any, issuer: Issuer) -> None:
    created = await create(world, ada(), "request1")
    preferences = user_pb2.Preferences(user_id="ada", liked_genres=["Drama"])
    request = pb.UpdatePreferencesRequest(preferences=preferences)
    liked = (await world.stub.UpdatePreferences(request)).preferences
    values = user_pb2.User(id="ada", display_name="Countess", email="new@example.org")
    own = bearer(issuer.mint("ada", ["users.write"]))
    renamed = await world.stub.UpdateUser(
        pb.UpdateUserRequest(user=values, update_mask=mask("display_name", "email", "locale")),
        metadata=own,
    )
    page = await changes(world, "ada", page_size=2)
    third, second = page.changes
    rest = await changes(world, "ada", page_size=2, page_token=page.next_page_token)
    (first,) = rest.changes
    assert rest.next_page_token == ""

    assert (first.actor, first.method, first.request_id) == (
        "service:tests",
        "CreateUser",
        "request1",
    )
    assert list(first.fields) == [
        "display_name", "email", "locale", "time_zone", "attributes.$shoe.size",
    ]  # fmt: skip
    assert (first.version, first.etag, first.change_time) == (1, created.etag, created.create_time)
    assert (second.method, list(second.fields)) == (
        "UpdatePreferences",
        ["preferences.liked_genres"],
    )
    assert (second.version, second.etag, second.change_time) == (2, liked.etag, liked.update_time)
    assert (third.actor, third.method, third.request_id) == ("ada", "UpdateUser", "")
    assert list(third.fields) == ["display_name", "email", "locale"]
    assert (third.version, third.etag) == (3, renamed.user.etag)
    traces = {change.trace_id for change in (first, second, third)}
    assert len(traces) == 3
    assert all(len(trace_id) == 32 for trace_id in traces)
    for value in ("Countess", "example.org", "Drama"):
        assert value not in str(page) + str(rest)


async def test_a_refused_change_leaves_no_trail(world: Any) -> None:
    await create(world, ada())
    await failure(world.stub.UpdateUser(pb.UpdateUserRequest(user=ada(etag="stale"))))
    await failure(world.stub.CreateUser(pb.CreateUserRequest(user=ada())))
    assert len((await changes(world, "ada")).changes) == 1


async def test_a_deletion_is_all_that_the_trail_keeps(world: Any, issuer: Issuer) -> None:
    await create(world, ada(), "request1")
    await update(world, ada(display_name="Countess"), "display_name")
    await world.stub.DeleteUser(
        pb.DeleteUserRequest(user_id="ada"), metadata=bearer(issuer.mint("ada", ["users.write"]))
    )
    (deletion,) = (await changes(world, "ada")).changes
    assert deletion == pb.UserChange(
        user_id="ada",
        version=3,
        change_time=deletion.change_time,
        actor="ada",
        method="DeleteUser",
    )
    assert await world.database["user_changes"].count_documents({}) == 1

    again = await create(world, ada(display_name="Another"))
    trail = (await changes(world, "ada")).changes
    assert [(change.version, change.method) for change in trail] == [
        (4, "CreateUser"),
        (3, "DeleteUser"),
    ]
    assert trail[0].etag == again.etag


async def test_the_trail_of_nobody_and_wrong_tokens(world: Any) -> None:
    code, details = await failure(changes(world, "nobody"))
    assert code is grpc.StatusCode.NOT_FOUND
    assert details["ErrorInfo"].reason == "USER_NOT_FOUND"
    for name in ("ada", "bob"):
        await create(world, ada(id=name, email=""))
        await update(world, user_pb2.User(id=name, locale="fr"), "locale")
    page = await changes(world, "ada", page_size=1)
    call = changes(world, "bob", page_token=page.next_page_token)
    assert await violations(call) == ["page_token"]
    assert await violations(changes(world, "ada", page_size=201)) == ["page_size"]
