import asyncio
from typing import Any

import grpc
import pytest
from marquee.events.v1 import events_pb2
from marquee.user.v1 import user_pb2
from marquee.user.v1 import user_service_pb2 as pb
from support.tokens import Issuer, bearer
from support.users import ada, changes, create, failure, get, mask, update, violations


async def test_a_user_is_created_read_changed_and_deleted(world: Any) -> None:
    created = await create(world, ada())
    expected = ada(
        create_time=created.create_time, update_time=created.create_time, etag=created.etag
    )
    assert created == expected
    assert await get(world, "ada") == created

    request = pb.UpdateUserRequest(
        user=user_pb2.User(id="ada", display_name="Countess", email="ignored@example.org"),
        update_mask=mask("display_name"),
    )
    updated = (await world.stub.UpdateUser(request)).user
    assert (updated.display_name, updated.email) == ("Countess", "Ada@example.org")
    assert updated.etag != created.etag
    assert updated.create_time == created.create_time
    assert await get(world, "ada") == updated

    await world.stub.DeleteUser(pb.DeleteUserRequest(user_id="ada", etag=updated.etag))
    code, details = await failure(world.stub.GetUser(pb.GetUserRequest(user_id="ada")))
    assert code is grpc.StatusCode.NOT_FOUND
    assert details["ErrorInfo"].reason == "USER_NOT_FOUND"
    code, _ = await failure(world.stub.DeleteUser(pb.DeleteUserRequest(user_id="ada")))
    assert code is grpc.StatusCode.NOT_FOUND


async def test_an_update_without_mask_changes_everything(world: Any) -> None:
    await create(world, ada())
    request = pb.UpdateUserRequest(user=user_pb2.User(id="ada", display_name="Bare"))
    updated = (await world.stub.UpdateUser(request)).user
    assert (updated.email, updated.locale, updated.time_zone) == ("", "", "")
    assert dict(updated.attributes) == {}


async def test_the_outbox_holds_every_change_in_full(world: Any) -> None:
    await create(world, ada())
    preferences = user_pb2.Preferences(user_id="ada", liked_genres=["Drama"])
    await world.stub.UpdatePreferences(pb.UpdatePreferencesRequest(preferences=preferences))
    request = pb.UpdateUserRequest(
        user=user_pb2.User(id="ada", locale="de"), update_mask=mask("locale")
    )
    await world.stub.UpdateUser(request)
    user = await get(world, "ada")
    stored = await world.stub.GetPreferences(pb.GetPreferencesRequest(user_id="ada"))
    await world.stub.DeleteUser(pb.DeleteUserRequest(user_id="ada"))
    again = await create(world, ada(display_name="Another"))

    created, preferred, updated, deleted, recreated = await world.announced()
    assert [event.version for event in (created, preferred, updated, deleted, recreated)] == [
        1, 2, 3, 4, 5,
    ]  # fmt: skip
    assert created.user.display_name == "Ada"
    assert list(preferred.preferences.liked_genres) == ["Drama"]
    assert updated == events_pb2.UserChanged(user=user, preferences=stored.preferences, version=3)
    assert (deleted.user_id, deleted.delete_time.seconds > 0) == ("ada", True)
    assert recreated.user == again
    assert not recreated.preferences.liked_genres


async def test_a_refused_change_announces_nothing(world: Any) -> None:
    await create(world, ada())
    await failure(world.stub.CreateUser(pb.CreateUserRequest(user=ada(id="eve"))))
    stale = pb.UpdateUserRequest(user=ada(etag="stale"))
    code, details = await failure(world.stub.UpdateUser(stale))
    assert code is grpc.StatusCode.ABORTED
    assert details["ErrorInfo"].reason == "ETAG_MISMATCH"
    code, _ = await failure(
        world.stub.DeleteUser(pb.DeleteUserRequest(user_id="ada", etag="stale"))
    )
    assert code is grpc.StatusCode.ABORTED
    assert len(await world.announced()) == 1


async def test_ids_and_addresses_are_unique(world: Any) -> None:
    await create(world, ada())
    await create(world, ada(id="bob", email=""))
    await create(world, ada(id="eve", email=""))
    for user, reason in (
        (ada(email=""), "USER_ID_TAKEN"),
        (ada(id="other", email="ada@EXAMPLE.org"), "USER_EMAIL_TAKEN"),
    ):
        code, details = await failure(world.stub.CreateUser(pb.CreateUserRequest(user=user)))
        assert code is grpc.StatusCode.ALREADY_EXISTS
        assert details["ErrorInfo"].reason == reason
    taken = pb.UpdateUserRequest(user=ada(id="bob"), update_mask=mask("email"))
    code, _ = await failure(world.stub.UpdateUser(taken))
    assert code is grpc.StatusCode.ALREADY_EXISTS
    await world.stub.DeleteUser(pb.DeleteUserRequest(user_id="ada"))
    await world.stub.UpdateUser(taken)


