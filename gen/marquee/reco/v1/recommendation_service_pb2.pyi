from marquee.options.v1 import policy_pb2 as _policy_pb2
from marquee.reco.v1 import movie_pb2 as _movie_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Source(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SOURCE_UNSPECIFIED: _ClassVar[Source]
    SOURCE_PERSONAL: _ClassVar[Source]
    SOURCE_CONTENT: _ClassVar[Source]
    SOURCE_PREFERENCE: _ClassVar[Source]
    SOURCE_POPULAR: _ClassVar[Source]
SOURCE_UNSPECIFIED: Source
SOURCE_PERSONAL: Source
SOURCE_CONTENT: Source
SOURCE_PREFERENCE: Source
SOURCE_POPULAR: Source

class RecommendRequest(_message.Message):
    __slots__ = ("user_id", "session", "limit", "explain")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    session: Session
    limit: int
    explain: bool
    def __init__(self, user_id: _Optional[str] = ..., session: _Optional[_Union[Session, _Mapping]] = ..., limit: _Optional[int] = ..., explain: _Optional[bool] = ...) -> None: ...

class Session(_message.Message):
    __slots__ = ("movie_ids",)
    MOVIE_IDS_FIELD_NUMBER: _ClassVar[int]
    movie_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, movie_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class RecommendResponse(_message.Message):
    __slots__ = ("recommendations", "watermark", "model_version", "index_version", "missing_movie_ids")
    RECOMMENDATIONS_FIELD_NUMBER: _ClassVar[int]
    WATERMARK_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    INDEX_VERSION_FIELD_NUMBER: _ClassVar[int]
    MISSING_MOVIE_IDS_FIELD_NUMBER: _ClassVar[int]
    recommendations: _containers.RepeatedCompositeFieldContainer[Recommendation]
    watermark: int
    model_version: str
    index_version: str
    missing_movie_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, recommendations: _Optional[_Iterable[_Union[Recommendation, _Mapping]]] = ..., watermark: _Optional[int] = ..., model_version: _Optional[str] = ..., index_version: _Optional[str] = ..., missing_movie_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class Recommendation(_message.Message):
    __slots__ = ("movie", "score", "source", "contributions")
    MOVIE_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTIONS_FIELD_NUMBER: _ClassVar[int]
    movie: _movie_pb2.Movie
    score: float
    source: Source
    contributions: _containers.RepeatedCompositeFieldContainer[Contribution]
    def __init__(self, movie: _Optional[_Union[_movie_pb2.Movie, _Mapping]] = ..., score: _Optional[float] = ..., source: _Optional[_Union[Source, str]] = ..., contributions: _Optional[_Iterable[_Union[Contribution, _Mapping]]] = ...) -> None: ...

class Contribution(_message.Message):
    __slots__ = ("movie_id", "title", "value")
    MOVIE_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    movie_id: str
    title: str
    value: float
    def __init__(self, movie_id: _Optional[str] = ..., title: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...

class SimilarMoviesRequest(_message.Message):
    __slots__ = ("movie_id", "limit")
    MOVIE_ID_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    movie_id: str
    limit: int
    def __init__(self, movie_id: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class SimilarMoviesResponse(_message.Message):
    __slots__ = ("movies", "model_version", "index_version")
    MOVIES_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    INDEX_VERSION_FIELD_NUMBER: _ClassVar[int]
    movies: _containers.RepeatedCompositeFieldContainer[SimilarMovie]
    model_version: str
    index_version: str
    def __init__(self, movies: _Optional[_Iterable[_Union[SimilarMovie, _Mapping]]] = ..., model_version: _Optional[str] = ..., index_version: _Optional[str] = ...) -> None: ...

class SimilarMovie(_message.Message):
    __slots__ = ("movie", "similarity")
    MOVIE_FIELD_NUMBER: _ClassVar[int]
    SIMILARITY_FIELD_NUMBER: _ClassVar[int]
    movie: _movie_pb2.Movie
    similarity: float
    def __init__(self, movie: _Optional[_Union[_movie_pb2.Movie, _Mapping]] = ..., similarity: _Optional[float] = ...) -> None: ...

class TrendingRequest(_message.Message):
    __slots__ = ("limit",)
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    limit: int
    def __init__(self, limit: _Optional[int] = ...) -> None: ...

class TrendingResponse(_message.Message):
    __slots__ = ("movies",)
    MOVIES_FIELD_NUMBER: _ClassVar[int]
    movies: _containers.RepeatedCompositeFieldContainer[TrendingMovie]
    def __init__(self, movies: _Optional[_Iterable[_Union[TrendingMovie, _Mapping]]] = ...) -> None: ...

class TrendingMovie(_message.Message):
    __slots__ = ("movie", "score")
    MOVIE_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    movie: _movie_pb2.Movie
    score: float
    def __init__(self, movie: _Optional[_Union[_movie_pb2.Movie, _Mapping]] = ..., score: _Optional[float] = ...) -> None: ...
