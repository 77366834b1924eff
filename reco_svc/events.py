"""The events this service tells the mesh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from marquee.events.v1 import events_pb2

from mesh.events import Event, new_event
from mesh.times import to_timestamp, unix_seconds
from reco_svc.convert import interaction_to_proto, movie_to_proto
from reco_svc.domain import Answer, Movie, RecordedBatch

SOURCE = "/marquee/reco"
SERVING_KEY = "serving"
_REASONS = 3


def movie_changed(movie: Movie) -> Event:
    """A movie was stored or changed."""
    return new_event(
        SOURCE,
        movie.id,
        int(unix_seconds(movie.update_time) * 1000),
        events_pb2.MovieChanged(movie=movie_to_proto(movie)),
    )


def interactions_recorded(batch: RecordedBatch) -> Event:
    """Interactions of one user were recorded together."""
    return new_event(
        SOURCE,
        batch.user_id,
        batch.watermark,
        events_pb2.InteractionRecorded(
            user_id=batch.user_id,
            interactions=[interaction_to_proto(row) for row in batch.rows],
            watermark=batch.watermark,
        ),
    )


def model_promoted(version: str, promote_time: datetime, sequence: int) -> Event:
    """Another model serves."""
    return new_event(
        SOURCE,
        SERVING_KEY,
        sequence,
        events_pb2.ModelPromoted(model_version=version, promote_time=to_timestamp(promote_time)),
    )


def list_changed(
    user_id: str,
    answer: Answer,
    new_movie_ids: Sequence[str],
    movies: Mapping[str, Movie],
    sequence: int,
) -> Event:
    """The best recommendations of a user changed enough to tell them."""

    def title(movie_id: str) -> str:
        return movies[movie_id].title if movie_id in movies else movie_id

    return new_event(
        SOURCE,
        user_id,
        sequence,
        events_pb2.RecommendationListChanged(
            user_id=user_id,
            movies=[
                events_pb2.RecommendedMovie(
                    movie_id=scored.movie_id,
                    title=title(scored.movie_id),
                    because_titles=[
                        title(watched)
                        for watched, value in scored.contributions[:_REASONS]
                        if value > 0
                    ],
                )
                for scored in answer.movies
            ],
            new_movie_ids=new_movie_ids,
            watermark=answer.watermark,
            model_version=answer.model_version,
        ),
    )
