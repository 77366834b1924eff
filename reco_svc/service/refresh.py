"""Use case: tell a person when their best recommendations have changed enough.

At least once, like the events it follows, and cheap to repeat: an event whose watermark the list
already covers, under the serving model, is skipped. So a burst of interactions of one person makes
one computation, since the first one to be handled reads a state that includes the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from mesh.errors import Unavailable
from mesh.mongo.client import Session
from reco_svc.domain import Answer, HistoryEntry, Source, ToldList, UserState, new_to_person
from reco_svc.events import list_changed
from reco_svc.ports import CatalogCopy, States, ToldLists, Transactions
from reco_svc.service.attempts import write_again_if_raced
from reco_svc.service.recommend import RecommendService

_FIRST_LISTS_BATCH = 200
# Promotions and interactions are dated by different replicas.
_CLOCKS_DIFFER = timedelta(seconds=5)


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
        ending: Callable[[], bool],
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
            ending: Whether this process is about to end, and long work better begins elsewhere.
        """
        self._outbox = outbox
        self._lists = lists
        self._states = states
        self._recommend = recommend
        self._catalog = catalog
        self._rules = rules
        self._serving_version = serving_version
        self._promoted_version = promoted_version
        self._ending = ending

    async def after_interactions(
        self, user_id: str, watermark: int, movie_ids: Sequence[str]
    ) -> None:
        """Recomputes the list of a person whose state reached `watermark`.

        Whoever has no list yet is taken to know the one they would have got before these
        interactions; to somebody without a history everything is new.

        Args:
            user_id: Who.
            watermark: The version of their state that includes the interactions.
            movie_ids: What they interacted with, in the order it was recorded.

        Raises:
            Unavailable: This replica has not loaded its first model yet; to be tried again.
            Aborted: Others wrote their list again and again meanwhile; to be tried again.
        """
        if not self._serving_version():
            if await self._promoted_version() is None:
                return
            raise Unavailable("MODEL_LOADING", "the first model is not loaded yet")
        told = await self._lists.get(user_id)
        if told is not None and self._covers(told, watermark):
            return
        await asyncio.sleep(self._rules.debounce_seconds)
        state = await self._states.state(user_id)
        known = self._list_before(state, movie_ids) if told is None else ()
        await self._refresh(state, known)

    async def after_promotion(self, model_version: str, promote_time: datetime) -> None:
        """Recomputes everybody's list under a new model.

        People who have no list yet get one without being told: they did nothing new. If they did
        since the promotion, their own event tells them; the list of now would hide what it brings.

        Raises:
            Unavailable: This replica has not loaded the model yet, or is about to end; to be tried
                again.
            Aborted: Others wrote somebody's list again and again meanwhile; to be tried again.
        """
        if await self._promoted_version() != model_version:
            return  # yet another was promoted since; its own event follows
        if self._serving_version() != model_version:
            raise Unavailable("MODEL_LOADING", f"model {model_version} is not loaded yet")
        since = promote_time - _CLOCKS_DIFFER
        first: list[tuple[str, ToldList]] = []
        async for state in self._states.states():
            if self._ending():
                raise Unavailable("SERVICE_ENDS", "another replica goes on")
            told = await self._lists.get(state.user_id)
            if told is None:
                answer = self._recommend.for_state(state, self._rules.size)
                if _personal(answer) and not _acted_since(state, since):
                    first.append((state.user_id, _told(answer, 1)))
            elif told.model_version != self._serving_version():
                await self._refresh(state, ())
            if len(first) >= _FIRST_LISTS_BATCH:
                await self._lists.put_first(first)
                first = []
            await asyncio.sleep(0)
        await self._lists.put_first(first)

    def _covers(self, told: ToldList, watermark: int) -> bool:
        return told.watermark >= watermark and told.model_version == self._serving_version()

    def _list_before(self, state: UserState, movie_ids: Sequence[str]) -> tuple[str, ...]:
        """Returns the list of a person before they interacted with these movies, if any."""
        before = state.history[: _begin_of(movie_ids, state.history)]
        earlier = self._recommend.for_state(replace(state, history=before), self._rules.size)
        return _movie_ids(earlier) if _personal(earlier) else ()

    async def _refresh(self, state: UserState, known_if_never_told: tuple[str, ...]) -> None:
        while True:
            answer = self._recommend.for_state(state, self._rules.size, explain=True)
            if not _personal(answer) or await self._write(
                state.user_id, answer, known_if_never_told
            ):
                return
            latest = await self._states.state(state.user_id)
            if latest.watermark <= state.watermark:
                return  # the list includes more than there is: nothing is left to take into it
            state = latest

    async def _write(
        self, user_id: str, answer: Answer, known_if_never_told: tuple[str, ...]
    ) -> bool:
        """Writes a list, and tells it if enough of it is new.

        Returns:
            False if what was written meanwhile includes more of what the person did.
        """
        best = _movie_ids(answer)

        async def write(session: Session) -> bool:
            told = await self._lists.get(user_id, session)
            if told is not None and told.watermark > answer.watermark:
                return False
            if told is not None and _made_from_the_same(told, answer):
                return True
            known = known_if_never_told if told is None else told.movie_ids
            version = 1 if told is None else told.version + 1
            new = new_to_person(best, known)
            if len(new) < min(self._rules.new, len(best)):
                # Nothing to tell: they still know the list of before.
                same = ToldList(version, known, answer.watermark, answer.model_version)
                await self._lists.put(user_id, same, session)
                return True
            await self._lists.put(user_id, _told(answer, version), session)
            event = list_changed(user_id, answer, new, self._catalog.movies, version)
            await self._outbox.append(session, [event])
            return True

        return await write_again_if_raced(self._outbox, write)


def _acted_since(state: UserState, moment: datetime) -> bool:
    return state.record_time is not None and state.record_time >= moment


def _begin_of(movie_ids: Sequence[str], history: Sequence[HistoryEntry]) -> int:
    """Returns where in a history the latest run of these movies begins; 0 if it is not there.

    What was recorded after it, which the state may include already, follows it.
    """
    ids = [entry.movie_id for entry in history]
    wanted = list(movie_ids)
    for begin in range(len(ids) - len(wanted), -1, -1):
        if ids[begin : begin + len(wanted)] == wanted:
            return begin
    return 0


def _personal(answer: Answer) -> bool:
    """Tells whether a list says something of its person; popular movies are no news to anybody."""
    return any(scored.source in (Source.PERSONAL, Source.CONTENT) for scored in answer.movies)


def _made_from_the_same(told: ToldList, answer: Answer) -> bool:
    return (told.watermark, told.model_version) == (answer.watermark, answer.model_version)


def _told(answer: Answer, version: int) -> ToldList:
    return ToldList(version, _movie_ids(answer), answer.watermark, answer.model_version)


def _movie_ids(answer: Answer) -> tuple[str, ...]:
    return tuple(scored.movie_id for scored in answer.movies)
