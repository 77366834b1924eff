"""Between the contract's messages and the domain's types."""

from __future__ import annotations

from collections.abc import Mapping

from marquee.reco.v1 import (
    interaction_service_pb2,
    model_service_pb2,
    movie_pb2,
    recommendation_service_pb2,
)

from mesh.times import to_timestamp
from reco_svc.domain import Interaction, Model, Movie, ScoredMovie


def movie_to_proto(movie: Movie) -> movie_pb2.Movie:
    """Makes the message of a movie."""
    return movie_pb2.Movie(
        id=movie.id,
        title=movie.title,
        genres=movie.genres,
        year=movie.year,
        languages=movie.languages,
        create_time=to_timestamp(movie.create_time),
        update_time=to_timestamp(movie.update_time),
    )


def interaction_to_proto(row: Interaction) -> interaction_service_pb2.Interaction:
    """Makes the message of a recorded interaction."""
    return interaction_service_pb2.Interaction(
        event_id=row.event_id,
        user_id=row.user_id,
        movie_id=row.movie_id,
        type=row.type.value,  # type: ignore[arg-type]  # the numbers are the contract's
        value=row.value,
        occur_time=None if row.occur_time is None else to_timestamp(row.occur_time),
    )


def model_to_proto(model: Model) -> model_service_pb2.Model:
    """Makes the message of a model."""
    return model_service_pb2.Model(
        version=model.version,
        status=model.status.value,  # type: ignore[arg-type]  # the numbers are the contract's
        progress=model.progress,
        metrics=model.metrics,
        parameters=model.parameters,
        interaction_count=model.interaction_count,
        user_count=model.user_count,
        movie_count=model.movie_count,
        failure=model.failure,
        create_time=to_timestamp(model.create_time),
        finish_time=None if model.finish_time is None else to_timestamp(model.finish_time),
    )


def scored_to_proto(
    scored: ScoredMovie, movies: Mapping[str, Movie]
) -> recommendation_service_pb2.Recommendation:
    """Makes the message of a recommended movie; a movie the copy lacks is named by its id alone."""
    return recommendation_service_pb2.Recommendation(
        movie=known_or_bare(scored.movie_id, movies),
        score=scored.score,
        source=scored.source.value,  # type: ignore[arg-type]  # the numbers are the contract's
        contributions=[
            recommendation_service_pb2.Contribution(
                movie_id=movie_id,
                title=movies[movie_id].title if movie_id in movies else "",
                value=value,
            )
            for movie_id, value in scored.contributions
        ],
    )


def known_or_bare(movie_id: str, movies: Mapping[str, Movie]) -> movie_pb2.Movie:
    """Returns the message of a movie of the catalogue's copy, or one with its id alone."""
    movie = movies.get(movie_id)
    return movie_pb2.Movie(id=movie_id) if movie is None else movie_to_proto(movie)
