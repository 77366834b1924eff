"""Both clients follow the live stream of the real notification service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from support.tokens import Issuer

import marquee_client
from marquee_client import Arrival, errors

SCOPES = ("notifications.read",)


class Following:
    """What a client has received so far, in the background."""

    def __init__(self, subscription: Any) -> None:
        self.subscription = subscription
        self.arrivals: list[Arrival] = []

    @property
    def sequences(self) -> list[int]:
        return [arrival.notification.sequence for arrival in self.arrivals]


@asynccontextmanager
async def following(kind: str, address: str, token: Any, cursor: str = "") -> AsyncIterator[Any]:
    """Follows ada's notifications with one of the clients."""
    if kind == "aio":
        async with marquee_client.aio.connect(address, token=token) as marquee:
            follower = Following(marquee.subscribe("ada", cursor))

            async def collect() -> None:
                async for arrival in follower.subscription:
                    follower.arrivals.append(arrival)

            task = asyncio.create_task(collect())
            yield follower
            await marquee.close()
            await task
        return
    blocking = marquee_client.connect(address, token=token)
    follower = Following(blocking.subscribe("ada", cursor))
    waiting = asyncio.create_task(asyncio.to_thread(collect_from, follower))
    yield follower
    await asyncio.to_thread(blocking.close)
    await waiting


def collect_from(follower: Following) -> None:
    for arrival in follower.subscription:
        follower.arrivals.append(arrival)


both = pytest.mark.parametrize("kind", ["sync", "aio"])


@both
async def test_nothing_is_missed_or_told_twice_across_restarts(
    kind: str, notify: Any, issuer: Issuer, eventually: Any
) -> None:
    async def reached(count: int) -> None:
        async def told() -> bool:
            return len(follower.arrivals) >= count

        await eventually(told)

    async with following(kind, notify.address, issuer.mint("ada", SCOPES)) as follower:
        async with notify.running():

            async def alive() -> bool:
                return bool(follower.subscription.cursor)

            await eventually(alive)
            await notify.notify("Heat", "Ronin")
            await reached(2)
        await notify.notify("Fargo")
        async with notify.running():
            await reached(3)
            await notify.notify("Casino")
            await reached(4)
    assert follower.sequences == [1, 2, 3, 4]
    assert len({arrival.cursor for arrival in follower.arrivals}) == 4


@both
async def test_a_kept_cursor_goes_on_where_it_was(
    kind: str, notify: Any, issuer: Issuer, eventually: Any
) -> None:
    token = issuer.mint("ada", SCOPES)
    async with notify.running():
        async with following(kind, notify.address, token) as first:

            async def alive() -> bool:
                return bool(first.subscription.cursor)

            await eventually(alive)
            await notify.notify("Heat", "Ronin")

            async def both_arrived() -> bool:
                return len(first.arrivals) == 2

            await eventually(both_arrived)
        kept = first.arrivals[0].cursor
        async with following(kind, notify.address, token, kept) as second:

            async def arrived() -> bool:
                return bool(second.arrivals)

            await eventually(arrived)
    assert second.sequences == [2]


@both
@pytest.mark.parametrize(
    ("subject", "scopes", "reason"),
    [("bob", SCOPES, "SUBJECT_MISMATCH"), ("ada", ("users.read",), "SCOPE_MISSING")],
)
async def test_who_may_not_follow_is_told_so(
    kind: str, subject: str, scopes: tuple[str, ...], reason: str, notify: Any, issuer: Issuer
) -> None:
    async with notify.running():
        error = await refusal(kind, notify.address, issuer.mint(subject, scopes))
    assert error.code is grpc.StatusCode.PERMISSION_DENIED
    assert (error.reason, error.domain) == (reason, "marquee")


@both
async def test_a_token_that_stays_expired_is_final(
    kind: str, notify: Any, issuer: Issuer, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    path.write_text(issuer.mint("ada", SCOPES, exp=1))
    async with notify.running():
        error = await refusal(kind, notify.address, path)
    assert error.code is grpc.StatusCode.UNAUTHENTICATED
    assert error.reason == "TOKEN_EXPIRED"


async def test_a_token_that_is_renewed_in_time_is_not(
    notify: Any, issuer: Issuer, eventually: Any
) -> None:
    given = iter([issuer.mint("ada", SCOPES, exp=1)])

    def give() -> str:
        return next(given, "") or issuer.mint("ada", SCOPES)

    async with notify.running(), following("aio", notify.address, give) as follower:

        async def alive() -> bool:
            return bool(follower.subscription.cursor)

        await eventually(alive)


async def test_waiting_may_be_cancelled_and_taken_up_again(notify: Any, issuer: Issuer) -> None:
    token = issuer.mint("ada", SCOPES)
    async with (
        notify.running(),
        marquee_client.aio.connect(notify.address, token=token) as marquee,
        marquee.subscribe("ada") as subscription,
    ):
        assert await subscription.begin()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await anext(subscription)
        await notify.notify("Heat")
        async with asyncio.timeout(20):
            arrival = await anext(subscription)
        assert arrival.notification.title == "New for you: Heat"
        await subscription.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(subscription)


async def refusal(kind: str, address: str, token: Any) -> errors.ErrorDetails:
    """Subscribes where that must fail, and returns how it does."""
    if kind == "aio":
        async with marquee_client.aio.connect(address, token=token) as marquee:
            with pytest.raises(grpc.RpcError) as caught:
                async with asyncio.timeout(20):
                    await anext(marquee.subscribe("ada"))
        return errors.details(caught.value)

    def call() -> errors.ErrorDetails:
        with marquee_client.connect(address, token=token) as blocking:
            with pytest.raises(grpc.RpcError) as caught:
                next(blocking.subscribe("ada"))
            return errors.details(caught.value)

    return await asyncio.to_thread(call)
