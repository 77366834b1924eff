"""What the contracts say: services, methods, their policies, and the descriptor set."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import marquee_policy
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
from marquee_policy import MethodPolicy

__all__ = [
    "MethodPolicy",
    "file_descriptor_set",
    "policies",
    "scope_name",
    "services",
    "write_descriptor_set",
]

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


@cache
def services() -> Mapping[str, descriptor.ServiceDescriptor]:
    """Returns every service of the mesh by its full name."""
    return {
        service.full_name: service
        for module in _SERVICE_FILES
        for service in module.DESCRIPTOR.services_by_name.values()
    }


def policies() -> Mapping[str, MethodPolicy]:
    """Returns the policy of every RPC by its full path, as the policy compiler wrote it."""
    return marquee_policy.POLICIES


def scope_name(scope: policy_pb2.Scope) -> str:
    """Returns a scope as tokens write it: SCOPE_USERS_READ is `users.read`."""
    return policy_pb2.Scope.Name(scope).removeprefix("SCOPE_").lower().replace("_", ".", 1)


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
