"""What an error of the mesh says, for programs and for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

_DETAILS_KEY: Final = "grpc-status-details-bin"


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field of a request that is wrong.

    Attributes:
        field: Path to it, for example `interactions[3].movie_id`.
        description: What is wrong with it.
    """

    field: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorDetails:
    """An error of a call.

    Attributes:
        code: The canonical code.
        message: One line for people.
        reason: ErrorInfo's, stable, for programs: `TOKEN_EXPIRED`; empty if there is none.
        domain: Whose reason it is: `marquee` for errors of the mesh; empty if there is none.
        metadata: ErrorInfo's.
        violations: What is wrong with the request.
        retry_delay: Seconds after which another try may succeed; None: nothing is said about it.
    """

    code: grpc.StatusCode
    message: str
    reason: str = ""
    domain: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    violations: tuple[FieldViolation, ...] = ()
    retry_delay: float | None = None

    def __str__(self) -> str:
        """Code, message and what the message leaves out, in one line."""
        said = [
            f"{violation.field}: {violation.description}"
            for violation in self.violations
            if violation.description not in self.message
        ]
        reason = f" [{self.reason}]" if self.reason else ""
        retry = "" if self.retry_delay is None else f" (try again in {self.retry_delay:g} s)"
        return " ".join(
            f"{self.code.name}{reason}: {'; '.join([self.message, *said])}{retry}".split()
        )


class CallFailed(Exception):
    """A call failed; `str(error)` is one readable line.

    Attributes:
        details: What is known of it. The error of grpc is the cause.
    """

    def __init__(self, details: ErrorDetails) -> None:
        super().__init__(str(details))
        self.details = details


def details(error: grpc.RpcError) -> ErrorDetails:
    """Reads what a failed call says of its failure.

    Args:
        error: What a call raised, sync or aio.

    Returns:
        Its code and message, and of google.rpc's details those that came. Details that cannot be
        read are left out.
    """
    call: Any = error  # typeshed knows the members of sync errors only as those of a call
    violations: list[FieldViolation] = []
    info = error_details_pb2.ErrorInfo()
    retry_delay: float | None = None
    bad, retry = error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    for detail in _packed(call.trailing_metadata()):
        try:
            if detail.Unpack(bad):
                violations += [
                    FieldViolation(found.field, found.description) for found in bad.field_violations
                ]
            elif detail.Unpack(retry):
                delay = retry.retry_delay
                retry_delay = delay.seconds + delay.nanos / 1e9
            elif not info.reason:
                detail.Unpack(info)
        except DecodeError:
            continue
    return ErrorDetails(
        code=call.code() or grpc.StatusCode.UNKNOWN,
        message=call.details() or "no message",
        reason=info.reason,
        domain=info.domain,
        metadata=dict(info.metadata),
        violations=tuple(violations),
        retry_delay=retry_delay,
    )


def _packed(trailers: Any) -> list[Any]:
    for key, value in trailers or ():
        if key == _DETAILS_KEY:
            try:
                return list(status_pb2.Status.FromString(value).details)
            except DecodeError:
                return []
    return []


@contextmanager
def readable() -> Iterator[None]:
    """Turns the errors of the calls in its body into `CallFailed`; for sync and aio calls alike.

    Raises:
        CallFailed: A call failed.
    """
    try:
        yield
    except grpc.RpcError as error:
        raise CallFailed(details(error)) from error
