"""Use case: tell a person when their best recommendations have changed enough.

At least once, like the events it follows, and cheap to repeat: an event whose watermark the list
already covers, under the serving model, is skipped. So a burst of interactions of one person makes
one computation, since the first one to be handled reads a state that includes the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, replace

from mesh.errors import Unavailable
from mesh.mongo.client import Session
from reco_svc.domain import Answer, Source, ToldList, UserState, new_to_person
from reco_svc.events import list_changed
from reco_svc.ports import CatalogCopy, States, ToldLists, Transactions
from reco_svc.service.recommend import RecommendService

_FIRST_LISTS_BATCH = 200


@dataclass(frozen=True, slots=True)
class RefreshRules:
    """When a person is told.

    Attributes:
        size: Length of the list that is compared.
        new: How many of it must be new since they were last told.
        debounce_seconds: How long to wait for further interactions before computing.
    """

    size: int = 10
    new: int = 3
    debounce_seconds: float = 0.25


class RefreshService:
    """Keeps the lists people were told of."""

    def __init__(
        self,
        outbox: Transactions,
        lists: ToldLists,
        states: States,
        recommend: RecommendService,
        catalog: CatalogCopy,
        *,
        rules: RefreshRules,
        serving_version: Callable[[], str],
        promoted_version: Callable[[], Awaitable[str | None]],
    ) -> None:
        """Takes its surroundings.

        Args:
            outbox: For lists and their events.
            lists: What people were told.
            states: What people did.
            recommend: Computes lists.
            catalog: Names movies.
            rules: When to tell.
            serving_version: The model that this replica's index was built from, or empty.
            promoted_version: The model promoted last.
        """
        self._outbox = outbox
        self._lists = lists
        self._states = states
        self._recommend = recommend
        self._catalog = catalog
        self._rules = rules
        self._serving_version = serving_version
        self._promoted_version = promoted_version

    async def after_interactions(
        self, user_id: str, watermark: int, movie_ids: Collection[str]
    ) -> None:
        """Recomputes the list of a person whose state reached `watermark`.

        Whoever has no list yet is taken to know the one they would have got before these
        interactions; to somebody without a history everything is new.

        Args:
            user_id: Who.
            watermark: The version of their state that includes the interactions.
            movie_ids: What they interacted with.
        """
        if not self._serving_version() or await self._covered(user_id, watermark):
            return
        await asyncio.sleep(self._rules.debounce_seconds)
        state = await self._states.state(user_id)
        before = tuple(entry for entry in state.history if entry.movie_id not in movie_ids)
        earlier = self._recommend.for_state(replace(state, history=before), self._rules.size)
        known = _movie_ids(earlier) if _personal(earlier) else ()
        await self._refresh(state, known)

    async def after_promotion(self, model_version: str) -> None:
        """Recomputes everybody's list under a new model.

        People who have no list yet get one without being told: they did nothing new.

        Raises:
            Unavailable: This replica has not loaded the model yet; to be tried again.
        """
        if await self._promoted_version() != model_version:
            return  # yet another was promoted since; its own event follows
        if self._serving_version() != model_version:
            raise Unavailable("MODEL_LOADING", f"model {model_version} is not loaded yet")
        first: list[tuple[str, ToldList]] = []
        async for state in self._states.states():
            told = await self._lists.get(state.user_id)
            if told is None:
                answer = self._recommend.for_state(state, self._rules.size)
                if _personal(answer):
                    first.append((state.user_id, _told(answer, 1)))
            elif told.model_version != self._serving_version():
                await self._refresh(state, told.movie_ids)
            if len(first) >= _FIRST_LISTS_BATCH:
                await self._lists.put_first(first)
                first = []
            await asyncio.sleep(0)
        await self._lists.put_first(first)

    async def _covered(self, user_id: str, watermark: int) -> bool:
        told = await self._lists.get(user_id)
        return (
            told is not None
            and told.watermark >= watermark
            and told.model_version == self._serving_version()
        )

    async def _refresh(self, state: UserState, known_if_never_told: tuple[str, ...]) -> None:
        answer = self._recommend.for_state(state, self._rules.size, explain=True)
        if not _personal(answer):
            return
        best = [scored.movie_id for scored in answer.movies]

        async def write(session: Session) -> None:
            told = await self._lists.get(state.user_id, session)
            known = known_if_never_told if told is None else told.movie_ids
            version = 1 if told is None else told.version + 1
            new = new_to_person(best, known)
            if len(new) < min(self._rules.new, len(best)):
                # Nothing to tell: they still know the list of before.
                await self._lists.put(
                    state.user_id,
                    ToldList(version, known, answer.watermark, answer.model_version),
                    session,
                )
                return
            await self._lists.put(state.user_id, _told(answer, version), session)
            event = list_changed(state.user_id, answer, new, self._catalog.movies, version)
            await self._outbox.append(session, [event])

        await self._outbox.transaction(write)


def _personal(answer: Answer) -> bool:
    """Tells whether a list says something of its person; popular movies are no news to anybody."""
    return any(scored.source in (Source.PERSONAL, Source.CONTENT) for scored in answer.movies)


def _told(answer: Answer, version: int) -> ToldList:
    return ToldList(version, _movie_ids(answer), answer.watermark, answer.model_version)


def _movie_ids(answer: Answer) -> tuple[str, ...]:
    return tuple(scored.movie_id for scored in answer.movies)
