import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from marquee.options.v1 import policy_pb2 as _policy_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class InteractionType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INTERACTION_TYPE_UNSPECIFIED: _ClassVar[InteractionType]
    INTERACTION_TYPE_VIEW: _ClassVar[InteractionType]
    INTERACTION_TYPE_WATCH: _ClassVar[InteractionType]
    INTERACTION_TYPE_RATING: _ClassVar[InteractionType]
    INTERACTION_TYPE_LIKE: _ClassVar[InteractionType]
    INTERACTION_TYPE_DISLIKE: _ClassVar[InteractionType]
    INTERACTION_TYPE_SKIP: _ClassVar[InteractionType]

class InteractionStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INTERACTION_STATUS_UNSPECIFIED: _ClassVar[InteractionStatus]
    INTERACTION_STATUS_ACCEPTED: _ClassVar[InteractionStatus]
    INTERACTION_STATUS_DUPLICATE: _ClassVar[InteractionStatus]
    INTERACTION_STATUS_CONFLICT: _ClassVar[InteractionStatus]
    INTERACTION_STATUS_UNKNOWN_MOVIE: _ClassVar[InteractionStatus]
    INTERACTION_STATUS_INVALID: _ClassVar[InteractionStatus]
INTERACTION_TYPE_UNSPECIFIED: InteractionType
INTERACTION_TYPE_VIEW: InteractionType
INTERACTION_TYPE_WATCH: InteractionType
INTERACTION_TYPE_RATING: InteractionType
INTERACTION_TYPE_LIKE: InteractionType
INTERACTION_TYPE_DISLIKE: InteractionType
INTERACTION_TYPE_SKIP: InteractionType
INTERACTION_STATUS_UNSPECIFIED: InteractionStatus
INTERACTION_STATUS_ACCEPTED: InteractionStatus
INTERACTION_STATUS_DUPLICATE: InteractionStatus
INTERACTION_STATUS_CONFLICT: InteractionStatus
INTERACTION_STATUS_UNKNOWN_MOVIE: InteractionStatus
INTERACTION_STATUS_INVALID: InteractionStatus

class Interaction(_message.Message):
    __slots__ = ("event_id", "user_id", "movie_id", "type", "value", "occur_time")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    MOVIE_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    OCCUR_TIME_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    user_id: str
    movie_id: str
    type: InteractionType
    value: float
    occur_time: _timestamp_pb2.Timestamp
    def __init__(self, event_id: _Optional[str] = ..., user_id: _Optional[str] = ..., movie_id: _Optional[str] = ..., type: _Optional[_Union[InteractionType, str]] = ..., value: _Optional[float] = ..., occur_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class RecordInteractionsRequest(_message.Message):
    __slots__ = ("interactions",)
    INTERACTIONS_FIELD_NUMBER: _ClassVar[int]
    interactions: _containers.RepeatedCompositeFieldContainer[Interaction]
    def __init__(self, interactions: _Optional[_Iterable[_Union[Interaction, _Mapping]]] = ...) -> None: ...

class RecordInteractionsResponse(_message.Message):
    __slots__ = ("results", "watermarks")
    class WatermarksEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    WATERMARKS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[InteractionResult]
    watermarks: _containers.ScalarMap[str, int]
    def __init__(self, results: _Optional[_Iterable[_Union[InteractionResult, _Mapping]]] = ..., watermarks: _Optional[_Mapping[str, int]] = ...) -> None: ...

class InteractionResult(_message.Message):
    __slots__ = ("event_id", "status", "message")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    status: InteractionStatus
    message: str
    def __init__(self, event_id: _Optional[str] = ..., status: _Optional[_Union[InteractionStatus, str]] = ..., message: _Optional[str] = ...) -> None: ...

class ListInteractionsRequest(_message.Message):
    __slots__ = ("user_id", "page_size", "page_token")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    page_size: int
    page_token: str
    def __init__(self, user_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListInteractionsResponse(_message.Message):
    __slots__ = ("interactions", "next_page_token")
    INTERACTIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    interactions: _containers.RepeatedCompositeFieldContainer[Interaction]
    next_page_token: str
    def __init__(self, interactions: _Optional[_Iterable[_Union[Interaction, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
