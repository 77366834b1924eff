"""Sends odd requests and tells which answers a mesh in order would never give."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import grpc
import httpx
from google.rpc import error_details_pb2, status_pb2
from support.requests import Rpc
from support.requests_json import JsonBody

EDGE: Final = "edge"
STRAIGHT: Final = "straight"
JSON: Final = "json"

BOUND_S: Final = 20.0
"""No answer takes longer, however odd the request: what does is taken for a hang."""

_DETAILS = "grpc-status-details-bin"
# What a caller brings about by its own deadline or by hanging up.
_BY_THE_CALLER: Final = ("DEADLINE_EXCEEDED", "CANCELLED")
_NEVER: Final = ("INTERNAL", "UNKNOWN", "DATA_LOSS", "UNAVAILABLE", "OUT_OF_RANGE")
# Answers of grpc's own core, beneath everything that the mesh could add to them.
_BY_THE_CORE: Final = (
    ("RESOURCE_EXHAUSTED", "message larger than max"),
    ("UNIMPLEMENTED", "Method not found"),
)


@dataclass(frozen=True, slots=True)
class Case:
    """One odd request.

    Attributes:
        rpc: Whom it goes to.
        name: What is odd about it.
        body: The encoded message, or the JSON form.
        way: `edge`, `straight` or `json`.
        deadline_s: The caller's patience; None: more than anything may take.
        hang_up_s: After how long the caller goes away; None: never.
        token: Sent as a bearer token; None: the one that may do everything; empty: none.
    """

    rpc: Rpc
    name: str
    body: bytes | JsonBody
    way: str
    deadline_s: float | None = None
    hang_up_s: float | None = None
    token: str | None = None

    @property
    def impatient(self) -> bool:
        """Whether the caller may be gone before the answer comes."""
        at_once = isinstance(self.body, JsonBody) and ("grpc-timeout", "0n") in self.body.headers
        return at_once or self.deadline_s is not None or self.hang_up_s is not None

    def __str__(self) -> str:
        content = self.body.content if isinstance(self.body, JsonBody) else self.body
        shown = base64.b64encode(content[:2000]).decode()
        more = f"… ({len(content)} bytes)" if len(content) > 2000 else ""
        return f"{self.way} {self.rpc.path} [{self.name}] base64:{shown}{more}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a case led to.

    Attributes:
        case: The request.
        code: The name of the gRPC code, or the HTTP status of the JSON form.
        reason: ErrorInfo's, or empty.
        domain: ErrorInfo's, or empty.
        metadata: ErrorInfo's.
        violations: How many fields BadRequest names.
        message: For people.
        seconds: How long it took.
    """

    case: Case
    code: str
    reason: str
    domain: str
    metadata: Mapping[str, str]
    violations: int
    message: str
    seconds: float

    @property
    def problem(self) -> str:
        """What is wrong with the answer; empty when nothing is."""
        if self.seconds > BOUND_S:
            return f"took {self.seconds:.1f} s"
        if self.case.way == JSON:
            return _json_problem(self)
        if self.code == "UNAVAILABLE" and self.case.impatient and self.reason:
            return ""  # the database's share of a very short deadline was over
        if self.code in _NEVER:
            return f"answered {self.code}"
        if self.code in _BY_THE_CALLER:
            return "" if self.case.impatient else f"answered {self.code} to a patient caller"
        if self.code == "OK" or any(
            self.code == code and part in self.message for code, part in _BY_THE_CORE
        ):
            return ""
        return _detail_problem(self, self.code == "INVALID_ARGUMENT")

    def __str__(self) -> str:
        said = f"{self.code} {self.reason} {self.message[:200]!r}"
        return f"{said} after {self.seconds:.2f} s <- {self.case}"


def _json_problem(outcome: Outcome) -> str:
    status = int(outcome.code) if outcome.code.isdigit() else 0
    if outcome.case.body.verb in ("OPTIONS", "HEAD"):
        return "" if 200 <= status < 500 else f"answered {outcome.code}"
    if status == 200:
        return ""
    if not 400 <= status < 500 and status != 501:
        impatient = outcome.case.impatient and outcome.code in ("504", *_BY_THE_CALLER)
        return "" if impatient else f"answered {outcome.code}"
    return _detail_problem(outcome, status == 400 and outcome.reason == "INVALID_FIELD")


def _detail_problem(outcome: Outcome, names_fields: bool) -> str:
    if not outcome.reason or outcome.domain != "marquee":
        return f"answered {outcome.code} without ErrorInfo of the mesh"
    if names_fields and not outcome.violations:
        return f"answered {outcome.code} without naming a field"
    return ""


