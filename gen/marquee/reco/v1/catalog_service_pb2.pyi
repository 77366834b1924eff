from marquee.options.v1 import policy_pb2 as _policy_pb2
from marquee.reco.v1 import movie_pb2 as _movie_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class UpsertMoviesRequest(_message.Message):
    __slots__ = ("movies",)
    MOVIES_FIELD_NUMBER: _ClassVar[int]
    movies: _containers.RepeatedCompositeFieldContainer[_movie_pb2.Movie]
    def __init__(self, movies: _Optional[_Iterable[_Union[_movie_pb2.Movie, _Mapping]]] = ...) -> None: ...

class UpsertMoviesResponse(_message.Message):
    __slots__ = ("created_count", "updated_count", "unchanged_count")
    CREATED_COUNT_FIELD_NUMBER: _ClassVar[int]
    UPDATED_COUNT_FIELD_NUMBER: _ClassVar[int]
    UNCHANGED_COUNT_FIELD_NUMBER: _ClassVar[int]
    created_count: int
    updated_count: int
    unchanged_count: int
    def __init__(self, created_count: _Optional[int] = ..., updated_count: _Optional[int] = ..., unchanged_count: _Optional[int] = ...) -> None: ...

class GetMovieRequest(_message.Message):
    __slots__ = ("movie_id",)
    MOVIE_ID_FIELD_NUMBER: _ClassVar[int]
    movie_id: str
    def __init__(self, movie_id: _Optional[str] = ...) -> None: ...

class GetMovieResponse(_message.Message):
    __slots__ = ("movie",)
    MOVIE_FIELD_NUMBER: _ClassVar[int]
    movie: _movie_pb2.Movie
    def __init__(self, movie: _Optional[_Union[_movie_pb2.Movie, _Mapping]] = ...) -> None: ...

class BatchGetMoviesRequest(_message.Message):
    __slots__ = ("movie_ids",)
    MOVIE_IDS_FIELD_NUMBER: _ClassVar[int]
    movie_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, movie_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class BatchGetMoviesResponse(_message.Message):
    __slots__ = ("movies", "missing_movie_ids")
    MOVIES_FIELD_NUMBER: _ClassVar[int]
    MISSING_MOVIE_IDS_FIELD_NUMBER: _ClassVar[int]
    movies: _containers.RepeatedCompositeFieldContainer[_movie_pb2.Movie]
    missing_movie_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, movies: _Optional[_Iterable[_Union[_movie_pb2.Movie, _Mapping]]] = ..., missing_movie_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class ListMoviesRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListMoviesResponse(_message.Message):
    __slots__ = ("movies", "next_page_token")
    MOVIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    movies: _containers.RepeatedCompositeFieldContainer[_movie_pb2.Movie]
    next_page_token: str
    def __init__(self, movies: _Optional[_Iterable[_Union[_movie_pb2.Movie, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
