"""Tokens of the embedded stack's own issuer: good ones, bad ones, and ones that are only odd."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from support.tokens import ALL_SCOPES, Issuer

from devstack import issuer as development


class StackIssuer(Issuer):
    """Signs as the issuer of a running stack does, with its key, whatever it is told to."""

    def __init__(self, auth: Path, scratch: Path) -> None:
        """Takes the stack's directory of keys and one for files of its own."""
        super().__init__(scratch, name=development.ISSUER, audience=development.AUDIENCE)
        stack = development.Issuer(auth)
        self.kid = stack.signing_kid()
        pem = (auth / "keys" / f"{self.kid}.pem").read_bytes()
        key: Any = serialization.load_pem_private_key(pem, password=None)
        self._keys, self._published = {self.kid: key}, [self.kid]

    def odd(self) -> Iterator[tuple[str, str]]:
        """Values of the header `authorization` that are odd, each with a name."""
        good = self.mint("service:fuzz", ALL_SCOPES)
        header, claims, signature = good.split(".")
        yield from (
            ("nothing", ""),
            ("no scheme", good),
            ("a scheme only", "Bearer"),
            ("a scheme and a space", "Bearer "),
            ("another scheme", f"Basic {good}"),
            ("two spaces", f"Bearer  {good}"),
            ("a tab", f"Bearer\t{good}"),
            ("small letters", f"bearer {good}"),
            ("two tokens", f"Bearer {good} {good}"),
            ("two tokens with a comma", f"Bearer {good}, Bearer {good}"),
            ("in quotes", f'Bearer "{good}"'),
            ("one part", "Bearer a"),
            ("two parts", f"Bearer {header}.{claims}"),
            ("four parts", f"Bearer {good}.x"),
            ("empty parts", "Bearer .."),
            ("many points", f"Bearer {'.' * 3000}"),
            ("padded", f"Bearer {header}.{claims}.{signature}=="),
            ("standard base64", f"Bearer {header}.{claims}.{'+/' * 43}"),
            ("no base64", f"Bearer {header}.!!!.{signature}"),
            ("a bit more", f"Bearer {good}A"),
            ("no signature", f"Bearer {header}.{claims}."),
            ("a signature of zeros", f"Bearer {header}.{claims}.{'A' * 86}"),
            ("a long signature", f"Bearer {header}.{claims}.{'A' * 3000}"),
            ("very long", f"Bearer {'a' * 6000}"),
        )
        for name, text in (
            ("a list", "[]"),
            ("a number", "1e999"),
            ("a text", '"x"'),
            ("null", "null"),
            ("nothing", ""),
            ("no JSON", "{"),
            ("deep", "[" * 900),
            ("deep inside", '{"alg":"ES256","kid":' + "[" * 800 + "]" * 800 + "}"),
            ("a number of many digits", '{"alg":"ES256","kid":%s}' % ("9" * 1500)),
            ("the same name twice", f'{{"alg":"none","alg":"ES256","kid":"{self.kid}"}}'),
            ("half a pair", '{"alg":"ES256","kid":"\\ud800"}'),
        ):
            yield f"header: {name}", f"Bearer {_part(text.encode())}.{claims}.{signature}"
            yield f"claims: {name}", f"Bearer {self._signed(text.encode())}"
        yield "claims: no UTF-8", "Bearer " + self._signed(b'{"sub": "\xff\xfe"}')
        for name, changed in _ODD_HEADERS:
            yield (
                f"header: {name}",
                "Bearer " + self._signed(json.dumps(self.claims()).encode(), changed),
            )
        for name, changed in _ODD_CLAIMS:
            text = json.dumps(self.claims() | changed)
            yield f"claims: {name}", "Bearer " + self._signed(text.encode())

    def _signed(self, claims: bytes, header: dict[str, Any] | None = None) -> str:
        usual = {"alg": "ES256", "kid": self.kid, "typ": "at+jwt"}
        text = json.dumps(usual | (header or {})).encode()
        signed = f"{_part(text)}.{_part(claims)}"
        return f"{signed}.{_part(self._signature(signed.encode()))}"

    def _signature(self, signed: bytes) -> bytes:
        from jwt.algorithms import ECAlgorithm  # noqa: PLC0415  # only odd tokens need it

        return ECAlgorithm(ECAlgorithm.SHA256).sign(signed, self._keys[self.kid])


_ODD_HEADERS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("kid a number", {"kid": 1}),
    ("kid a list", {"kid": ["a"]}),
    ("kid an object", {"kid": {}}),
    ("kid empty", {"kid": ""}),
    ("kid a path", {"kid": "../../../../etc/passwd"}),
    ("kid long", {"kid": "a" * 2000}),
    ("kid a NUL", {"kid": "\0"}),
    ("alg a list", {"alg": ["ES256"]}),
    ("alg a number", {"alg": 256}),
    ("alg in small letters", {"alg": "es256"}),
    ("alg None", {"alg": "nOnE"}),
    ("alg null", {"alg": None}),
    ("typ a number", {"typ": 1}),
    ("typ another", {"typ": "secevent+jwt"}),
    ("crit", {"crit": ["b64"], "b64": False}),
    ("crit of nothing", {"crit": []}),
    ("b64 false", {"b64": False}),
    ("zip", {"zip": "DEF"}),
    ("a key of its own", {"jwk": {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}}),
    ("keys elsewhere", {"jku": "http://127.0.0.1:1/keys", "x5u": "file:///etc/passwd"}),
)
_ODD_CLAIMS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("sub a number", {"sub": 1}),
    ("sub a list", {"sub": ["ada"]}),
    ("sub null", {"sub": None}),
    ("sub empty", {"sub": ""}),
    ("sub long", {"sub": "a" * 2000}),
    ("sub no id", {"sub": "a b\n\0"}),
    ("sub any script", {"sub": "\u202e\u0430\u0434\u043c\u0438\u043d\U0001f600"}),
    ("sub a service without a name", {"sub": "service:"}),
    ("exp a text", {"exp": "9999999999"}),
    ("exp huge", {"exp": 10**300}),
    ("exp negative", {"exp": -1}),
    ("exp a fraction", {"exp": 9999999999.5}),
    ("exp not a number", {"exp": float("nan")}),
    ("exp infinite", {"exp": float("inf")}),
    ("exp true", {"exp": True}),
    ("exp a list", {"exp": []}),
    ("nbf a text", {"nbf": "x"}),
    ("nbf infinite", {"nbf": float("-inf")}),
    ("iat in the future", {"iat": 99_999_999_999}),
    ("iat a text", {"iat": "x"}),
    ("aud a number", {"aud": 1}),
    ("aud an object", {"aud": {"marquee": 1}}),
    ("aud many", {"aud": ["x"] * 300}),
    ("aud among others", {"aud": ["x", "marquee"]}),
    ("aud numbers", {"aud": [1, None]}),
    ("iss a list", {"iss": [development.ISSUER]}),
    ("scope a number", {"scope": 1}),
    ("scope an object", {"scope": {"admin": True}}),
    ("scope a list", {"scope": ["users.read", 1, None]}),
    ("scope spaces", {"scope": "  users.read \t\n admin "}),
    ("scope many", {"scope": "a " * 900}),
    ("scp odd", {"scope": None, "scp": [1, {}, None]}),
    ("jti a list", {"jti": []}),
)


def _part(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
