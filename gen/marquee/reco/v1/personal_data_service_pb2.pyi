import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from marquee.options.v1 import policy_pb2 as _policy_pb2
from marquee.reco.v1 import interaction_service_pb2 as _interaction_service_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ExportPersonalDataRequest(_message.Message):
    __slots__ = ("user_id",)
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    def __init__(self, user_id: _Optional[str] = ...) -> None: ...

class ExportPersonalDataResponse(_message.Message):
    __slots__ = ("records", "summary")
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    records: _containers.RepeatedCompositeFieldContainer[PersonalRecord]
    summary: PersonalDataSummary
    def __init__(self, records: _Optional[_Iterable[_Union[PersonalRecord, _Mapping]]] = ..., summary: _Optional[_Union[PersonalDataSummary, _Mapping]] = ...) -> None: ...

class PersonalDataSummary(_message.Message):
    __slots__ = ("record_count",)
    RECORD_COUNT_FIELD_NUMBER: _ClassVar[int]
    record_count: int
    def __init__(self, record_count: _Optional[int] = ...) -> None: ...

class PersonalRecord(_message.Message):
    __slots__ = ("interaction", "state", "taste", "told_list")
    INTERACTION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    TASTE_FIELD_NUMBER: _ClassVar[int]
    TOLD_LIST_FIELD_NUMBER: _ClassVar[int]
    interaction: InteractionRecord
    state: StateRecord
    taste: TasteRecord
    told_list: ToldListRecord
    def __init__(self, interaction: _Optional[_Union[InteractionRecord, _Mapping]] = ..., state: _Optional[_Union[StateRecord, _Mapping]] = ..., taste: _Optional[_Union[TasteRecord, _Mapping]] = ..., told_list: _Optional[_Union[ToldListRecord, _Mapping]] = ...) -> None: ...

class InteractionRecord(_message.Message):
    __slots__ = ("interaction", "record_time")
    INTERACTION_FIELD_NUMBER: _ClassVar[int]
    RECORD_TIME_FIELD_NUMBER: _ClassVar[int]
    interaction: _interaction_service_pb2.Interaction
    record_time: _timestamp_pb2.Timestamp
    def __init__(self, interaction: _Optional[_Union[_interaction_service_pb2.Interaction, _Mapping]] = ..., record_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class StateRecord(_message.Message):
    __slots__ = ("watermark", "history", "record_time", "deleted_version")
    WATERMARK_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    RECORD_TIME_FIELD_NUMBER: _ClassVar[int]
    DELETED_VERSION_FIELD_NUMBER: _ClassVar[int]
    watermark: int
    history: _containers.RepeatedCompositeFieldContainer[_interaction_service_pb2.Interaction]
    record_time: _timestamp_pb2.Timestamp
    deleted_version: int
    def __init__(self, watermark: _Optional[int] = ..., history: _Optional[_Iterable[_Union[_interaction_service_pb2.Interaction, _Mapping]]] = ..., record_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., deleted_version: _Optional[int] = ...) -> None: ...

class TasteRecord(_message.Message):
    __slots__ = ("version", "liked_genres", "disliked_genres", "deleted")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LIKED_GENRES_FIELD_NUMBER: _ClassVar[int]
    DISLIKED_GENRES_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    version: int
    liked_genres: _containers.RepeatedScalarFieldContainer[str]
    disliked_genres: _containers.RepeatedScalarFieldContainer[str]
    deleted: bool
    def __init__(self, version: _Optional[int] = ..., liked_genres: _Optional[_Iterable[str]] = ..., disliked_genres: _Optional[_Iterable[str]] = ..., deleted: _Optional[bool] = ...) -> None: ...

class ToldListRecord(_message.Message):
    __slots__ = ("version", "movie_ids", "watermark", "model_version")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    MOVIE_IDS_FIELD_NUMBER: _ClassVar[int]
    WATERMARK_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    version: int
    movie_ids: _containers.RepeatedScalarFieldContainer[str]
    watermark: int
    model_version: str
    def __init__(self, version: _Optional[int] = ..., movie_ids: _Optional[_Iterable[str]] = ..., watermark: _Optional[int] = ..., model_version: _Optional[str] = ...) -> None: ...