async def test_only_one_of_many_gets_an_address(world: Any) -> None:
    addresses = ["Ada@example.org", "ada@EXAMPLE.org"] * 4
    calls = [
        create(world, ada(id=f"user{number}", email=address))
        for number, address in enumerate(addresses)
    ]
    results = await asyncio.gather(*calls, return_exceptions=True)
    lost = [result for result in results if isinstance(result, grpc.aio.AioRpcError)]
    assert len(lost) == 7
    assert {error.code() for error in lost} == {grpc.StatusCode.ALREADY_EXISTS}
    assert len(await world.announced()) == 1


async def test_of_writers_with_the_same_etag_exactly_one_wins(world: Any) -> None:
    created = await create(world, ada())
    calls = [
        world.stub.UpdateUser(
            pb.UpdateUserRequest(
                user=user_pb2.User(id="ada", display_name=f"Writer {number}", etag=created.etag),
                update_mask=mask("display_name"),
            )
        )
        for number in range(6)
    ]
    results = await asyncio.gather(*calls, return_exceptions=True)
    (won,) = [result for result in results if isinstance(result, pb.UpdateUserResponse)]
    codes = {result.code() for result in results if isinstance(result, grpc.aio.AioRpcError)}
    assert codes == {grpc.StatusCode.ABORTED}
    assert await get(world, "ada") == won.user
    assert [event.version for event in await world.announced()] == [1, 2]


async def test_writers_without_etag_all_win_one_after_the_other(world: Any) -> None:
    await create(world, ada())
    calls = [
        world.stub.UpdateUser(
            pb.UpdateUserRequest(
                user=user_pb2.User(id="ada", display_name=f"Writer {number}"),
                update_mask=mask("display_name"),
            )
        )
        for number in range(6)
    ]
    await asyncio.gather(*calls)
    assert [event.version for event in await world.announced()] == [1, 2, 3, 4, 5, 6, 7]


async def test_a_repeated_creation_returns_the_first_result(world: Any) -> None:
    anonymous = ada(id="")
    calls = [create(world, anonymous, "request1") for _ in range(5)]
    first, *others = await asyncio.gather(*calls)
    assert others == [first] * 4
    rename = pb.UpdateUserRequest(
        user=user_pb2.User(id=first.id, display_name="Countess"),
        update_mask=mask("display_name"),
    )
    await world.stub.UpdateUser(rename)
    assert await create(world, anonymous, "request1") == first
    assert len(await world.announced()) == 2

    other = pb.CreateUserRequest(user=ada(id="", email="o@example.org"), request_id="request1")
    assert await violations(world.stub.CreateUser(other)) == ["request_id"]

    await world.stub.DeleteUser(pb.DeleteUserRequest(user_id=first.id))
    repeated = pb.CreateUserRequest(user=anonymous, request_id="request1")
    code, details = await failure(world.stub.CreateUser(repeated))
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert details["ErrorInfo"].reason == "REQUEST_RESULT_DELETED"


async def test_nobody_can_take_the_request_ids_of_another(world: Any, issuer: Issuer) -> None:
    async def come(user_id: str) -> user_pb2.User:
        user = ada(id=user_id, email=f"{user_id}@example.org")
        request = pb.CreateUserRequest(user=user, request_id="request1")
        own = bearer(issuer.mint(user_id, ["users.write"]))
        created: user_pb2.User = (await world.stub.CreateUser(request, metadata=own)).user
        return created

    async def deletion_of(call: Any) -> str:
        code, details = await failure(call)
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        return str(details["ErrorInfo"].reason)

    eve, bob = await come("eve"), await come("bob")
    third = await create(world, ada(), "request1")
    assert [user.id for user in (eve, bob, third)] == ["eve", "bob", "ada"]
    await world.stub.DeleteUser(pb.DeleteUserRequest(user_id="eve"))
    assert await deletion_of(come("eve")) == "REQUEST_RESULT_DELETED"
    assert await come("bob") == bob
    assert await create(world, ada(), "request1") == third
    await world.stub.DeleteUser(pb.DeleteUserRequest(user_id="ada"))
    assert await deletion_of(create(world, ada(), "request1")) == "REQUEST_RESULT_DELETED"
    assert await come("bob") == bob


