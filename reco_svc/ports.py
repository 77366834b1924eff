"""What the use cases need of the world, as protocols; the stores fulfil them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

from mesh.events import Event
from mesh.mongo.client import Session
from reco_svc.domain import Interaction, Model, Movie, ToldList, UserProfile, UserState
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

    async def recorded(self, event_ids: Sequence[str], session: Session) -> dict[str, Interaction]:
        """Returns what is recorded already."""

    async def insert(
        self,
        user_id: str,
        watermark: int,
        interactions: Sequence[Interaction],
        record_time: datetime,
        session: Session,
    ) -> None:
        """Writes the batch of one person."""

    async def advance_state(
        self, user_id: str, accepted: Sequence[Interaction], session: Session
    ) -> int:
        """Appends to a person's history and returns the watermark."""

    async def page(
        self, user_id: str, before: tuple[int, int] | None, size: int
    ) -> list[tuple[tuple[int, int], Interaction]]:
        """Returns a page with positions, latest first."""


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

    def add(self, accepted: Iterable[Interaction]) -> None:
        """Counts interactions that were just recorded."""

    def top(self, limit: int, *, without: Iterable[str] = ()) -> list[tuple[str, float]]:
        """Returns the most watched movies."""

    def score(self, movie_id: str) -> float:
        """Returns the score of one movie."""


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


class Models(Protocol):
    """Models; see `reco_svc.store.models.ModelStore`."""

    async def create(self, model: Model) -> None:
        """Writes a model that begins its training."""

    async def training(self, *, alive_seconds: float) -> str | None:
        """Returns the version in training, if there is one."""

    async def finish(self, model: Model) -> None:
        """Notes the end of a training."""

    async def get(self, version: str) -> Model | None:
        """Returns one model, or None."""

    async def page(self, before: str | None, size: int) -> list[Model]:
        """Returns a page, newest first."""

    async def promote(self, version: str, promote_time: datetime, session: Session) -> int:
        """Makes a model the serving one."""
