"""The errors of the mesh, raised by rules and use cases; `mesh.status` makes gRPC statuses of them.

They know nothing of gRPC's library, so that a service's domain may raise them.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar


class Code(enum.IntEnum):
    """The canonical codes of google.rpc.Code that the mesh answers with."""

    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field of a request that is wrong.

    Attributes:
        field: Path to the field, for example `interactions[3].movie_id`.
        description: What is wrong with it and what would be right.
    """

    field: str
    description: str


class MeshError(Exception):
    """An error with an answer for the caller.

    Attributes:
        code: The canonical code.
        reason: UPPER_SNAKE_CASE, stable, for programs (google.rpc.ErrorInfo.reason).
        message: For people.
        metadata: Details for programs (google.rpc.ErrorInfo.metadata).
        retry_after: Seconds after which another try may succeed, if one may.
    """

    code: ClassVar[Code] = Code.INTERNAL

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata: Mapping[str, str] = dict(metadata or {})
        self.retry_after = retry_after


class InvalidArgument(MeshError):
    """The request is wrong, whatever the state of the mesh.

    Attributes:
        violations: The wrong fields, at least one.
    """

    code = Code.INVALID_ARGUMENT

    def __init__(self, violations: Sequence[FieldViolation]) -> None:
        self.violations = tuple(violations)
        super().__init__(
            "INVALID_FIELD", "; ".join(f"{v.field}: {v.description}" for v in self.violations)
        )


class NotFound(MeshError):
    """There is no such resource."""

    code = Code.NOT_FOUND

    def __init__(self, resource_type: str, name: str) -> None:
        self.resource_type = resource_type
        self.name = name
        super().__init__(
            f"{resource_type.upper()}_NOT_FOUND",
            # Without the name: it may be a person's, and proxies copy messages into their traces.
            f"there is no such {resource_type}",
            metadata={"resource_type": resource_type, "resource_name": name},
        )


class AlreadyExists(MeshError):
    """Another resource has that name or that unique value."""

    code = Code.ALREADY_EXISTS

    def __init__(self, resource_type: str, field: str) -> None:
        # Not the value: it may be personal, and proxies copy messages into their traces.
        super().__init__(
            f"{resource_type.upper()}_{field.upper()}_TAKEN",
            f"another {resource_type} has this {field}",
            metadata={"resource_type": resource_type, "field": field},
        )


class StaleEtag(MeshError):
    """Somebody else changed the resource since the caller read it."""

    code = Code.ABORTED

    def __init__(self, resource_type: str, name: str) -> None:
        super().__init__(
            "ETAG_MISMATCH",
            # Without the name; see NotFound.
            f"the {resource_type} has changed since it was read; read it again",
            metadata={"resource_type": resource_type, "resource_name": name},
        )


class Aborted(MeshError):
    """The call lost against another one; a new attempt may succeed."""

    code = Code.ABORTED


class Unauthenticated(MeshError):
    """The caller has not proved who they are."""

    code = Code.UNAUTHENTICATED


class PermissionDenied(MeshError):
    """The caller is known and may not do this."""

    code = Code.PERMISSION_DENIED


class FailedPrecondition(MeshError):
    """The mesh is not in the state that the call needs."""

    code = Code.FAILED_PRECONDITION


class Unimplemented(MeshError):
    """Nothing is served there."""

    code = Code.UNIMPLEMENTED


class DeadlineExceeded(MeshError):
    """The call did not end within its deadline."""

    code = Code.DEADLINE_EXCEEDED

    def __init__(self, seconds: float) -> None:
        super().__init__("DEADLINE_EXCEEDED", f"not finished within {seconds:.3g} s")


class ResourceExhausted(MeshError):
    """The caller asks for more than it may have now."""

    code = Code.RESOURCE_EXHAUSTED

    def __init__(self, reason: str, message: str, *, retry_after: float) -> None:
        super().__init__(reason, message, retry_after=retry_after)


class Unavailable(MeshError):
    """Something the mesh stands on is away; the same call may succeed later."""

    code = Code.UNAVAILABLE

    def __init__(self, reason: str, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(reason, message, retry_after=retry_after)
