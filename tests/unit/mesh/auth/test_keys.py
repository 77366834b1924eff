"""How fresh the keys are, and what happens when they cannot be had."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs
from support.tokens import Issuer

from mesh.auth import keys as keys_module
from mesh.auth.jwks import KeysUnreachable, KeysUnreadable
from mesh.auth.keys import Keys
from mesh.errors import MeshError, Unavailable

Publish = Callable[..., tuple[Any, Keys]]


async def reason_of(keys: Keys, kid: str) -> str:
    with pytest.raises(MeshError) as refused:
        await keys.find(kid)
    return refused.value.reason


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def test_what_is_published_is_found(issuer: Issuer, publish: Publish) -> None:
    _, keys = publish()
    await keys.start()
    assert await keys.find(issuer.kid)
    assert await reason_of(keys, "unknown") == "TOKEN_KEY_UNKNOWN"


async def test_changes_are_followed(issuer: Issuer, publish: Publish) -> None:
    publisher, keys = publish(poll_seconds=0.02)
    await keys.start()
    old, before = issuer.kid, keys.generation
    new = issuer.add_key()
    await eventually(lambda: keys.generation != before)
    assert await keys.find(old) != await keys.find(new)
    changed = keys.generation
    issuer.withdraw(old)
    await eventually(lambda: keys.generation != changed)
    assert await reason_of(keys, old) == "TOKEN_KEY_UNKNOWN"
    still, looks = keys.generation, publisher.looks
    await eventually(lambda: publisher.looks > looks + 2)
    assert keys.generation == still, "nothing changed"


async def test_an_unknown_kid_brings_a_look_forward(
    issuer: Issuer, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_module, "_EARLY_SECONDS", 0.05)
    publisher, keys = publish()
    await keys.start()
    await asyncio.sleep(0.1)
    assert await keys.find(issuer.add_key())
    assert publisher.looks == 2


async def test_unknown_kids_do_not_bring_many(publish: Publish) -> None:
    publisher, keys = publish()
    await keys.start()
    reasons = await asyncio.gather(*(reason_of(keys, f"garbage {n}") for n in range(500)))
    assert set(reasons) == {"TOKEN_KEY_UNKNOWN"}
    assert publisher.looks == 1, "the first look was a moment ago"


async def test_those_who_ask_at_once_look_once(
    issuer: Issuer, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_module, "_EARLY_SECONDS", 0.05)
    publisher, keys = publish()
    await keys.start()
    await asyncio.sleep(0.1)
    new = issuer.add_key()
    await asyncio.gather(*(keys.find(new) for _ in range(50)))
    assert publisher.looks == 2


async def test_a_look_that_hangs_holds_nobody_up(
    issuer: Issuer, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_module, "_EARLY_SECONDS", 0.0)
    monkeypatch.setattr(keys_module, "_PATIENCE_SECONDS", 0.1)
    publisher, keys = publish()
    await keys.start()

    async def hang() -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(publisher, "load", hang)
    async with asyncio.timeout(5):
        reasons = await asyncio.gather(*(reason_of(keys, f"garbage {n}") for n in range(500)))
        assert set(reasons) == {"TOKEN_KEY_UNKNOWN"}
        assert await keys.find(issuer.kid)


async def test_the_last_keys_serve_for_a_while(issuer: Issuer, publish: Publish) -> None:
    publisher, keys = publish(poll_seconds=0.02, cache_seconds=0.1)
    await keys.start()
    publisher.trouble = KeysUnreachable("is away")
    looks = publisher.looks
    await eventually(lambda: publisher.looks > looks)
    assert await keys.find(issuer.kid)

    def gone() -> bool:
        try:
            return not keys.generation
        except Unavailable as error:
            return bool(error.retry_after)

    await eventually(gone)
    assert await reason_of(keys, issuer.kid) == "KEYS_UNAVAILABLE"
    publisher.trouble = None
    await eventually(lambda: not gone())
    assert await keys.find(issuer.kid)


async def test_the_logs_tell_when_keys_are_too_old_and_when_they_are_back(
    publish: Publish,
) -> None:
    structlog.reset_defaults()  # the command line, once it ran, is silent below a warning
    publisher, keys = publish(poll_seconds=0.02, cache_seconds=0.05)
    await keys.start()
    with capture_logs() as logged:

        def told(event: str) -> list[str]:
            return [line["log_level"] for line in logged if event in line["event"]]

        for times in (1, 2):
            publisher.trouble = KeysUnreachable("is away")
            await eventually(lambda times=times: len(told("too old")) == times)
            looks = publisher.looks
            await eventually(lambda looks=looks: publisher.looks > looks + 1)
            publisher.trouble = None
            await eventually(lambda times=times: len(told("are back")) == times)
        assert told("no keys") == ["error"] * 2
        assert told("too old") == ["error"] * 2
        assert told("are back") == ["info"] * 2


@pytest.mark.parametrize(
    "trouble", [KeysUnreadable("is damaged"), KeysUnreachable("is away"), RuntimeError("a bug")]
)
async def test_no_trouble_ends_the_looks(
    issuer: Issuer, publish: Publish, trouble: Exception
) -> None:
    publisher, keys = publish(poll_seconds=0.02)
    await keys.start()
    publisher.trouble = trouble
    looks = publisher.looks
    await eventually(lambda: publisher.looks >= looks + 3)
    publisher.trouble = None
    before, _ = keys.generation, issuer.add_key()
    await eventually(lambda: keys.generation != before)


async def test_a_publisher_who_is_away_at_the_start(issuer: Issuer, publish: Publish) -> None:
    publisher, keys = publish(poll_seconds=0.02)
    publisher.trouble = KeysUnreachable("is away")
    await keys.start()
    assert await reason_of(keys, issuer.kid) == "KEYS_UNAVAILABLE"
    publisher.trouble = None
    looks = publisher.looks
    await eventually(lambda: publisher.looks > looks)
    await asyncio.sleep(0.05)
    assert await keys.find(issuer.kid)


async def test_a_place_without_keys_stops_the_start(issuer: Issuer, publish: Publish) -> None:
    publisher, keys = publish()
    publisher.trouble = KeysUnreadable("is not JSON")
    with pytest.raises(KeysUnreadable, match=r"^test is not JSON \(MARQUEE_AUTH_JWKS\)$"):
        await keys.start()
    publisher.trouble = None
    issuer.withdraw(issuer.kid)
    with pytest.raises(KeysUnreadable, match="has no key for ES256"):
        await keys.start()


async def test_all_keys_may_be_withdrawn_later(issuer: Issuer, publish: Publish) -> None:
    _, keys = publish(poll_seconds=0.02)
    await keys.start()
    before = keys.generation
    issuer.withdraw(issuer.kid)
    await eventually(lambda: keys.generation != before)
    assert await reason_of(keys, issuer.kid) == "TOKEN_KEY_UNKNOWN"
