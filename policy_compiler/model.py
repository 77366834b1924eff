"""What is read from the contracts, and the rules that come of it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import timedelta

from google.protobuf.descriptor import Descriptor

SUBJECTS_ANY = "subjects.any"
"""The scope that lifts the rule that callers touch their own data only."""
ADMIN = "admin"
"""The scope for changes of what belongs to nobody in particular."""


class RetryClass(enum.StrEnum):
    """Whether a call that failed with UNAVAILABLE may be sent again."""

    NEVER = "never"
    SAFE = "safe"


@dataclass(frozen=True, slots=True)
class Named:
    """Something with a name and the comment above it: a scope, an error reason."""

    name: str
    comment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The option of one RPC as it was written; nothing in it is checked yet."""

    default_timeout: timedelta | None
    max_timeout: timedelta | None
    retry_class: RetryClass | None
    """None: not declared, or unknown."""
    scope: str | None
    """As tokens write it; None: not declared, or unknown."""
    subject_field: str
    subject_optional: bool
    cost: int
    unguarded: tuple[Named, ...]
    """Fields with user ids that the subject field need not cover, and why not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rpc:
    """One RPC of the contracts."""

    package: str
    service: str
    """The full name of its service."""
    name: str
    comment: str
    request: Descriptor
    response: Descriptor
    client_streaming: bool
    server_streaming: bool
    policy: Policy | None
    """None: it carries none."""

    @property
    def path(self) -> str:
        """The path of its requests: `/marquee.user.v1.UserService/GetUser`."""
        return f"/{self.service}/{self.name}"

    @property
    def streaming(self) -> bool:
        """Whether either side sends a stream."""
        return self.client_streaming or self.server_streaming


@dataclass(frozen=True, slots=True)
class Service:
    """One service of the contracts."""

    name: str
    """Its full name."""
    comment: str
    rpcs: tuple[Rpc, ...]


@dataclass(frozen=True, slots=True)
class Contracts:
    """What the contracts say: files by name, and each in its own order."""

    services: tuple[Service, ...]
    scopes: tuple[Named, ...]
    reasons: tuple[Named, ...]
    """The reasons of errors (google.rpc.ErrorInfo.reason)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """The policy of one RPC, whole and checked."""

    rpc: Rpc
    scope: str
    subject_field: str
    """Empty: the call touches no single person's data."""
    subject_optional: bool
    default_timeout: timedelta | None
    """None: a call may last when its caller sets no deadline."""
    max_timeout: timedelta | None
    """None: a caller's deadline is not cut."""
    retry_class: RetryClass
    cost: int
    unguarded: tuple[Named, ...]
    """Fields whose user ids are not compared with the token, and why not."""

    @property
    def retry_safe(self) -> bool:
        """Whether a call that failed with UNAVAILABLE may be sent again."""
        return self.retry_class is RetryClass.SAFE
