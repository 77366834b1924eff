"""The same as recommend.py for asyncio programs, in short: likes, recommendations, live stream.

MARQUEE_EDGE, MARQUEE_TOKEN, MARQUEE_USER and MARQUEE_CA_FILE as there.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys

import grpc
from marquee.reco.v1 import catalog_service_pb2, interaction_service_pb2, recommendation_service_pb2
from marquee.user.v1 import user_pb2, user_service_pb2

from marquee_client import CallFailed, Tls, aio, errors

_USER = os.environ.get("MARQUEE_USER") or "ada"
_STATUS = interaction_service_pb2.InteractionStatus
_SOURCE = recommendation_service_pb2.Source


async def _create_user(marquee: aio.Marquee) -> None:
    user = user_pb2.User(id=_USER, display_name="Ada")
    # The request id makes it harmless to ask again.
    request = user_service_pb2.CreateUserRequest(user=user, request_id=f"example-{_USER}")
    stored = (await marquee.users.CreateUser(request)).user
    print(f"user {stored.id}: {stored.display_name}")


async def _like_two_movies(marquee: aio.Marquee) -> None:
    request = catalog_service_pb2.ListMoviesRequest(page_size=2)
    movies = (await marquee.catalog.ListMovies(request)).movies
    likes = [
        interaction_service_pb2.Interaction(
            event_id=f"{_USER}-likes-{movie.id}",  # recorded once, however often it is sent
            user_id=_USER,
            movie_id=movie.id,
            type=interaction_service_pb2.INTERACTION_TYPE_LIKE,
        )
        for movie in movies
    ]
    reply = await marquee.interactions.RecordInteractions(
        interaction_service_pb2.RecordInteractionsRequest(interactions=likes), timeout=10
    )
    for movie, result in zip(movies, reply.results, strict=True):
        status = _STATUS.Name(result.status).removeprefix("INTERACTION_STATUS_")
        print(f"likes {movie.title}: {status} {result.message}")


async def _recommend(marquee: aio.Marquee) -> None:
    # Calls may run side by side on the one connection.
    request = recommendation_service_pb2.RecommendRequest(user_id=_USER, limit=5, explain=True)
    too_many = recommendation_service_pb2.RecommendRequest(user_id=_USER, limit=100_000)
    reply, refusal = await asyncio.gather(
        marquee.recommendations.Recommend(request),
        marquee.recommendations.Recommend(too_many),
        return_exceptions=True,
    )
    if isinstance(reply, BaseException):
        raise reply
    print("score  source    movie  because of")
    for found in reply.recommendations:
        because = ", ".join(f"{part.title} {part.value:+.2f}" for part in found.contributions)
        source = _SOURCE.Name(found.source).removeprefix("SOURCE_")
        print(f"{found.score:.3f}  {source:<8}  {found.movie.title}  {because}".rstrip())
    if not isinstance(refusal, grpc.RpcError):
        raise TypeError("100,000 movies were not refused")
    said = errors.details(refusal)
    fields = "".join(f"; field {v.field}: {v.description}" for v in said.violations)
    print(
        f"refused: {said.code.name}: {said.message}; reason {said.reason} of {said.domain}{fields}"
    )


async def _follow(subscription: aio.Subscription, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            arrival = await anext(subscription)
    except TimeoutError:
        print(f"no notification within {seconds:g} s")
    else:  # keep `arrival.cursor` to go on after it another day
        print(f"notification {arrival.notification.sequence}: {arrival.notification.title}")


async def main(follow: float, token: str) -> None:
    """Does everything, one after the other."""
    ca_file = os.environ.get("MARQUEE_CA_FILE")
    edge = os.environ.get("MARQUEE_EDGE") or "127.0.0.1:8080"
    tls = Tls(ca_file=ca_file) if ca_file else None
    with errors.readable():
        async with aio.connect(edge, token=token, tls=tls) as marquee:
            await _create_user(marquee)
            subscription = marquee.subscribe(_USER)
            if follow:
                await subscription.begin()  # what happens from now on is told
            await _like_two_movies(marquee)
            await _recommend(marquee)
            if follow:
                await _follow(subscription, follow)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Call Marquee.")
    parser.add_argument("--follow", type=float, default=0.0, metavar="SECONDS")
    if not os.environ.get("MARQUEE_TOKEN"):
        sys.exit(f"set MARQUEE_TOKEN, for example to $(marquee token --user {_USER})")
    try:
        asyncio.run(main(parser.parse_args().follow, os.environ["MARQUEE_TOKEN"]))
    except CallFailed as error:
        sys.exit(f"recommend: {error}")
