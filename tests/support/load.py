"""Traffic for tests of resilience: clients that retry nothing, and a ledger of their calls."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

Metadata = tuple[tuple[str, str], ...]
PATIENCE_S = 25.0
"""The deadline of each call: far beyond what one takes, below what the policies allow."""


@dataclass(slots=True)
class Line:
    """What became of the calls of one RPC."""

    begun: int = 0
    succeeded: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0


class Ledger:
    """Calls begun and calls that succeeded, by RPC."""

    def __init__(self) -> None:
        self.lines: dict[str, Line] = {}

    @asynccontextmanager
    async def call(self, rpc: str) -> AsyncIterator[None]:
        """Enters the call that the body makes; one that fails is noted and goes no further."""
        line = self.lines.setdefault(rpc, Line())
        line.begun += 1
        begin = time.monotonic()
        try:
            yield
            line.succeeded += 1
        except grpc.aio.AioRpcError as error:
            line.failures[f"{error.code().name}: {error.details()}"] += 1
        finally:
            line.slowest_s = max(line.slowest_s, time.monotonic() - begin)

    @property
    def begun(self) -> int:
        """How many calls were made."""
        return sum(line.begun for line in self.lines.values())

    @property
    def succeeded(self) -> int:
        """How many calls were answered with OK."""
        return sum(line.succeeded for line in self.lines.values())

    def failures(self, *rpcs: str) -> Counter[str]:
        """How often calls failed, and how; of the given RPCs, or of all."""
        chosen = rpcs or tuple(self.lines)
        return sum((self.lines[rpc].failures for rpc in chosen if rpc in self.lines), Counter())

    def table(self) -> str:
        """The ledger for people."""
        rows = [f"{'RPC':<22}{'begun':>7}{'succeeded':>11}{'failed':>8}{'slowest':>9}"]
        for rpc, line in sorted(self.lines.items()):
            failed = line.failures.total()
            slowest = f"{line.slowest_s:.2f} s"
            rows.append(f"{rpc:<22}{line.begun:>7}{line.succeeded:>11}{failed:>8}{slowest:>9}")
            rows += [f"    {count} x {failure}" for failure, count in line.failures.items()]
        failed = self.failures().total()
        rows.append(f"{'all':<22}{self.begun:>7}{self.succeeded:>11}{failed:>8}")
        return "\n".join(rows)


class PlainClient:
    """One connection of its own, with a token, that repeats nothing.

    Args:
        target: Where to.
        token: The bearer token of every call.
        ledger: Keeps account of the calls.
        wait_for_ready: Whether calls wait for a connection rather than fail while there is none.
    """

    def __init__(
        self, target: str, token: str, ledger: Ledger, *, wait_for_ready: bool = False
    ) -> None:
        options = [
            ("grpc.enable_retries", 0),
            ("grpc.service_config_disable_resolution", 1),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_reconnect_backoff_ms", 500),
        ]
        self.ledger = ledger
        self.channel = grpc.aio.insecure_channel(target, options=options)
        self._how: dict[str, Any] = {
            "metadata": (("authorization", f"Bearer {token}"),),
            "wait_for_ready": wait_for_ready,
        }

    async def unary(self, method: Any, request: Any) -> Any:
        """Calls, for example, `UserServiceStub(client.channel).GetUser`; None: it failed."""
        async with self.ledger.call(_name(method)):
            return await method(request, timeout=PATIENCE_S, **self._how)
        return None

    async def stream(self, method: Any, request: Any) -> list[Any]:
        """Calls an RPC that streams its answer, and returns what came."""
        replies: list[Any] = []
        async with self.ledger.call(_name(method)):
            async for reply in method(request, timeout=PATIENCE_S, **self._how):
                replies.append(reply)  # noqa: PERF401 - what came before a failure is kept
        return replies

    def open_stream(
        self,
        method: Any,
        request: Any,
        timeout_s: float | None = None,
        metadata: Metadata = (),
    ) -> Any:
        """Begins a call that may last; it is in no ledger."""
        how = {**self._how, "metadata": (*self._how["metadata"], *metadata)}
        return method(request, timeout=timeout_s, **how)


def _name(method: Any) -> str:
    path: bytes = method._method
    return path.decode().rpartition("/")[2]


Work = Callable[[], Awaitable[Any]]
"""One or several calls, one after another."""


class Load:
    """Workers that go through their work again and again until told to end.

    Args:
        workers: What each worker does, in that order; each one begins at another place.
        pause_s: Between two pieces of a worker's work.
    """

    def __init__(self, workers: Sequence[Sequence[Work]], *, pause_s: float) -> None:
        self._workers = workers
        self._pause_s = pause_s
        self._ending = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Works while the body runs; then every call that was begun is waited for."""
        self._ending.clear()
        async with asyncio.TaskGroup() as group:
            for place, works in enumerate(self._workers):
                group.create_task(self._work(place, works))
            try:
                yield
            finally:
                self._ending.set()

    async def _work(self, place: int, works: Sequence[Work]) -> None:
        in_turn = itertools.islice(itertools.cycle(works), place % len(works), None)
        for work in in_turn:
            if self._ending.is_set():
                return
            await work()
            await asyncio.sleep(self._pause_s)
