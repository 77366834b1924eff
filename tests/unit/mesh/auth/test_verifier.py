"""Which tokens are taken, and why the others are not."""

from __future__ import annotations

import asyncio
import base64
import json
import string
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import utils
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.tokens import AUDIENCE, BAD_TOKENS, ISSUER, Issuer

from mesh.auth import verifier as verifier_module
from mesh.auth.jwks import KeysUnreachable
from mesh.auth.keys import Keys
from mesh.auth.verifier import Verifier
from mesh.errors import MeshError, Unauthenticated, Unavailable

Publish = Callable[..., tuple[Any, Keys]]
LEEWAY = 30


class Clock:
    """A clock that can be put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


def verifier_of(keys: Keys, clock: Clock) -> Verifier:
    return Verifier(keys, issuer=ISSUER, audience=AUDIENCE, leeway_seconds=LEEWAY, clock=clock)


@pytest.fixture
async def verifier(publish: Publish, clock: Clock) -> Verifier:
    _, keys = publish()
    await keys.start()
    return verifier_of(keys, clock)


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tokens whose signatures were verified."""
    decoded: list[str] = []
    decode = jwt.decode

    def counting(token: str, *args: Any, **kwargs: Any) -> Any:
        decoded.append(token)
        return decode(token, *args, **kwargs)

    monkeypatch.setattr(verifier_module.jwt, "decode", counting)
    return decoded


async def reason_of(verifier: Verifier, token: str) -> str:
    with pytest.raises(MeshError) as refused:
        await verifier.verify(token)
    assert isinstance(refused.value, Unauthenticated)
    assert token not in str(refused.value)
    return refused.value.reason


def encoded(header: Any, claims: Any, signature: bytes = b"\0" * 64) -> str:
    parts = (
        part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, claims)
    )
    return ".".join(
        base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (*parts, signature)
    )


async def test_a_token_tells_who_calls(issuer: Issuer, verifier: Verifier) -> None:
    caller = await verifier.verify(issuer.mint("ada", ["users.read", "admin"]))
    assert caller.subject == "ada"
    assert caller.scopes == {"users.read", "admin"}
    assert 3500 < caller.expires_at - time.time() <= 3600
    assert not caller.is_service
    assert (await verifier.verify(issuer.mint())).is_service


@pytest.mark.parametrize("name", [name for name in BAD_TOKENS if name != "no token"])
async def test_bad_tokens(name: str, issuer: Issuer, verifier: Verifier) -> None:
    bad = issuer.bad(name)
    assert bad.token is not None
    for _ in range(2):  # no refusal makes the next one different
        assert await reason_of(verifier, bad.token) == bad.reason


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": "tomorrow"}, "TOKEN_MALFORMED"),
        ({"exp": str(2**40)}, "TOKEN_MALFORMED"),
        ({"exp": True}, "TOKEN_EXPIRED"),
        ({"exp": 10**400}, "TOKEN_MALFORMED"),
        ({"exp": float("inf")}, "TOKEN_MALFORMED"),
        ({"exp": float("nan")}, "TOKEN_MALFORMED"),
        ({"exp": []}, "TOKEN_MALFORMED"),
        ({"sub": ""}, "TOKEN_MALFORMED"),
        ({"sub": 7}, "TOKEN_MALFORMED"),
        ({"sub": "x" * 257}, "TOKEN_MALFORMED"),
        ({"scope": 7}, "TOKEN_MALFORMED"),
        ({"scope": {"admin": True}}, "TOKEN_MALFORMED"),
        ({"scp": ["admin", 7]}, "TOKEN_MALFORMED"),
        ({"nbf": "x"}, "TOKEN_MALFORMED"),
        ({"aud": 7}, "TOKEN_WRONG_AUDIENCE"),
        ({"aud": []}, "TOKEN_WRONG_AUDIENCE"),
        ({"aud": ["marquee", 7]}, "TOKEN_WRONG_AUDIENCE"),
        ({"aud": "Marquee"}, "TOKEN_WRONG_AUDIENCE"),
        ({"iss": None}, "TOKEN_WRONG_ISSUER"),
        ({"iss": [ISSUER]}, "TOKEN_WRONG_ISSUER"),
        ({"iss": ISSUER + "/"}, "TOKEN_WRONG_ISSUER"),
    ],
)
async def test_claims_of_the_wrong_kind(
    claims: dict[str, Any], reason: str, issuer: Issuer, verifier: Verifier
) -> None:
    assert await reason_of(verifier, issuer.mint(**claims)) == reason


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "ES256"},
        {"alg": "ES256", "kid": ""},
        {"alg": "ES256", "kid": 7},
        {"alg": "ES256", "kid": None},
        [],
        b"not JSON",
        b"\xff\xfe",
        b"[" * 2000,
    ],
)
async def test_headers_that_are_none(header: Any, issuer: Issuer, verifier: Verifier) -> None:
    assert await reason_of(verifier, encoded(header, issuer.claims())) == "TOKEN_MALFORMED"


