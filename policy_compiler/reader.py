"""Reads services, policies and comments out of a descriptor set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import (
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
)

from policy_compiler.model import Contracts, Named, Policy, RetryClass, Rpc, Service

_OPTION = "marquee.options.v1.policy"
_SCOPES = "marquee.options.v1.Scope"
_REASONS = "marquee.options.v1.Reason"

# Numbers of fields in descriptor.proto, of which the places of comments are made.
_FILE_ENUMS, _FILE_SERVICES, _SERVICE_METHODS, _ENUM_VALUES = 5, 6, 2, 2


def read_contracts(descriptor_set: FileDescriptorSet) -> Contracts:
    """Reads every service of a descriptor set.

    Args:
        descriptor_set: Files in import order, with all they import; comments are read from their
            source info and are empty without it.

    Raises:
        TypeError: A file comes before one that it imports.
    """
    return _Reader(descriptor_set).contracts()


def scope_name(enum_value: str) -> str:
    """Returns a scope as tokens write it: SCOPE_USERS_READ is `users.read`."""
    return enum_value.removeprefix("SCOPE_").lower().replace("_", ".", 1)


class _Reader:
    """Reads with a pool of its own: options are understood without generated code."""

    def __init__(self, descriptor_set: FileDescriptorSet) -> None:
        self._files = descriptor_set.file
        self._pool = descriptor_pool.DescriptorPool()
        for file in self._files:
            self._pool.Add(file)
        self._comments = {file.name: _comments(file) for file in self._files}
        self._option = self._find_option()

    def contracts(self) -> Contracts:
        return Contracts(
            # By name: the order of imports changes with imports.
            services=tuple(
                service
                for file in sorted(self._files, key=lambda file: file.name)
                for service in self._services(file)
            ),
            scopes=tuple(
                Named(scope_name(value.name), value.comment) for value in self._values(_SCOPES)
            ),
            reasons=tuple(
                Named(value.name.removeprefix("REASON_"), value.comment)
                for value in self._values(_REASONS)
            ),
        )

    def _find_option(self) -> FieldDescriptor | None:
        try:
            return self._pool.FindExtensionByName(_OPTION)
        except KeyError:
            return None

    def _services(self, file: FileDescriptorProto) -> Iterator[Service]:
        comments = self._comments[file.name]
        for i, service in enumerate(file.service):
            name = f"{file.package}.{service.name}".removeprefix(".")
            types = self._pool.FindServiceByName(name)
            yield Service(
                name=name,
                comment=comments.get((_FILE_SERVICES, i), ""),
                rpcs=tuple(
                    Rpc(
                        package=file.package,
                        service=name,
                        name=method.name,
                        comment=comments.get((_FILE_SERVICES, i, _SERVICE_METHODS, j), ""),
                        request=types.methods_by_name[method.name].input_type,
                        response=types.methods_by_name[method.name].output_type,
                        client_streaming=method.client_streaming,
                        server_streaming=method.server_streaming,
                        policy=self._policy(method),
                    )
                    for j, method in enumerate(service.method)
                ),
            )

    def _policy(self, method: MethodDescriptorProto) -> Policy | None:
        if self._option is None or self._option.containing_type is None:
            return None
        kind = message_factory.GetMessageClass(self._option.containing_type)
        options: Any = kind.FromString(method.options.SerializeToString())
        if not options.HasExtension(self._option):
            return None
        policy = options.Extensions[self._option]
        fields = policy.DESCRIPTOR.fields_by_name
        scope = _declared(fields["scope"].enum_type, policy.scope)
        retry = _declared(fields["retry_class"].enum_type, policy.retry_class)
        return Policy(
            default_timeout=_duration(policy, "default_timeout"),
            max_timeout=_duration(policy, "max_timeout"),
            retry_class=RetryClass(retry.removeprefix("RETRY_CLASS_").lower()) if retry else None,
            scope=scope_name(scope) if scope else None,
            subject_field=policy.subject_field,
            subject_optional=policy.subject_optional,
            cost=policy.cost,
            unguarded=tuple(Named(entry.field, entry.reason) for entry in policy.unguarded),
        )

    def _values(self, enum: str) -> Iterator[Named]:
        """Yields the values of a top-level enum except the one that declares nothing."""
        for file in self._files:
            for i, found in enumerate(file.enum_type):
                if f"{file.package}.{found.name}" == enum:
                    for j, value in enumerate(found.value):
                        if value.number:
                            place = (_FILE_ENUMS, i, _ENUM_VALUES, j)
                            yield Named(value.name, self._comments[file.name].get(place, ""))


def _declared(enum: EnumDescriptor, number: int) -> str | None:
    value = enum.values_by_number.get(number)
    return value.name if value is not None and number else None


def _duration(policy: Any, field: str) -> timedelta | None:
    if not policy.HasField(field):
        return None
    value = getattr(policy, field)
    return timedelta(seconds=value.seconds, microseconds=value.nanos / 1000)


def _comments(file: FileDescriptorProto) -> Mapping[tuple[int, ...], str]:
    """Returns the comment above each element of a file by its place, without margins."""
    return {
        tuple(location.path): "\n".join(
            line.removeprefix(" ").rstrip() for line in location.leading_comments.splitlines()
        ).strip()
        for location in file.source_code_info.location
        if location.leading_comments
    }
