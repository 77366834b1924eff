import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import pytest

from user_svc.service.export import Export, ExportService, HolderUnavailable


class Holder:
    """Gives parts, and then fails if told so; notes whether it was closed."""

    def __init__(
        self,
        name: str,
        *parts: Sequence[str],
        failure: Exception | None = None,
        hangs: bool = False,
    ) -> None:
        self.name = name
        self.closed = False
        self._parts = parts
        self._failure = failure
        self._hangs = hangs

    async def records(self, user_id: str) -> AsyncGenerator[Sequence[str], None]:
        try:
            if self._hangs:
                await asyncio.Event().wait()
            for part in self._parts:
                await asyncio.sleep(0)
                yield [f"{user_id}:{record}" for record in part]
            if self._failure is not None:
                raise self._failure
        finally:
            self.closed = True


async def everything(service: ExportService[str]) -> list[Export[str]]:
    return [part async for part in service.export("ada")]


async def test_all_holders_give_in_their_order_and_are_counted() -> None:
    own, peer, empty = Holder("own", ["1", "2"], ["3"]), Holder("peer", ["4"]), Holder("empty")
    parts = await everything(ExportService([own, peer, empty]))
    assert [part.records for part in parts[:-1]] == [["ada:1", "ada:2"], ["ada:3"], ["ada:4"]]
    assert parts[-1] == Export((), {"own": 3, "peer": 1, "empty": 0})
    assert all(part.counts is None for part in parts[:-1])


async def test_nothing_is_given_while_a_holder_is_away() -> None:
    own, slow = Holder("own", ["1"]), Holder("slow", hangs=True)
    away = Holder("away", failure=HolderUnavailable("away", "UNAVAILABLE"))
    with pytest.raises(HolderUnavailable) as caught:
        await everything(ExportService([own, slow, away]))
    assert caught.value.metadata == {"holder": "away", "trouble": "UNAVAILABLE"}
    assert own.closed
    assert slow.closed


async def test_a_holder_that_fails_on_the_way_leaves_no_summary() -> None:
    own, peer = Holder("own", ["1"]), Holder("peer", ["2"], failure=HolderUnavailable("peer", "X"))
    parts = ExportService([own, peer]).export("ada")
    given = [await anext(parts), await anext(parts)]
    assert [part.records for part in given] == [["ada:1"], ["ada:2"]]
    with pytest.raises(HolderUnavailable):
        await anext(parts)


async def test_a_reader_who_leaves_closes_every_holder() -> None:
    holders = [Holder("own", ["1"], ["2"]), Holder("peer", ["3"], ["4"])]
    async with aclosing(ExportService(holders).export("ada")) as parts:
        assert (await anext(parts)).records == ["ada:1"]
    assert [holder.closed for holder in holders] == [True, True]
