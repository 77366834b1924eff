"""Runs the asynchronous part of a command until it ends or a signal asks it to."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine

from cli.errors import CliError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(CliError):
    """A signal ended the command before it was done.

    Attributes:
        status: 128 + the number of the signal, as shells have it.
    """

    def __init__(self, number: signal.Signals) -> None:
        self.status = 128 + number
        super().__init__(f"interrupted by {number.name}")


def run(main: Coroutine[None, None, int]) -> int:
    """Runs a command in an event loop of its own and returns its exit status.

    SIGINT and SIGTERM cancel it, so that it can take down what it started. Another signal while it
    does so has its usual effect.

    Raises:
        Interrupted: A signal ended it; a command for which that is the normal end catches
            `asyncio.CancelledError` itself.
    """
    return asyncio.run(_until_signalled(main))


async def _until_signalled(main: Coroutine[None, None, int]) -> int:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(main)
    received: list[signal.Signals] = []

    def cancel(number: signal.Signals) -> None:
        received.append(number)
        for known in _SIGNALS:
            loop.remove_signal_handler(known)
        task.cancel()

    for number in _SIGNALS:
        loop.add_signal_handler(number, cancel, number)
    try:
        return await task
    except asyncio.CancelledError:
        # A second Ctrl-C cancels this coroutine too; what it raised then, asyncio would only log.
        current = asyncio.current_task()
        if received and not (current and current.cancelling()):
            raise Interrupted(received[0]) from None
        raise
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


async def all_or_first_error(*parts: Coroutine[None, None, None]) -> None:
    """Runs parts side by side; the first error ends the others and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            for part in parts:
                group.create_task(part)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
