"""Lets nobody in without a token that the mesh trusts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from opentelemetry import trace

from mesh import contracts
from mesh.auth.caller import SERVICE_PREFIX, Caller, current_caller
from mesh.auth.verifier import Verifier, refusal
from mesh.errors import Unauthenticated
from mesh.interceptors.base import ServerCall

_HEADER = "authorization"
_SCHEME = "bearer"


class AuthenticationLayer:
    """Verifies the bearer token of a call and sets `current_caller`.

    A stream ends when the token that opened it does.
    """

    def __init__(self, verifier: Verifier) -> None:
        """Takes the judge of tokens."""
        self._verifier = verifier
        self._streams = {
            policy.method
            for policy in contracts.policies().values()
            if policy.server_streaming or policy.default_timeout is None
        }

    @asynccontextmanager
    async def around(self, call: ServerCall) -> AsyncIterator[None]:
        """Wraps one call; see `mesh.interceptors.base`."""
        caller = await self._verifier.verify(_token_of(call.context))
        _note_on_span(caller)
        before = current_caller.set(caller)
        try:
            if call.method not in self._streams:
                yield
                return
            end = asyncio.timeout(self._verifier.seconds_left(caller))
            try:
                async with end:
                    yield
            except TimeoutError:
                if end.expired():
                    raise refusal("TOKEN_EXPIRED") from None
                raise
        finally:
            current_caller.reset(before)


def _token_of(context: Any) -> str:
    """Returns the one token that a call shows.

    Raises:
        Unauthenticated: It shows none, several, or something else.
    """
    shown = [value for key, value in context.invocation_metadata() or () if key == _HEADER]
    if not shown:
        raise Unauthenticated("TOKEN_MISSING", "the call needs a token: authorization: Bearer …")
    scheme, _, token = str(shown[0]).partition(" ")
    if len(shown) > 1 or scheme.lower() != _SCHEME:
        raise refusal("TOKEN_MALFORMED")
    return token


def _note_on_span(caller: Caller) -> None:
    """Records what kind of caller it is; a person's id stays out of traces."""
    span = trace.get_current_span()
    if caller.is_service:
        span.set_attribute("marquee.caller.kind", "service")
        span.set_attribute("marquee.caller.service", caller.subject.removeprefix(SERVICE_PREFIX))
    else:
        span.set_attribute("marquee.caller.kind", "user")
