"""Calls Marquee: creates a user, records two likes, asks what to watch and why, reads an error.

With `--follow SECONDS` it also waits for what the mesh tells the user. MARQUEE_EDGE (host:port),
MARQUEE_TOKEN and MARQUEE_USER say where and as whom; MARQUEE_CA_FILE names the authority of the
edge's certificate. It may be run again: nothing happens twice.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
from collections.abc import Sequence

import grpc
from marquee.reco.v1 import catalog_service_pb2, interaction_service_pb2, recommendation_service_pb2
from marquee.user.v1 import user_pb2, user_service_pb2

import marquee_client
from marquee_client import CallFailed, Marquee, Tls, errors

_USER = os.environ.get("MARQUEE_USER") or "ada"


def _connect() -> Marquee:
    token = os.environ.get("MARQUEE_TOKEN")
    if not token:
        sys.exit(f"set MARQUEE_TOKEN, for example to $(marquee token --user {_USER})")
    ca_file = os.environ.get("MARQUEE_CA_FILE")
    return marquee_client.connect(
        os.environ.get("MARQUEE_EDGE") or "127.0.0.1:8080",
        token=token,
        tls=Tls(ca_file=ca_file) if ca_file else None,
    )


def _create_user(marquee: Marquee) -> None:
    user = user_pb2.User(id=_USER, display_name="Ada")
    # The request id makes it harmless to ask again.
    request = user_service_pb2.CreateUserRequest(user=user, request_id=f"example-{_USER}")
    stored = marquee.users.CreateUser(request).user
    print(f"user {stored.id}: {stored.display_name}")


def _like_two_movies(marquee: Marquee) -> None:
    movies = marquee.catalog.ListMovies(catalog_service_pb2.ListMoviesRequest(page_size=2)).movies
    likes = [
        interaction_service_pb2.Interaction(
            event_id=f"{_USER}-likes-{movie.id}",  # recorded once, however often it is sent
            user_id=_USER,
            movie_id=movie.id,
            type=interaction_service_pb2.INTERACTION_TYPE_LIKE,
        )
        for movie in movies
    ]
    reply = marquee.interactions.RecordInteractions(
        interaction_service_pb2.RecordInteractionsRequest(interactions=likes),
        timeout=10,  # seconds; otherwise the default of the contract
    )
    for movie, result in zip(movies, reply.results, strict=True):
        status = interaction_service_pb2.InteractionStatus.Name(result.status)
        print(f"likes {movie.title}: {status.removeprefix('INTERACTION_STATUS_')} {result.message}")


def _recommend(marquee: Marquee) -> None:
    reply = marquee.recommendations.Recommend(
        recommendation_service_pb2.RecommendRequest(user_id=_USER, limit=5, explain=True)
    )
    _print_table(
        [
            ("score", "source", "movie", "because of"),
            *(
                (
                    f"{found.score:.3f}",
                    recommendation_service_pb2.Source.Name(found.source).removeprefix("SOURCE_"),
                    found.movie.title,
                    ", ".join(f"{part.title} {part.value:+.2f}" for part in found.contributions),
                )
                for found in reply.recommendations
            ),
        ]
    )


def _print_table(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(map(str.ljust, row, widths)).rstrip())


def _read_an_error(marquee: Marquee) -> None:
    """Asks for more than there is and shows what programs can read in the refusal."""
    request = recommendation_service_pb2.RecommendRequest(user_id=_USER, limit=100_000)
    try:
        marquee.recommendations.Recommend(request)
    except grpc.RpcError as error:
        found = errors.details(error)
        fields = "".join(f"; field {v.field}: {v.description}" for v in found.violations)
        print(f"refused: {found.code.name}: {found.message}; ", end="")
        print(f"reason {found.reason} of {found.domain}{fields}")
    else:
        raise AssertionError("100,000 movies were not refused")


def _follow(subscription: marquee_client.Subscription, seconds: float) -> None:
    """Waits for a notification; keep `arrival.cursor` to go on after it another day."""
    timer = threading.Timer(seconds, subscription.close)
    timer.start()
    for arrival in subscription:
        print(f"notification {arrival.notification.sequence}: {arrival.notification.title}")
        break
    else:
        print(f"no notification within {seconds:g} s")
    timer.cancel()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Call Marquee.")
    parser.add_argument("--follow", type=float, default=0.0, metavar="SECONDS")
    follow: float = parser.parse_args().follow
    with _connect() as marquee, errors.readable():
        _create_user(marquee)
        subscription = marquee.subscribe(_USER)
        if follow:
            subscription.begin()  # what happens from now on is told
        _like_two_movies(marquee)
        _recommend(marquee)
        _read_an_error(marquee)
        if follow:
            _follow(subscription, follow)


if __name__ == "__main__":
    try:
        main()
    except CallFailed as error:
        sys.exit(f"recommend: {error}")
