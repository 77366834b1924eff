"""Movies, interactions and models: plain types and rules."""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

MAX_BATCH = 1000
HISTORY_CAP = 1000

InteractionKey = tuple[str, str]
"""What names an interaction: whose it is, and the event id, which only they must not use twice."""


@dataclass(frozen=True, slots=True)
class Movie:
    """A movie of the catalogue; see `marquee.reco.v1.Movie`."""

    id: str
    title: str
    genres: tuple[str, ...]
    year: int
    languages: tuple[str, ...]
    create_time: datetime
    update_time: datetime

    def same_content(self, other: Movie) -> bool:
        """Tells whether two movies differ at most in their times."""
        return (self.title, self.genres, self.year, self.languages) == (
            other.title,
            other.genres,
            other.year,
            other.languages,
        )


class InteractionType(enum.IntEnum):
    """What a person can do with a movie; the numbers are those of the contract."""

    VIEW = 1
    WATCH = 2
    RATING = 3
    LIKE = 4
    DISLIKE = 5
    SKIP = 6


@dataclass(frozen=True, slots=True)
class Interaction:
    """What a person did with a movie.

    Attributes:
        event_id: Names it for good among those of the user.
        user_id: Who.
        movie_id: With which movie.
        type: What.
        value: WATCH: fraction 0 to 1; RATING: 0.5 to 5; otherwise 0.
        occur_time: When; None if the caller did not say.
    """

    event_id: str
    user_id: str
    movie_id: str
    type: InteractionType
    value: float
    occur_time: datetime | None

    @property
    def key(self) -> InteractionKey:
        """Names it among those of everybody."""
        return self.user_id, self.event_id

    def conflicts_with(self, recorded: Interaction) -> bool:
        """Tells whether `recorded`, of the same key, has other content."""
        return (
            self.movie_id != recorded.movie_id
            or self.type != recorded.type
            or self.value != recorded.value
            or (self.occur_time is not None and self.occur_time != recorded.occur_time)
        )


class CreatedMeanwhile(Exception):
    """Another writer has created what a transaction was about to create; the transaction is lost.

    Where its own look did not find it, the next attempt's will.
    """


class PeopleDeletedError(Exception):
    """A transaction would record something of people whose deletion was told; it is lost.

    Attributes:
        user_ids: Who.
    """

    def __init__(self, user_ids: Collection[str]) -> None:
        super().__init__(f"{len(user_ids)} people were deleted")
        self.user_ids = frozenset(user_ids)


class RowStatus(enum.IntEnum):
    """The fate of one row of a batch; the numbers are those of the contract."""

    ACCEPTED = 1
    DUPLICATE = 2
    CONFLICT = 3
    UNKNOWN_MOVIE = 4
    INVALID = 5


@dataclass(frozen=True, slots=True)
class RowResult:
    """What became of one row; `message` says what is wrong with a refused one."""

    event_id: str
    status: RowStatus
    message: str = ""


@dataclass(frozen=True, slots=True)
class RecordOutcome:
    """What became of a batch.

    Attributes:
        results: One per row, in the order of the batch.
        watermarks: By user with an accepted row, the version of their state that includes it.
    """

    results: tuple[RowResult, ...]
    watermarks: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class RecordedBatch:
    """The interactions of one person that were recorded together.

    Attributes:
        user_id: Whose.
        watermark: The version of their state that includes them.
        rows: The interactions in the order they were accepted, their occur_time set.
        record_time: When.
    """

    user_id: str
    watermark: int
    rows: tuple[Interaction, ...]
    record_time: datetime


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One interaction as the ranking needs it."""

    movie_id: str
    type: InteractionType
    value: float
    occur_time: datetime


@dataclass(frozen=True, slots=True)
class UserState:
    """What the ranking knows of a person.

    Attributes:
        user_id: Who.
        watermark: Grows by one with every recorded batch, also beyond a deletion; 0: nothing
            recorded.
        history: The latest interactions, at most `HISTORY_CAP`, in the order they were accepted.
        record_time: When the last batch was recorded; None: not known, or nothing was.
    """

    user_id: str
    watermark: int
    history: tuple[HistoryEntry, ...]
    record_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class UserProfile:
    """What the user service told of a person's taste."""

    liked_genres: tuple[str, ...] = ()
    disliked_genres: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProfileVersion:
    """Which of the user service's events a profile comes from.

    Attributes:
        number: The version that the event carried; 0: there was none yet.
        deleted: Whether it told of a deletion.
    """

    number: int = 0
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class HeldState:
    """A person's state as it is held, with the version of their deletion; 0: they were not."""

    state: UserState
    deleted_version: int = 0


class ModelStatus(enum.IntEnum):
    """Where a model stands; the numbers are those of the contract."""

    TRAINING = 1
    READY = 2
    SERVING = 3
    FAILED = 4


@dataclass(frozen=True, slots=True)
class Model:
    """A trained model, or one in training; see `marquee.reco.v1.Model`."""

    version: str
    status: ModelStatus
    create_time: datetime
    progress: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    interaction_count: int = 0
    user_count: int = 0
    movie_count: int = 0
    failure: str = ""
    finish_time: datetime | None = None


class Source(enum.IntEnum):
    """What a score was made from; the numbers are those of the contract."""

    PERSONAL = 1
    CONTENT = 2
    PREFERENCE = 3
    POPULAR = 4


@dataclass(frozen=True, slots=True)
class ScoredMovie:
    """A recommended movie.

    Attributes:
        movie_id: The movie.
        score: Higher is better, comparable within one source.
        source: What the score was made from.
        contributions: (watched movie id, part of the score), largest first; empty if not asked for.
    """

    movie_id: str
    score: float
    source: Source
    contributions: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """Recommendations and what they were made from.

    Attributes:
        movies: Best first.
        watermark: The version of the user's state; 0 for a session.
        model_version: Empty when no model serves.
        index_version: Empty when no model serves.
        missing_movie_ids: Ids of a session that the catalogue does not know.
    """

    movies: tuple[ScoredMovie, ...]
    watermark: int
    model_version: str
    index_version: str
    missing_movie_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ToldList:
    """The list a person was last told of; an empty one stays of somebody who was deleted.

    Attributes:
        version: Grows with every write.
        movie_ids: The list they know.
        watermark: The state the latest computation used.
        model_version: The model the latest computation used.
    """

    version: int
    movie_ids: tuple[str, ...]
    watermark: int
    model_version: str


def new_to_person(best: Sequence[str], told: Iterable[str]) -> tuple[str, ...]:
    """Returns those of `best` that are not in `told`, in their order."""
    known = set(told)
    return tuple(movie_id for movie_id in best if movie_id not in known)