class Senders:
    """Open connections to the mesh, each way."""

    def __init__(
        self,
        channels: dict[str, Sequence[grpc.aio.Channel]],
        client: httpx.AsyncClient,
        token: Callable[[Case], str],
    ) -> None:
        self._channels = channels
        self._client = client
        self._token = token
        self._sent = 0

    async def send(self, case: Case) -> Outcome:
        """Sends one case and waits for what comes of it."""
        began = time.perf_counter()
        send = self._post if case.way == JSON else self._call
        try:
            async with asyncio.timeout(BOUND_S * 1.5):
                code, status, message = await send(case)
        except TimeoutError:
            code, status, message = "DEADLINE_EXCEEDED", None, "no answer at all"
        return _outcome(case, code, status, message, time.perf_counter() - began)

    async def send_all(self, cases: Iterable[Case], in_flight: int) -> list[Outcome]:
        """Sends cases in their order, some of them at once; outcomes come in the order of ends."""
        waiting = iter(cases)
        outcomes: list[Outcome] = []

        async def work() -> None:
            for case in waiting:
                outcome = await self.send(case)
                outcomes.append(outcome)

        async with asyncio.TaskGroup() as group:
            for _ in range(in_flight):
                group.create_task(work())
        return outcomes

    def _metadata(self, case: Case) -> list[tuple[str, str]]:
        token = self._token(case) if case.token is None else case.token
        return [("authorization", f"Bearer {token}")] if token else []

    async def _call(self, case: Case) -> tuple[str, status_pb2.Status | None, str]:
        self._sent += 1
        channels = self._channels[EDGE if case.way == EDGE else case.rpc.service]
        call = _open(channels[self._sent % len(channels)], case, self._metadata(case))
        hang_up = None
        if case.hang_up_s is not None:
            hang_up = asyncio.get_running_loop().call_later(case.hang_up_s, call.cancel)
        try:
            if case.rpc.server_streaming:
                async for _ in call:
                    pass
            else:
                await call
        except grpc.aio.AioRpcError:
            pass
        except asyncio.CancelledError:
            if not call.cancelled():
                raise
        finally:
            if hang_up is not None:
                hang_up.cancel()
        code = await call.code()
        if call.cancelled():
            return "CANCELLED", None, ""
        return code.name, _status_of(await call.trailing_metadata()), await call.details() or ""

    async def _post(self, case: Case) -> tuple[str, status_pb2.Status | None, str]:
        body = case.body
        assert isinstance(body, JsonBody)
        request = self._client.build_request(
            body.verb,
            case.rpc.path + body.path_suffix,
            content=body.content,
            headers=[*body.headers, *self._metadata(case)],
            timeout=case.deadline_s or BOUND_S,
        )
        try:
            if case.rpc.server_streaming:
                return await self._first_line(request)
            response = await self._client.send(request)
        except httpx.TimeoutException:
            return "DEADLINE_EXCEEDED", None, ""
        except httpx.HTTPError as error:
            return "UNAVAILABLE", None, repr(error)
        return str(response.status_code), _status_in(response.content), ""

    async def _first_line(
        self, request: httpx.Request
    ) -> tuple[str, status_pb2.Status | None, str]:
        response = await self._client.send(request, stream=True)
        try:
            if response.status_code != 200:
                content = await response.aread()
                return str(response.status_code), _status_in(content), ""
            async for _ in response.aiter_raw():
                break
            return "200", None, ""
        finally:
            await response.aclose()


@asynccontextmanager
async def senders(
    edge: str, services: dict[str, str], token: Callable[[Case], str]
) -> AsyncIterator[Senders]:
    """Opens connections to the edge and to each service.

    Args:
        edge: Its address.
        services: The address of each service by its component's name.
        token: The bearer token of a case that brings none; empty: none.
    """
    async with AsyncExitStack() as stack:
        channels = {
            name: [await stack.enter_async_context(_channel(address)) for _ in range(count)]
            for name, address, count in [(EDGE, edge, 4), *((n, a, 2) for n, a in services.items())]
        }
        limits = httpx.Limits(max_connections=64)
        client = await stack.enter_async_context(
            httpx.AsyncClient(base_url=f"http://{edge}", limits=limits, trust_env=False)
        )
        yield Senders(channels, client, token)


def _channel(address: str) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(
        address,
        options=[
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", -1),
            ("grpc.enable_retries", 0),
            # Or all channels to an address would share one connection.
            ("grpc.use_local_subchannel_pool", 1),
        ],
    )


def _open(channel: grpc.aio.Channel, case: Case, metadata: list[tuple[str, str]]) -> Any:
    rpc, body = case.rpc, case.body
    assert isinstance(body, bytes)
    timeout = BOUND_S if case.deadline_s is None else case.deadline_s
    make = {
        (False, False): channel.unary_unary,
        (False, True): channel.unary_stream,
        (True, False): channel.stream_unary,
        (True, True): channel.stream_stream,
    }[rpc.client_streaming, rpc.server_streaming]
    request: Any = _stream([body, body]) if rpc.client_streaming else body
    return make(rpc.path)(request, timeout=timeout, metadata=metadata)


async def _stream(bodies: Iterable[bytes]) -> AsyncIterator[bytes]:
    for body in bodies:
        yield body


def _status_of(trailers: Any) -> status_pb2.Status | None:
    for key, value in trailers or ():
        if key == _DETAILS:
            return status_pb2.Status.FromString(value)
    return None


def _status_in(content: bytes) -> status_pb2.Status | None:
    """Reads the JSON form of a status as far as it concerns us."""
    try:
        body = json.loads(content)
        status = status_pb2.Status(code=body["code"], message=body["message"])
        for detail in body["details"]:
            kind = detail["@type"].rpartition(".")[2]
            if kind == "ErrorInfo":
                status.details.add().Pack(
                    error_details_pb2.ErrorInfo(
                        reason=detail["reason"],
                        domain=detail["domain"],
                        metadata=detail.get("metadata", {}),
                    )
                )
            if kind == "BadRequest":
                found = error_details_pb2.BadRequest()
                for violation in detail["fieldViolations"]:
                    found.field_violations.add(field=violation["field"])
                status.details.add().Pack(found)
    except (ValueError, KeyError, TypeError):
        return None
    return status


def _outcome(
    case: Case, code: str, status: status_pb2.Status | None, message: str, seconds: float
) -> Outcome:
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details if status is not None else ():
        for kind in (info, bad):
            if detail.Is(kind.DESCRIPTOR):
                detail.Unpack(kind)
    return Outcome(
        case=case,
        code=code,
        reason=info.reason,
        domain=info.domain,
        metadata=dict(info.metadata),
        violations=len(bad.field_violations),
        message=message or (status.message if status is not None else ""),
        seconds=seconds,
    )
