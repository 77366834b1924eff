"""Work that outlives the call which began it."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

ResultT = TypeVar("ResultT")
_CANCEL_AGAIN_SECONDS = 0.5


def start_background(
    work: Coroutine[Any, Any, ResultT], *, name: str | None = None
) -> asyncio.Task[ResultT]:
    """Starts a task that takes nothing over from the call it is started in.

    A plain task would inherit the call's deadline, also for its MongoDB operations, which then fail
    for ever once it has passed, and the call's span, which ends before it.

    Args:
        work: What to do; keep the task, the event loop holds it weakly.
        name: The name of the task.
    """
    return asyncio.get_running_loop().create_task(work, name=name, context=contextvars.Context())


async def end_background(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancels tasks until they have ended.

    Once is not enough: before Python 3.12, `asyncio.wait_for`, in which pymongo waits for the
    network, loses a cancellation that arrives in the moment its work is done, and a task that then
    goes on is never ended.

    Raises:
        Exception: What the first task that failed by itself raised.
    """
    ending = set(tasks)
    pending = ending
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_CANCEL_AGAIN_SECONDS)
    for task in ending:
        if not task.cancelled():
            task.result()
