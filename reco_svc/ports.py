"""What the use cases need of the world, as protocols; the stores fulfil them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

from mesh.events import Event
from mesh.mongo.client import Session
from reco_svc.domain import (
    HeldState,
    Interaction,
    InteractionKey,
    Model,
    Movie,
    ProfileVersion,
    RecordedBatch,
    ToldList,
    UserProfile,
    UserState,
)
from reco_svc.index.serving_model import ServingModel

ResultT = TypeVar("ResultT")


class Transactions(Protocol):
    """Changes state and tells the mesh in one transaction; see `mesh.outbox.store.Outbox`."""

    async def transaction(self, callback: Callable[[Session], Awaitable[ResultT]]) -> ResultT:
        """Runs a callback in a transaction."""

    async def append(self, session: Session, events: Sequence[Event]) -> None:
        """Adds events to the transaction."""


class Movies(Protocol):
    """The catalogue; see `reco_svc.store.movies.MovieStore`."""

    async def get(
        self, movie_ids: Sequence[str], session: Session | None = None
    ) -> dict[str, Movie]:
        """Returns the movies found, by id."""

    async def put(
        self, created: Sequence[Movie], replaced: Sequence[Movie], session: Session
    ) -> None:
        """Writes movies."""

    async def page(self, after: str, size: int) -> list[Movie]:
        """Returns a page by id."""


class CatalogCopy(Protocol):
    """The catalogue in memory; see `reco_svc.store.movies.Catalog`."""

    @property
    def movies(self) -> Mapping[str, Movie]:
        """The movies by id."""

    def add(self, movies: Sequence[Movie]) -> None:
        """Takes over movies that were just written."""

    async def unknown(self, movie_ids: Sequence[str]) -> set[str]:
        """Returns the ids that do not exist."""


class Interactions(Protocol):
    """Interactions and states; see `reco_svc.store.interactions.InteractionStore`."""

    async def recorded(
        self, keys: Sequence[InteractionKey], session: Session
    ) -> dict[InteractionKey, Interaction]:
        """Returns what is recorded already."""

    async def advance_states(
        self,
        accepted: Mapping[str, Sequence[Interaction]],
        record_time: datetime,
        session: Session,
    ) -> dict[str, int]:
        """Appends to the histories of people and returns their new watermarks."""

    async def insert(self, batches: Sequence[RecordedBatch], session: Session) -> None:
        """Writes the batches of several people."""

    async def page(
        self, user_id: str, before: tuple[int, int] | None, size: int
    ) -> list[tuple[tuple[int, int], Interaction]]:
        """Returns a page with positions, latest first."""


class Memories(Protocol):
    """What is forgotten of a person; see `reco_svc.store.interactions.InteractionStore`."""

    async def forget(self, user_id: str, deleted_version: int, session: Session) -> int:
        """Deletes what they did and returns the watermark of the empty state that stays."""

    async def revive(self, user_id: str, session: Session) -> None:
        """Takes interactions again."""


class States(Protocol):
    """States, read; see `reco_svc.store.interactions.InteractionStore`."""

    async def state(self, user_id: str) -> UserState:
        """Returns a person's state."""

    def states(self) -> AsyncIterator[UserState]:
        """Yields everybody's state."""


class Serving(Protocol):
    """The served model; see `reco_svc.serving.ServingIndex`."""

    @property
    def current(self) -> ServingModel | None:
        """What is served, or None before the first promotion."""


class PopularityCounts(Protocol):
    """How much movies are watched; see `reco_svc.serving.ServingPopularity`."""

    def add(self, accepted: Sequence[Interaction]) -> None:
        """Counts interactions that were just recorded."""

    def top(self, limit: int, *, without: Iterable[str] = ()) -> list[tuple[str, float]]:
        """Returns the most watched movies."""

    def score(self, movie_id: str) -> float:
        """Returns the score of one movie."""


class ProfileVersions(Protocol):
    """Profiles, written; see `reco_svc.store.people.ProfileStore`."""

    async def version(self, user_id: str, session: Session) -> ProfileVersion:
        """Returns the latest version that is known of a person."""

    async def put(
        self, user_id: str, version: ProfileVersion, profile: UserProfile, session: Session
    ) -> None:
        """Writes a profile."""


class Profiles(Protocol):
    """Profiles, read; see `reco_svc.store.people.ProfileStore`."""

    async def get(self, user_id: str) -> UserProfile:
        """Returns a person's profile."""


class ToldLists(Protocol):
    """The lists people were told of; see `reco_svc.store.people.ToldListStore`."""

    async def get(self, user_id: str, session: Session | None = None) -> ToldList | None:
        """Returns the list, or None."""

    async def put(self, user_id: str, told: ToldList, session: Session) -> None:
        """Writes the list."""

    async def put_first(self, lists: Sequence[tuple[str, ToldList]]) -> None:
        """Writes lists of people who have none."""


class PersonalData(Protocol):
    """What is held on one person; see `reco_svc.store.personal_data.PersonalDataStore`."""

    async def state(self, user_id: str) -> HeldState | None:
        """Returns their state."""

    async def taste(self, user_id: str) -> tuple[UserProfile, ProfileVersion] | None:
        """Returns what the user service told of them, and the event that did."""

    async def told_list(self, user_id: str) -> ToldList | None:
        """Returns the list they were last told of."""

    def batches(self, user_id: str) -> AsyncIterator[RecordedBatch]:
        """Yields everything recorded of them, the latest first."""


class Models(Protocol):
    """Models; see `reco_svc.store.models.ModelStore`."""

    async def create(self, model: Model) -> None:
        """Writes a model that begins its training; one at a time."""

    async def training(self) -> str | None:
        """Returns the version in training, if there is one."""

    async def fail(self, version: str, failure: str) -> bool:
        """Notes that a training did not succeed."""

    async def fail_silent(self, alive_seconds: float) -> None:
        """Notes as failed the trainings that gave no sign of life for so long."""

    async def get(self, version: str) -> Model | None:
        """Returns one model, or None."""

    async def page(self, before: str | None, size: int) -> list[Model]:
        """Returns a page, newest first."""

    async def serving_version(self, session: Session | None = None) -> str | None:
        """Returns the version of the serving model, or None."""

    async def promote(self, version: str, promote_time: datetime, session: Session) -> int:
        """Makes a model the serving one."""
