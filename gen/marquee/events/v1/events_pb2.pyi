import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from marquee.reco.v1 import interaction_service_pb2 as _interaction_service_pb2
from marquee.reco.v1 import movie_pb2 as _movie_pb2
from marquee.user.v1 import user_pb2 as _user_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class UserChanged(_message.Message):
    __slots__ = ("user", "preferences", "version")
    USER_FIELD_NUMBER: _ClassVar[int]
    PREFERENCES_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    user: _user_pb2.User
    preferences: _user_pb2.Preferences
    version: int
    def __init__(self, user: _Optional[_Union[_user_pb2.User, _Mapping]] = ..., preferences: _Optional[_Union[_user_pb2.Preferences, _Mapping]] = ..., version: _Optional[int] = ...) -> None: ...

class UserDeleted(_message.Message):
    __slots__ = ("user_id", "delete_time", "version")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    DELETE_TIME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    delete_time: _timestamp_pb2.Timestamp
    version: int
    def __init__(self, user_id: _Optional[str] = ..., delete_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., version: _Optional[int] = ...) -> None: ...

class InteractionRecorded(_message.Message):
    __slots__ = ("user_id", "interactions", "watermark")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    INTERACTIONS_FIELD_NUMBER: _ClassVar[int]
    WATERMARK_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    interactions: _containers.RepeatedCompositeFieldContainer[_interaction_service_pb2.Interaction]
    watermark: int
    def __init__(self, user_id: _Optional[str] = ..., interactions: _Optional[_Iterable[_Union[_interaction_service_pb2.Interaction, _Mapping]]] = ..., watermark: _Optional[int] = ...) -> None: ...

class MovieChanged(_message.Message):
    __slots__ = ("movie",)
    MOVIE_FIELD_NUMBER: _ClassVar[int]
    movie: _movie_pb2.Movie
    def __init__(self, movie: _Optional[_Union[_movie_pb2.Movie, _Mapping]] = ...) -> None: ...

class ModelPromoted(_message.Message):
    __slots__ = ("model_version", "promote_time")
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    PROMOTE_TIME_FIELD_NUMBER: _ClassVar[int]
    model_version: str
    promote_time: _timestamp_pb2.Timestamp
    def __init__(self, model_version: _Optional[str] = ..., promote_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class RecommendationListChanged(_message.Message):
    __slots__ = ("user_id", "movies", "new_movie_ids", "watermark", "model_version")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    MOVIES_FIELD_NUMBER: _ClassVar[int]
    NEW_MOVIE_IDS_FIELD_NUMBER: _ClassVar[int]
    WATERMARK_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    movies: _containers.RepeatedCompositeFieldContainer[RecommendedMovie]
    new_movie_ids: _containers.RepeatedScalarFieldContainer[str]
    watermark: int
    model_version: str
    def __init__(self, user_id: _Optional[str] = ..., movies: _Optional[_Iterable[_Union[RecommendedMovie, _Mapping]]] = ..., new_movie_ids: _Optional[_Iterable[str]] = ..., watermark: _Optional[int] = ..., model_version: _Optional[str] = ...) -> None: ...

class RecommendedMovie(_message.Message):
    __slots__ = ("movie_id", "title", "because_titles")
    MOVIE_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    BECAUSE_TITLES_FIELD_NUMBER: _ClassVar[int]
    movie_id: str
    title: str
    because_titles: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, movie_id: _Optional[str] = ..., title: _Optional[str] = ..., because_titles: _Optional[_Iterable[str]] = ...) -> None: ...
