"""Thousands of odd requests to every RPC: each gets a proper answer, and the mesh is as before.

A failure prints the RPC and the request in base64; the requests are the same in every run.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from support import requests_raw as raw
from support.requests import Rpc, rpcs, sound
from support.requests_corpus import corpus, oversized
from support.requests_memory import resident, settled
from support.requests_sending import EDGE, JSON, STRAIGHT, Case, Outcome, senders
from support.requests_stack import SecurityMesh
from support.requests_tables import codes_table, memory_table, show

from devstack import probes
from devstack.components import ENVOY, SERVICES

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(900),  # the first test waits for the whole corpus
]

LEAST_REQUESTS = 10_000
LEAST_PER_WAY = 60
IN_FLIGHT = 48
CALLERS = 64
LARGEST_MESSAGE = 8 * 1024 * 1024
# What a fifth of the corpus has not yet filled: caches, arenas, indexes of odd movies. Beyond it,
# some 5 KiB that each request to a service leaves behind are too much.
GROWTH_MIB = 48.0
# Each service gets some 200 MiB in a round of messages of the largest size.
LARGE_GROWTH_MIB = 96.0
QUIET_S = 20.0
# What only something unforeseen writes into a log: an exception that became INTERNAL, a lost task,
# a failed script or assertion of Envoy.
_FAILURES = re.compile(
    r"rpc failed|Traceback|never retrieved|Unexpected \["
    r"|\[critical\]|\[error\]|script log|assert failure"
)


@dataclass(frozen=True, slots=True, repr=False)
class Fuzzed:
    """What became of the mesh under the corpus."""

    outcomes: list[Outcome]
    pids: tuple[dict[str, int | None], dict[str, int | None]]
    memory: tuple[dict[str, float], ...]
    """In MiB: warm, after the corpus, after messages of the largest size, and after them again."""

    def __repr__(self) -> str:
        return f"<{len(self.outcomes)} outcomes>"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def fuzzed(security_mesh: SecurityMesh) -> AsyncIterator[Fuzzed]:
    mesh, stack = security_mesh, security_mesh.stack
    cases = await asyncio.to_thread(corpus, mesh.page_tokens, mesh.texts)
    large = oversized(LARGEST_MESSAGE)
    pids = {name: stack.pid(name) for name in stack.config.started}
    watched = {name: pids[name] for name in (*SERVICES, ENVOY)}
    async with senders(mesh.edge, mesh.services, _tokens(mesh)) as sending:
        await sending.send_all(_in_order(), 16)
        warm = len(cases) // 5
        outcomes = await sending.send_all(cases[:warm], IN_FLIGHT)
        await asyncio.sleep(1)
        memory = [resident(watched)]
        outcomes += await sending.send_all(cases[warm:], IN_FLIGHT)
        memory.append(await settled(watched, memory[-1], GROWTH_MIB, within=QUIET_S))
        # Their memory comes back late and not whole; the second round may need no more than the
        # first one.
        for _ in range(2):
            outcomes += await sending.send_all(large, 2)
            memory.append(await settled(watched, memory[-1], GROWTH_MIB, within=1))
    yield Fuzzed(outcomes, (pids, {name: stack.pid(name) for name in pids}), tuple(memory))


def _tokens(mesh: SecurityMesh) -> Callable[[Case], str]:
    """Tokens that may do everything, of so many callers that none uses its budget up."""
    held = [mesh.issuer.mint(f"service:fuzz-{number}") for number in range(CALLERS)]
    numbers = itertools.cycle(range(CALLERS))
    return lambda _: held[next(numbers)]


def _in_order() -> list[Case]:
    """Calls that use all of the edge's connections to the services.

    Where what grpc's core itself refuses, such as a message too large, is the first answer on a
    connection, the connection breaks: the core forgets to confirm the size of the header table.
    """
    return [
        Case(rpc, "in order", sound(rpc.input).SerializeToString(), EDGE) for rpc in _raw_rpcs()[:3]
    ] * 32


async def test_every_answer_is_a_proper_one(
    fuzzed: Fuzzed, record_property: Callable[[str, object], None]
) -> None:
    show(record_property, codes_table(fuzzed.outcomes))
    wrong = [(outcome.problem, outcome) for outcome in fuzzed.outcomes if outcome.problem]
    kinds = Counter((o.case.rpc.name, o.case.way, problem) for problem, o in wrong)
    shown = "\n".join(f"{problem}: {outcome}" for problem, outcome in wrong[:40])
    assert not wrong, f"{len(wrong)} answers:\n{kinds.most_common(40)}\n{shown}"


async def test_every_rpc_had_its_share(fuzzed: Fuzzed) -> None:
    assert len(fuzzed.outcomes) >= LEAST_REQUESTS
    shares = Counter((o.case.rpc.path, o.case.way) for o in fuzzed.outcomes)
    for rpc in rpcs():
        for way in (EDGE, STRAIGHT, JSON):
            assert shares[rpc.path, way] >= LEAST_PER_WAY, (rpc.path, way)
    # A mesh that refuses everything would have answered properly, too.
    accepted = {o.case.rpc.path for o in fuzzed.outcomes if o.code in ("OK", "200")}
    lasting = {rpc.path for rpc in rpcs() if rpc.lasts}
    assert not {rpc.path for rpc in rpcs()} - accepted - lasting


async def test_no_process_died(fuzzed: Fuzzed, security_mesh: SecurityMesh) -> None:
    before, after = fuzzed.pids
    assert after == before
    for address in (*security_mesh.services.values(), security_mesh.edge):
        assert await probes.grpc_health(address)(), address


async def test_memory_is_back_to_where_it_was(
    fuzzed: Fuzzed, record_property: Callable[[str, object], None]
) -> None:
    warm, after, large, again = fuzzed.memory
    show(record_property, memory_table(fuzzed.memory, GROWTH_MIB, LARGE_GROWTH_MIB))
    for name in warm:
        assert after[name] <= warm[name] + GROWTH_MIB, name
        assert again[name] <= large[name] + LARGE_GROWTH_MIB, name


def _raw_rpcs() -> list[Rpc]:
    """One RPC of each service, and one that lasts, for which the edge keeps other rules."""
    found = {rpc.service: rpc for rpc in reversed(rpcs()) if not rpc.server_streaming}
    return [*found.values(), *(rpc for rpc in rpcs() if rpc.lasts)]


@pytest.mark.parametrize("rpc", _raw_rpcs(), ids=lambda rpc: rpc.name)
@pytest.mark.parametrize("way", [EDGE, STRAIGHT])
async def test_odd_http_2(security_mesh: SecurityMesh, rpc: Rpc, way: str) -> None:
    mesh = security_mesh
    address = mesh.edge if way == EDGE else mesh.services[rpc.service]
    authorization = f"Bearer {mesh.issuer.mint('service:fuzz-raw')}"
    message = sound(rpc.input).SerializeToString()
    odd = [
        # Straight, it ends grpc's server: tests/integration/mesh/test_lasting_server.py.
        *(oddity for oddity in raw.oddities() if way == EDGE or not oddity.ends_the_server),
        *(
            raw.Oddity(f"authorization: {name}", {b"authorization": value.encode()})
            for name, value in mesh.issuer.odd()
        ),
    ]
    wrong = []

    async def send(oddity: raw.Oddity) -> None:
        answer = await raw.call(address, rpc, oddity, message=message, authorization=authorization)
        if problem := raw.problem(answer, oddity, rpc):
            wrong.append(f"{problem}: {oddity.name} -> {answer}")

    await _some_at_once(send, odd)
    in_order = raw.Oddity("in order")
    for _ in range(10):  # on connections of their own, but through the edge's to the service
        await send(in_order)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("rpc", _raw_rpcs()[:1], ids=lambda rpc: rpc.name)
@pytest.mark.parametrize("way", [EDGE, STRAIGHT])
async def test_odd_http_1(security_mesh: SecurityMesh, rpc: Rpc, way: str) -> None:
    mesh = security_mesh
    address = mesh.edge if way == EDGE else mesh.services[rpc.service]
    wrong = []

    async def send(conversation: tuple[str, bytes]) -> None:
        name, content = conversation
        answer = await raw.speak(address, content, patience_s=3)
        if answer.status in ("500", "502", "503"):
            wrong.append(f"{name} -> {answer}")

    await _some_at_once(send, list(raw.conversations(rpc)))
    assert not wrong, "\n".join(wrong)
    assert await probes.grpc_health(address)()


async def test_nothing_failed_in_the_logs(fuzzed: Fuzzed, security_mesh: SecurityMesh) -> None:
    stack = security_mesh.stack
    found = [
        f"{name}: {line[:1500]}"
        for name in stack.config.started
        for line in stack.directory.log_of(name).read_text(errors="replace").splitlines()
        if _FAILURES.search(line)
    ]
    assert not found, f"{len(found)} lines:\n" + "\n".join(found[:20])


async def _some_at_once(send: Callable[[Any], Awaitable[None]], things: list[Any]) -> None:
    waiting = iter(things)

    async def work() -> None:
        for thing in waiting:
            await send(thing)

    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(work())
