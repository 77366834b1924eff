"""The renewal of what the parts of a stack prove themselves with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from devstack import identities
from devstack.identities import Identities
from devstack.issuer import IssuerError
from devstack.state import DataDirectory


@pytest.fixture
async def kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Identities, list[Exception | None]]]:
    """Identities that are renewed all the time, and what that comes to, the last for ever."""
    monkeypatch.setattr(identities, "_LOOK_EVERY_S", 0.001)
    made = Identities(DataDirectory(tmp_path), tls=False)
    outcomes: list[Exception | None] = [None]

    def renew() -> bool:
        outcome = outcomes.pop(0) if len(outcomes) > 1 else outcomes[0]
        if outcome is not None:
            raise outcome
        return False

    made.start()
    monkeypatch.setattr(made._tokens, "renew", renew)
    yield made, outcomes
    await made.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_each_kind_of_trouble_is_told_once(
    kept: tuple[Identities, list[Exception | None]],
) -> None:
    _, outcomes = kept
    full, no_key, bug = OSError(28, "No space left"), IssuerError("there is no key"), KeyError("x")
    with capture_logs() as logged:
        outcomes[:] = [full, full, no_key, full, bug, no_key, bug]
        await until(lambda: len(outcomes) == 1)
        await asyncio.sleep(0.05)
    assert [line["why"] for line in logged] == [str(full), str(no_key), str(bug)]
    assert {line["log_level"] for line in logged} == {"warning"}


async def test_trouble_that_comes_again_is_told_again(
    kept: tuple[Identities, list[Exception | None]],
) -> None:
    _, outcomes = kept
    full = OSError(28, "No space left")
    with capture_logs() as logged:
        outcomes[:] = [full, None, full, None]
        await until(lambda: len(outcomes) == 1)
        await asyncio.sleep(0.05)
    assert [line["why"] for line in logged] == [str(full)] * 2
