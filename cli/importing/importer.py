"""Sends movies and ratings through the edge, a few calls at a time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from marquee.reco.v1 import catalog_service_pb2, interaction_service_pb2

from cli.aio import all_or_first_error
from cli.datasets.records import Dataset, Movie
from cli.importing.rows import interaction_calls, movie_calls
from cli.mesh_client import Mesh, patiently
from cli.terminal import Advance
from cli.tracing import untraced

_MOVIES_PER_CALL = 500
_CALLS_IN_FLIGHT = 4
# The longest that the contract allows: a busy machine may need it for a full batch.
_CALL_TIMEOUT_S = 60.0
_REFUSALS_KEPT = 5
_PREFIX = "INTERACTION_STATUS_"
_FINE = frozenset({"ACCEPTED", "DUPLICATE"})

Interaction = interaction_service_pb2.Interaction
Result = interaction_service_pb2.InteractionResult


@dataclass(frozen=True, slots=True)
class MovieReport:
    """What became of the movies; counts of movies, and seconds."""

    created: int
    updated: int
    unchanged: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """An interaction that was not recorded."""

    event_id: str
    user_id: str
    movie_id: str
    status: str
    message: str


@dataclass(slots=True)
class InteractionReport:
    """What became of the interactions.

    Attributes:
        counts: Rows by status, for example "ACCEPTED".
        refusals: The first rows that are neither recorded now nor earlier.
        seconds: How long it took.
    """

    counts: Counter[str] = field(default_factory=Counter)
    refusals: list[Refusal] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def refused(self) -> int:
        """How many rows are neither recorded now nor earlier."""
        return sum(count for status, count in self.counts.items() if status not in _FINE)

    def note(self, rows: Sequence[Interaction], results: Sequence[Result]) -> None:
        """Takes over the answer to one call."""
        for row, result in zip(rows, results, strict=True):
            name = interaction_service_pb2.InteractionStatus.Name(result.status)
            status = name.removeprefix(_PREFIX)
            self.counts[status] += 1
            if status not in _FINE and len(self.refusals) < _REFUSALS_KEPT:
                self.refusals.append(
                    Refusal(row.event_id, row.user_id, row.movie_id, status, result.message)
                )


async def import_movies(mesh: Mesh, movies: Sequence[Movie], advance: Advance) -> MovieReport:
    """Stores movies in the catalogue.

    Args:
        mesh: Where.
        movies: Which; storing one again changes nothing.
        advance: Told how many more are stored.

    Raises:
        grpc.aio.AioRpcError: A call failed for good.
    """
    begin = time.monotonic()
    created = updated = unchanged = 0
    upsert = partial(mesh.catalog.UpsertMovies, timeout=_CALL_TIMEOUT_S)
    with untraced():
        for batch in movie_calls(movies, _MOVIES_PER_CALL):
            request = catalog_service_pb2.UpsertMoviesRequest(movies=batch)
            reply = await patiently(upsert, request)
            created += reply.created_count
            updated += reply.updated_count
            unchanged += reply.unchanged_count
            advance(len(batch))
    return MovieReport(created, updated, unchanged, time.monotonic() - begin)


async def import_interactions(mesh: Mesh, dataset: Dataset, advance: Advance) -> InteractionReport:
    """Records the ratings of a data set.

    Args:
        mesh: Where; its catalogue has the movies.
        dataset: The ratings; recording one again changes nothing.
        advance: Told how many more rows have an answer.

    Raises:
        grpc.aio.AioRpcError: A call failed for good; what was answered before is recorded.
    """
    begin = time.monotonic()
    report = InteractionReport()
    chains = interaction_calls(dataset)
    record = partial(mesh.interactions.RecordInteractions, timeout=_CALL_TIMEOUT_S)

    async def send() -> None:
        for chain in chains:  # shared: each chain goes to the first sender that is free
            for rows in chain:
                request = interaction_service_pb2.RecordInteractionsRequest(interactions=rows)
                reply = await patiently(record, request)
                report.note(rows, reply.results)
                advance(len(rows))

    with untraced():
        await all_or_first_error(*(send() for _ in range(_CALLS_IN_FLIGHT)))
    report.seconds = time.monotonic() - begin
    return report