async def test_values_that_are_stored_already_are_no_change(world: Any) -> None:
    created = await create(world, ada())
    assert await update(world, ada(etag=created.etag)) == created
    assert await update(world, ada(), "attributes.$shoe.size", "locale") == created
    wanted = user_pb2.Preferences(user_id="ada", liked_genres=["Drama"])
    request = pb.UpdatePreferencesRequest(preferences=wanted)
    first = (await world.stub.UpdatePreferences(request)).preferences
    request.preferences.etag = first.etag
    assert (await world.stub.UpdatePreferences(request)).preferences == first
    assert [event.version for event in await world.announced()] == [1, 2]
    assert [change.version for change in (await changes(world, "ada")).changes] == [2, 1]
    request.preferences.etag = "stale"
    for call in (
        world.stub.UpdatePreferences(request),
        world.stub.UpdateUser(pb.UpdateUserRequest(user=ada(etag="stale"))),
    ):
        code, _ = await failure(call)
        assert code is grpc.StatusCode.ABORTED


async def test_a_deleted_user_leaves_no_personal_data(world: Any) -> None:
    created = await create(world, ada(id=""), "request1")
    await world.database["outbox"].delete_many({})  # as the relay does once they are sent
    await world.stub.DeleteUser(pb.DeleteUserRequest(user_id=created.id))
    for name in await world.database.list_collection_names():
        async for row in world.database[name].find():
            text = str(row).lower()
            assert "example.org" not in text
            assert "london" not in text


async def test_preferences_are_empty_then_set_then_stale(world: Any) -> None:
    await create(world, ada())
    empty = (await world.stub.GetPreferences(pb.GetPreferencesRequest(user_id="ada"))).preferences
    assert empty == user_pb2.Preferences(user_id="ada", etag=empty.etag)
    wanted = user_pb2.Preferences(
        user_id="ada",
        liked_genres=["Drama", "Film-Noir"],
        disliked_genres=["Horror"],
        languages=["en", "de-AT"],
        topics=[
            user_pb2.TopicPreference(
                topic="recommendations", muted_channels=[user_pb2.CHANNEL_STREAM]
            )
        ],
        etag=empty.etag,
    )
    request = pb.UpdatePreferencesRequest(preferences=wanted)
    stored = (await world.stub.UpdatePreferences(request)).preferences
    wanted.etag = stored.etag
    wanted.update_time.CopyFrom(stored.update_time)
    assert stored == wanted
    code, _ = await failure(
        world.stub.UpdatePreferences(
            pb.UpdatePreferencesRequest(
                preferences=user_pb2.Preferences(user_id="ada", etag=empty.etag)
            )
        )
    )
    assert code is grpc.StatusCode.ABORTED
    partial = pb.UpdatePreferencesRequest(
        preferences=user_pb2.Preferences(user_id="ada", languages=["fr"], etag=stored.etag),
        update_mask=mask("languages"),
    )
    changed = (await world.stub.UpdatePreferences(partial)).preferences
    assert list(changed.languages) == ["fr"]
    assert list(changed.liked_genres) == ["Drama", "Film-Noir"]
    code, _ = await failure(world.stub.GetPreferences(pb.GetPreferencesRequest(user_id="nobody")))
    assert code is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("method", "request_", "fields"),
    [
        ("CreateUser", pb.CreateUserRequest(), ["user.display_name"]),
        (
            "CreateUser",
            pb.CreateUserRequest(
                user=ada(id="a b", email="x", locale="?", time_zone="Mars"), request_id="r" * 129
            ),
            ["user.id", "request_id", "user.email", "user.locale", "user.time_zone"],
        ),
        ("GetUser", pb.GetUserRequest(), ["user_id"]),
        ("ListUsers", pb.ListUsersRequest(page_size=-1), ["page_size"]),
        (
            "ListUsers",
            pb.ListUsersRequest(page_size=1001, page_token="forged"),
            ["page_size", "page_token"],
        ),
        (
            "UpdateUser",
            pb.UpdateUserRequest(user=ada(id=""), update_mask=mask("etag")),
            ["user.id", "update_mask"],
        ),
        ("DeleteUser", pb.DeleteUserRequest(user_id="a/b"), ["user_id"]),
        ("GetPreferences", pb.GetPreferencesRequest(user_id=""), ["user_id"]),
        (
            "UpdatePreferences",
            pb.UpdatePreferencesRequest(preferences=user_pb2.Preferences(languages=["?"])),
            ["preferences.user_id", "preferences.languages[0]"],
        ),
    ],
)
async def test_every_bad_field_is_named(
    world: Any, method: str, request_: Any, fields: list[str]
) -> None:
    assert await violations(getattr(world.stub, method)(request_)) == fields


async def test_a_contradiction_with_what_is_stored_is_named(world: Any) -> None:
    await create(world, ada())
    likes = user_pb2.Preferences(user_id="ada", liked_genres=["Drama"])
    await world.stub.UpdatePreferences(pb.UpdatePreferencesRequest(preferences=likes))
    request = pb.UpdatePreferencesRequest(
        preferences=user_pb2.Preferences(user_id="ada", disliked_genres=["Drama"]),
        update_mask=mask("disliked_genres"),
    )
    assert await violations(world.stub.UpdatePreferences(request)) == [
        "preferences.disliked_genres[0]"
    ]