@pytest.mark.parametrize("algorithm", ["none", "None", "es256", "HS256", "RS256", "ES512", "", 7])
async def test_algorithms_that_are_not_ours(
    algorithm: Any, issuer: Issuer, verifier: Verifier
) -> None:
    header = {"alg": algorithm, "kid": issuer.kid}
    assert await reason_of(verifier, encoded(header, issuer.claims())) == "TOKEN_ALGORITHM_REFUSED"


async def test_a_critical_header_that_is_not_understood(issuer: Issuer, verifier: Verifier) -> None:
    token = jwt.encode(
        issuer.claims(),
        issuer.private_pem().decode(),
        algorithm="ES256",
        headers={"kid": issuer.kid, "crit": ["future"], "future": True},
    )
    assert await reason_of(verifier, token) == "TOKEN_MALFORMED"


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({"scope": "a b"}, {"a", "b"}),
        ({"scope": ""}, set()),
        ({"scope": " a  b "}, {"a", "b"}),
        ({"scope": "a\u00a0admin\tb"}, {"a\u00a0admin\tb"}),
        ({"scope": None}, set()),
        ({"scope": None, "scp": "a b"}, {"a", "b"}),
        ({"scope": None, "scp": ["a", "b"]}, {"a", "b"}),
        ({"scope": "a", "scp": ["b"]}, {"a", "b"}),
    ],
)
async def test_scopes(
    claims: dict[str, Any], scopes: set[str], issuer: Issuer, verifier: Verifier
) -> None:
    assert (await verifier.verify(issuer.mint(**claims))).scopes == scopes


async def test_the_audience_may_be_among_others(issuer: Issuer, verifier: Verifier) -> None:
    await verifier.verify(issuer.mint(aud=["another", AUDIENCE]))


