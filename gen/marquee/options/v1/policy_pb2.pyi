import datetime

from google.protobuf import descriptor_pb2 as _descriptor_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RetryClass(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RETRY_CLASS_UNSPECIFIED: _ClassVar[RetryClass]
    RETRY_CLASS_NEVER: _ClassVar[RetryClass]
    RETRY_CLASS_SAFE: _ClassVar[RetryClass]

class Scope(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SCOPE_UNSPECIFIED: _ClassVar[Scope]
    SCOPE_USERS_READ: _ClassVar[Scope]
    SCOPE_USERS_WRITE: _ClassVar[Scope]
    SCOPE_USERS_LIST: _ClassVar[Scope]
    SCOPE_CATALOG_READ: _ClassVar[Scope]
    SCOPE_INTERACTIONS_READ: _ClassVar[Scope]
    SCOPE_INTERACTIONS_WRITE: _ClassVar[Scope]
    SCOPE_RECOMMENDATIONS_READ: _ClassVar[Scope]
    SCOPE_MODELS_READ: _ClassVar[Scope]
    SCOPE_NOTIFICATIONS_READ: _ClassVar[Scope]
    SCOPE_NOTIFICATIONS_WRITE: _ClassVar[Scope]
    SCOPE_ADMIN: _ClassVar[Scope]
    SCOPE_SUBJECTS_ANY: _ClassVar[Scope]
    SCOPE_USERS_EXPORT: _ClassVar[Scope]
RETRY_CLASS_UNSPECIFIED: RetryClass
RETRY_CLASS_NEVER: RetryClass
RETRY_CLASS_SAFE: RetryClass
SCOPE_UNSPECIFIED: Scope
SCOPE_USERS_READ: Scope
SCOPE_USERS_WRITE: Scope
SCOPE_USERS_LIST: Scope
SCOPE_CATALOG_READ: Scope
SCOPE_INTERACTIONS_READ: Scope
SCOPE_INTERACTIONS_WRITE: Scope
SCOPE_RECOMMENDATIONS_READ: Scope
SCOPE_MODELS_READ: Scope
SCOPE_NOTIFICATIONS_READ: Scope
SCOPE_NOTIFICATIONS_WRITE: Scope
SCOPE_ADMIN: Scope
SCOPE_SUBJECTS_ANY: Scope
SCOPE_USERS_EXPORT: Scope
POLICY_FIELD_NUMBER: _ClassVar[int]
policy: _descriptor.FieldDescriptor

class Policy(_message.Message):
    __slots__ = ("default_timeout", "max_timeout", "retry_class", "scope", "subject_field", "subject_optional", "cost", "unguarded")
    DEFAULT_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    MAX_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    RETRY_CLASS_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_OPTIONAL_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    UNGUARDED_FIELD_NUMBER: _ClassVar[int]
    default_timeout: _duration_pb2.Duration
    max_timeout: _duration_pb2.Duration
    retry_class: RetryClass
    scope: Scope
    subject_field: str
    subject_optional: bool
    cost: int
    unguarded: _containers.RepeatedCompositeFieldContainer[UnguardedField]
    def __init__(self, default_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., retry_class: _Optional[_Union[RetryClass, str]] = ..., scope: _Optional[_Union[Scope, str]] = ..., subject_field: _Optional[str] = ..., subject_optional: _Optional[bool] = ..., cost: _Optional[int] = ..., unguarded: _Optional[_Iterable[_Union[UnguardedField, _Mapping]]] = ...) -> None: ...

class UnguardedField(_message.Message):
    __slots__ = ("field", "reason")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    field: str
    reason: str
    def __init__(self, field: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...
