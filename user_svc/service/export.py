"""Everything that is held on a person, gathered from everybody who holds something."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from typing import Generic, TypeVar

from mesh.errors import MeshError, Unavailable
from user_svc.service.ports import HolderOf

RecordT = TypeVar("RecordT")
_Parts = AsyncGenerator[Sequence[RecordT], None]


class HolderUnavailable(Unavailable):
    """Somebody who may hold something does not answer, so that nothing complete can be given."""

    def __init__(self, holder: str, trouble: str) -> None:
        """Takes the holder's name, and what is wrong: a status code, or a reason of our own."""
        MeshError.__init__(
            self,
            "HOLDER_UNAVAILABLE",
            f"what {holder} holds cannot be had now ({trouble}); nothing is left out: call again",
            metadata={"holder": holder, "trouble": trouble},
            retry_after=1.0,
        )


@dataclass(frozen=True, slots=True)
class Export(Generic[RecordT]):
    """A part of an export.

    Attributes:
        records: Some of the records; empty in the last part.
        counts: How many records each holder has given; in the last part only.
    """

    records: Sequence[RecordT]
    counts: Mapping[str, int] | None = None


class ExportService(Generic[RecordT]):
    """Gathers what all holders have."""

    def __init__(self, holders: Sequence[HolderOf[RecordT]]) -> None:
        """Takes the holders, in the order in which they are to give."""
        self._holders = tuple(holders)

    async def export(self, user_id: str) -> AsyncGenerator[Export[RecordT], None]:
        """Yields everything held on a person, holder by holder, and at last the counts.

        Every holder must have begun to answer before anything is given, so that an export that one
        of them prevents mostly fails with nothing given.

        Raises:
            HolderUnavailable: One of them does not answer, or not completely.
        """
        counts: dict[str, int] = {}
        async with AsyncExitStack() as stack:
            streams = [
                await stack.enter_async_context(aclosing(holder.records(user_id)))
                for holder in self._holders
            ]
            for holder, stream, begun in zip(
                self._holders, streams, await _first_parts(streams), strict=True
            ):
                counts[holder.name] = 0
                part = begun
                while part is not None:
                    counts[holder.name] += len(part)
                    yield Export(part)
                    part = await anext(stream, None)
        yield Export((), counts)


async def _first_parts(streams: Sequence[_Parts[RecordT]]) -> list[Sequence[RecordT] | None]:
    """Waits for the first part of each stream; None: it has none. One that fails ends the wait."""

    async def first(stream: _Parts[RecordT]) -> Sequence[RecordT] | None:
        return await anext(stream, None)

    tasks = [asyncio.create_task(first(stream)) for stream in streams]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        # A generator can be closed only once nobody waits for it.
        await asyncio.gather(*tasks, return_exceptions=True)