async def test_clocks_may_differ_a_little(issuer: Issuer, verifier: Verifier) -> None:
    now = int(time.time())
    await verifier.verify(issuer.mint(exp=now - LEEWAY // 2))
    await verifier.verify(issuer.mint(nbf=now + LEEWAY // 2))
    assert await reason_of(verifier, issuer.mint(exp=now - LEEWAY - 5)) == "TOKEN_EXPIRED"
    assert await reason_of(verifier, issuer.mint(nbf=now + LEEWAY + 20)) == "TOKEN_NOT_YET_VALID"


async def test_without_keys_no_token_can_be_judged(
    issuer: Issuer, publish: Publish, clock: Clock
) -> None:
    publisher, keys = publish()
    publisher.trouble = KeysUnreachable("is away")
    await keys.start()
    with pytest.raises(Unavailable) as refused:
        await verifier_of(keys, clock).verify(issuer.mint())
    assert refused.value.reason == "KEYS_UNAVAILABLE"


class TestMemory:
    async def test_a_token_is_verified_once(
        self, issuer: Issuer, verifier: Verifier, decodings: list[str]
    ) -> None:
        token = issuer.mint("ada")
        assert await verifier.verify(token) == await verifier.verify(token)
        assert decodings == [token]
        await verifier.verify(issuer.mint("ada"))
        assert len(decodings) == 2

    async def test_it_ends_with_the_token(
        self, issuer: Issuer, verifier: Verifier, clock: Clock, decodings: list[str]
    ) -> None:
        token = issuer.mint(exp=int(time.time()) + 100)
        caller = await verifier.verify(token)
        assert 100 < verifier.seconds_left(caller) < 100 + LEEWAY + 1
        clock.ahead = 99
        await verifier.verify(token)
        assert len(decodings) == 1
        clock.ahead = 100 + LEEWAY + 1
        assert await reason_of(verifier, token) == "TOKEN_EXPIRED"

    async def test_it_ends_with_the_key(
        self, issuer: Issuer, publish: Publish, clock: Clock, decodings: list[str]
    ) -> None:
        _, keys = publish(poll_seconds=0.02)
        await keys.start()
        verifier = verifier_of(keys, clock)
        token, old, before = issuer.mint(), issuer.kid, keys.generation
        await verifier.verify(token)
        issuer.add_key()
        issuer.withdraw(old)
        async with asyncio.timeout(10):
            while keys.generation == before:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)  # it may have been the first of two changes
        assert await reason_of(verifier, token) == "TOKEN_KEY_UNKNOWN"
        await verifier.verify(issuer.mint())
        assert len(decodings) == 2

    async def test_it_has_an_end(
        self,
        issuer: Issuer,
        verifier: Verifier,
        decodings: list[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(verifier_module, "_REMEMBERED", 2)
        used, forgotten, new = (issuer.mint() for _ in range(3))
        for token in (used, forgotten, used, new):
            await verifier.verify(token)
        await verifier.verify(used)
        await verifier.verify(new)
        assert len(decodings) == 3
        await verifier.verify(forgotten)
        assert len(decodings) == 4

    async def test_what_is_refused_takes_no_room(
        self,
        issuer: Issuer,
        verifier: Verifier,
        decodings: list[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(verifier_module, "_REMEMBERED", 1)
        token = issuer.mint()
        await verifier.verify(token)
        for name in ("wrong key", "expired", "changed claims"):
            bad = issuer.bad(name).token
            assert bad is not None
            await reason_of(verifier, bad)
        decodings.clear()
        await verifier.verify(token)
        assert not decodings


class TestMutations:
    """Whatever is changed about a token, it is no longer one."""

    @given(data=st.data())
    @settings(
        max_examples=300,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    async def test_one_character(
        self, issuer: Issuer, verifier: Verifier, data: st.DataObject
    ) -> None:
        token = issuer.mint("ada", ["users.read"])
        await verifier.verify(token)
        at = data.draw(st.integers(0, len(token) - 1))
        others = st.sampled_from(string.printable) | st.characters(codec="utf-8")
        other = data.draw(others.filter(lambda character: character != token[at]))
        cut = data.draw(st.sampled_from([0, 1]))
        changed = token[:at] + other + token[at + cut :]
        if changed != token:
            await reason_of(verifier, changed)
        await reason_of(verifier, token[:at] + token[at + 1 :])

    async def test_every_last_character(self, issuer: Issuer, verifier: Verifier) -> None:
        # Its lowest bits are of no use, so that some of them would decode to the same signature.
        token = issuer.mint()
        for other in string.ascii_letters + string.digits + "-_":
            if other != token[-1]:
                reason = await reason_of(verifier, token[:-1] + other)
                assert reason in {"TOKEN_MALFORMED", "TOKEN_SIGNATURE_INVALID"}

    @pytest.mark.parametrize("added", ["=", "==", "\n", " ", "\0", "%", ".", ".x", "é"])
    async def test_something_added(self, added: str, issuer: Issuer, verifier: Verifier) -> None:
        token = issuer.mint()
        assert await reason_of(verifier, token + added) == "TOKEN_MALFORMED"
        assert await reason_of(verifier, added + token) == "TOKEN_MALFORMED"

    async def test_a_signature_of_another_length(self, issuer: Issuer, verifier: Verifier) -> None:
        head, _, signature = issuer.mint().rpartition(".")
        raw = base64.urlsafe_b64decode(signature + "==")
        der = utils.encode_dss_signature(
            int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
        )
        for other in (b"", raw[:63], raw + b"\0", der, b"\0" * 64, b"\xff" * 64):
            changed = base64.urlsafe_b64encode(other).rstrip(b"=").decode()
            assert await reason_of(verifier, f"{head}.{changed}") == "TOKEN_SIGNATURE_INVALID"
