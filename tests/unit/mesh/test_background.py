"""Background tasks: what they take over, and that they end."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from mesh.background import end_background, start_background
from mesh.deadline import deadline_in, remaining_seconds


async def test_a_background_task_has_no_deadline() -> None:
    async def work() -> float | None:
        return remaining_seconds()

    with deadline_in(5):
        assert await start_background(work()) is None
        assert await asyncio.create_task(work()) is not None


async def test_a_task_that_loses_a_cancellation_is_ended_all_the_same() -> None:
    lost = 0

    async def stubborn() -> None:
        nonlocal lost
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        lost += 1
        await asyncio.sleep(3600)

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await end_background([task])
    assert task.cancelled()
    assert lost == 1


async def test_all_tasks_have_ended_when_one_of_them_had_failed() -> None:
    async def fails() -> None:
        raise KeyError("mine")

    failed, other = asyncio.create_task(fails()), asyncio.create_task(asyncio.sleep(3600))
    await asyncio.sleep(0)
    with pytest.raises(KeyError, match="mine"):
        await end_background([failed, other])
    assert other.cancelled()


async def test_tasks_that_have_ended_already_and_no_tasks_are_no_trouble() -> None:
    task = asyncio.create_task(asyncio.sleep(0))
    await task
    await end_background([task])
    await end_background([])
