"""The corpus: odd requests to every RPC of the contracts, the same ones each time."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from support import requests_json as as_json
from support import requests_wire as wire
from support.requests import Rpc, rpcs, sound
from support.requests_json import JsonBody
from support.requests_sending import EDGE, JSON, STRAIGHT, Case
from support.requests_values import draw_many, odd_requests

# Per RPC, beside what is made once for each: typed requests (sent both ways), broken bytes,
# objects and texts of the JSON form.
_TYPED: Final = 60
_BROKEN: Final = 72
_OBJECTS: Final = 45
_TEXTS: Final = 24

_CROWD_BYTES: Final = 100_000
# A call of such a cost begins something long: its odd requests come all at once, so that most
# find it begun.
_HEAVY_COST: Final = 100


def corpus(tokens: Sequence[str], texts: Mapping[str, str]) -> list[Case]:
    """Makes all cases, in the order to send them.

    Args:
        tokens: Page tokens and cursors that the mesh itself gave for something.
        texts: What string fields of these names hold where they are in order.
    """
    made = {rpc: list(_cases(rpc, tokens, texts)) for rpc in rpcs()}
    light = [case for rpc, cases in made.items() if not _is_heavy(rpc) for case in cases]
    random.Random(3).shuffle(light)
    heavy = [case for rpc, cases in made.items() if _is_heavy(rpc) for case in cases]
    middle = len(light) // 2
    return [*light[:middle], *heavy, *light[middle:]]


def oversized(largest: int) -> list[Case]:
    """Requests around the size of the largest message that a service takes.

    Some are too large; some are small enough, and as much work as that size can be made into.

    Args:
        largest: That size in bytes.
    """
    cases = []
    crowded = set()
    for rpc in rpcs():
        for name, body in wire.crowds(rpc.input, largest // 4):
            if name not in crowded:
                crowded.add(name)
                cases.append(_timed(Case(rpc, f"large {name}", body, STRAIGHT), 0))
    seen = set()
    for rpc in rpcs():
        # Every RPC gets what is too large; one per service also what is just small enough.
        sizes = [largest + 1]
        if rpc.service not in seen:
            sizes += [largest - 1, largest, 4 * largest]
            seen.add(rpc.service)
        for size in sizes:
            body = wire.large(rpc.input, size)
            name = f"{size - largest:+d} bytes from the largest"
            ways = (STRAIGHT, EDGE) if len(sizes) > 1 else (STRAIGHT,)
            cases += [_timed(Case(rpc, name, body, way), 0) for way in ways]
    return cases


def _is_heavy(rpc: Rpc) -> bool:
    return rpc.policy.cost >= _HEAVY_COST


def _cases(rpc: Rpc, tokens: Sequence[str], texts: Mapping[str, str]) -> Iterator[Case]:
    rng = random.Random(zlib.crc32(rpc.path.encode()))
    for number, case in enumerate(_bodies(rpc, tokens, texts, rng)):
        yield _timed(case, number)


def _bodies(
    rpc: Rpc, tokens: Sequence[str], texts: Mapping[str, str], rng: random.Random
) -> Iterator[Case]:
    typed = draw_many(odd_requests(rpc.input, tokens, texts), _TYPED, rpc.path)
    for number, body in enumerate(typed):
        for way in (EDGE, STRAIGHT):
            yield Case(rpc, f"typed {number}", body, way)
    source = [*typed, sound(rpc.input).SerializeToString()]
    for number, (name, body) in enumerate(wire.mutants(source, _BROKEN, rng)):
        yield Case(rpc, name, body, (EDGE, STRAIGHT)[number % 2])
    # What is the same for every RPC goes one way to this one and the other way to the next.
    turn = rpcs().index(rpc)
    strange = [*wire.monsters(rpc.input), *wire.crowds(rpc.input, _CROWD_BYTES)]
    for number, (name, body) in enumerate(strange, start=turn):
        yield Case(rpc, name, body, (EDGE, STRAIGHT)[number % 2])
    for value in draw_many(as_json.odd_objects(rpc.input), _OBJECTS, f"{rpc.path} as JSON"):
        yield Case(rpc, "object", as_json.encode(value), JSON)
    monstrous = list(as_json.monstrous_texts(rpc.input))[turn % 2 :: 2]
    for text in (*as_json.odd_texts(rpc.input, _TEXTS, rng), *monstrous):
        yield Case(rpc, text.name, text, JSON)


def _timed(case: Case, number: int) -> Case:
    """Gives some callers little patience, and all of those whose call would never end."""
    if isinstance(case.body, JsonBody):
        return case
    short = (0.001, 0.005, 0.02, 0.1)[number // 2 % 4]
    if case.rpc.lasts:
        short = max(short, 0.02)
        return replace(case, deadline_s=short) if number % 2 else replace(case, hang_up_s=short)
    if number % 20 == 7:
        return replace(case, deadline_s=short)
    if number % 20 == 13:
        return replace(case, hang_up_s=short)
    return case
