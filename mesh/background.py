"""Work that outlives the call which began it."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from typing import Any, TypeVar

ResultT = TypeVar("ResultT")


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
