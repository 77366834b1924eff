"""What the contracts say: services, methods, their policies, and the descriptor set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import descriptor, descriptor_pb2
from google.rpc import error_details_pb2
from marquee.notify.v1 import notification_service_pb2
from marquee.notify.v1 import personal_data_service_pb2 as notify_personal_data_service_pb2
from marquee.options.v1 import policy_pb2
from marquee.reco.v1 import (
    catalog_service_pb2,
    interaction_service_pb2,
    model_service_pb2,
    recommendation_service_pb2,
)
from marquee.reco.v1 import personal_data_service_pb2 as reco_personal_data_service_pb2
from marquee.user.v1 import user_service_pb2

_SERVICE_FILES = (
    user_service_pb2,
    catalog_service_pb2,
    interaction_service_pb2,
    recommendation_service_pb2,
    model_service_pb2,
    reco_personal_data_service_pb2,
    notification_service_pb2,
    notify_personal_data_service_pb2,
)


@dataclass(frozen=True, slots=True)
class MethodPolicy:
    """The policy option of one RPC.

    Attributes:
        method: Full path, `/marquee.user.v1.UserService/GetUser`.
        default_timeout: Seconds a call may take when the caller sets no deadline; None: unlimited.
        max_timeout: The longest deadline in seconds a caller may set; None: unlimited.
        retry_safe: Whether a call that failed with UNAVAILABLE may be sent again.
        server_streaming: Whether the reply is a stream.
        scope: The scope a token must carry, as tokens write it: `users.read`.
        subject_field: Dotted path to the ids of the users whose data the call touches; empty: it
            touches no single person's data.
        subject_optional: Whether that field may be empty.
        cost: Units of the caller's rate budget.
    """

    method: str
    default_timeout: float | None
    max_timeout: float | None
    retry_safe: bool
    server_streaming: bool
    scope: str
    subject_field: str
    subject_optional: bool
    cost: int


@cache
def services() -> Mapping[str, descriptor.ServiceDescriptor]:
    """Returns every service of the mesh by its full name."""
    return {
        service.full_name: service
        for module in _SERVICE_FILES
        for service in module.DESCRIPTOR.services_by_name.values()
    }


@cache
def policies() -> Mapping[str, MethodPolicy]:
    """Returns the policy of every RPC by its full path.

    Raises:
        ValueError: An RPC carries no policy.
    """
    found = {}
    for service in services().values():
        for method in service.methods:
            path = f"/{service.full_name}/{method.name}"
            options: Any = method.GetOptions()  # the stubs do not know typed extensions
            if not options.HasExtension(policy_pb2.policy):
                raise ValueError(f"{path} carries no policy option")
            policy: policy_pb2.Policy = options.Extensions[policy_pb2.policy]
            found[path] = MethodPolicy(
                method=path,
                default_timeout=_seconds(policy, "default_timeout"),
                max_timeout=_seconds(policy, "max_timeout"),
                retry_safe=policy.retry_class == policy_pb2.RETRY_CLASS_SAFE,
                server_streaming=method.server_streaming,
                scope=scope_name(policy.scope),
                subject_field=policy.subject_field,
                subject_optional=policy.subject_optional,
                cost=policy.cost,
            )
    return found


def scope_name(scope: policy_pb2.Scope) -> str:
    """Returns a scope as tokens write it: SCOPE_USERS_READ is `users.read`."""
    return policy_pb2.Scope.Name(scope).removeprefix("SCOPE_").lower().replace("_", ".", 1)


def _seconds(policy: policy_pb2.Policy, field: str) -> float | None:
    if not policy.HasField(field):
        return None
    duration = getattr(policy, field)
    return float(duration.seconds + duration.nanos / 1e9)


def file_descriptor_set() -> descriptor_pb2.FileDescriptorSet:
    """Returns all contracts with their imports, imports first, and google.rpc's error details.

    Envoy's JSON transcoder reads it.
    """
    files: dict[str, descriptor_pb2.FileDescriptorProto] = {}

    def add(file: descriptor.FileDescriptor) -> None:
        if file.name in files:
            return
        for dependency in file.dependencies:
            add(dependency)
        files[file.name] = descriptor_pb2.FileDescriptorProto.FromString(file.serialized_pb)

    for module in (*_SERVICE_FILES, error_details_pb2):
        add(module.DESCRIPTOR)
    return descriptor_pb2.FileDescriptorSet(file=files.values())


def write_descriptor_set(path: Path) -> None:
    """Writes `file_descriptor_set` to a file."""
    path.write_bytes(file_descriptor_set().SerializeToString(deterministic=True))
