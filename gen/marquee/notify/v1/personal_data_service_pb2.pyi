import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from marquee.notify.v1 import notification_service_pb2 as _notification_service_pb2
from marquee.options.v1 import policy_pb2 as _policy_pb2
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
    __slots__ = ("recipient", "notification", "delivery")
    RECIPIENT_FIELD_NUMBER: _ClassVar[int]
    NOTIFICATION_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    recipient: RecipientRecord
    notification: NotificationRecord
    delivery: DeliveryRecord
    def __init__(self, recipient: _Optional[_Union[RecipientRecord, _Mapping]] = ..., notification: _Optional[_Union[NotificationRecord, _Mapping]] = ..., delivery: _Optional[_Union[DeliveryRecord, _Mapping]] = ...) -> None: ...

class RecipientRecord(_message.Message):
    __slots__ = ("version", "display_name", "locale", "muted_topics", "deleted", "last_sequence")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    LOCALE_FIELD_NUMBER: _ClassVar[int]
    MUTED_TOPICS_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    version: int
    display_name: str
    locale: str
    muted_topics: _containers.RepeatedCompositeFieldContainer[MutedTopic]
    deleted: bool
    last_sequence: int
    def __init__(self, version: _Optional[int] = ..., display_name: _Optional[str] = ..., locale: _Optional[str] = ..., muted_topics: _Optional[_Iterable[_Union[MutedTopic, _Mapping]]] = ..., deleted: _Optional[bool] = ..., last_sequence: _Optional[int] = ...) -> None: ...

class MutedTopic(_message.Message):
    __slots__ = ("topic", "channels")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    topic: str
    channels: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, topic: _Optional[str] = ..., channels: _Optional[_Iterable[str]] = ...) -> None: ...

class NotificationRecord(_message.Message):
    __slots__ = ("notification", "listed", "streamed", "traceparent")
    NOTIFICATION_FIELD_NUMBER: _ClassVar[int]
    LISTED_FIELD_NUMBER: _ClassVar[int]
    STREAMED_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    notification: _notification_service_pb2.Notification
    listed: bool
    streamed: bool
    traceparent: str
    def __init__(self, notification: _Optional[_Union[_notification_service_pb2.Notification, _Mapping]] = ..., listed: _Optional[bool] = ..., streamed: _Optional[bool] = ..., traceparent: _Optional[str] = ...) -> None: ...

class DeliveryRecord(_message.Message):
    __slots__ = ("id", "event_id", "channel", "outcome", "notification_id", "create_time")
    ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    NOTIFICATION_ID_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    id: str
    event_id: str
    channel: str
    outcome: str
    notification_id: str
    create_time: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[str] = ..., event_id: _Optional[str] = ..., channel: _Optional[str] = ..., outcome: _Optional[str] = ..., notification_id: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
