"""How much memory processes hold."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import psutil

MIB = 1 << 20


def resident(pids: Mapping[str, int]) -> dict[str, float]:
    """The resident memory of processes in MiB."""
    return {name: psutil.Process(pid).memory_info().rss / MIB for name, pid in pids.items()}


async def settled(
    pids: Mapping[str, int], before: Mapping[str, float], growth: float, *, within: float
) -> dict[str, float]:
    """Waits until no process holds more than before and some growth, or the time is up.

    Returns:
        What each holds in the end, in MiB.
    """
    held = resident(pids)
    try:
        async with asyncio.timeout(within):
            while any(held[name] > before[name] + growth for name in pids):
                await asyncio.sleep(0.5)
                held = resident(pids)
    except TimeoutError:
        pass
    return held
