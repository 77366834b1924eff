"""The steps of the demo, in order, with what each of them shows and checks."""

from __future__ import annotations

import math
from contextlib import AsyncExitStack
from dataclasses import dataclass

from marquee.reco.v1 import recommendation_service_pb2 as pb
from rich.console import Console

from cli.commands.load import load_dataset
from cli.commands.train import train_and_promote
from cli.datasets.records import Dataset
from cli.demo import steps
from cli.demo.hops import hops_table, missing_hops
from cli.demo.live_stream import subscribe
from cli.demo.timeline import Timeline
from cli.errors import CliError
from cli.mesh_client import Mesh
from cli.tracing import untraced
from cli.views.recommendations import change_table, recommendation_table
from cli.views.text import cell
from devstack.otlp import TraceStore
from devstack.waterfall import waterfall

STACK = "the mesh comes up"
TRAIN = "a model is trained and served"
RECOMMEND = "recommendations for a real person, explained"
SUBSCRIBE = "the person is created and subscribes to the live stream"
RATE = "they rate movies; the notification arrives on the stream and in the inbox"
CHANGE = "their list has changed"
TRACE = "one trace shows every hop"
_TRACE_PATIENCE_S = 20.0


def import_step(dataset: Dataset) -> str:
    """Returns the name of the step that imports a data set."""
    return f"{len(dataset.movies):,} movies and {len(dataset.ratings):,} interactions are imported"


def plan(dataset: Dataset) -> list[str]:
    """Returns the names of all steps."""
    return [STACK, import_step(dataset), TRAIN, RECOMMEND, SUBSCRIBE, RATE, CHANGE, TRACE]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What the steps happen with.

    Attributes:
        mesh: The mesh.
        traces: The spans it sends.
        dataset: The movies and ratings.
        user_id: The person, a user of the data set.
        seed: Of the training.
        timeline: Told of every step.
        console: Where everything is shown.
    """

    mesh: Mesh
    traces: TraceStore
    dataset: Dataset
    user_id: str
    seed: int
    timeline: Timeline
    console: Console


async def prepare(scene: Scene) -> None:
    """Imports the data set and trains a model.

    Raises:
        CliError: Rows were refused or training failed.
        grpc.aio.AioRpcError: A call failed for good.
    """
    with scene.timeline.step(import_step(scene.dataset)):
        report = await load_dataset(scene.mesh, scene.dataset, scene.console)
        if report.refused:
            raise CliError(f"{report.refused:,} rows were not recorded")
    with scene.timeline.step(TRAIN), untraced():
        await train_and_promote(scene.mesh, scene.console, seed=scene.seed, holdout=0.25)


async def tell_one_person(scene: Scene) -> None:
    """Recommends to a person, lets them rate, and follows what comes of it.

    Raises:
        CliError: A step did not happen.
        grpc.aio.AioRpcError: A call failed for good.
    """
    mesh, user_id = scene.mesh, scene.user_id
    timeline, console = scene.timeline, scene.console
    with timeline.step(RECOMMEND):
        before = (await steps.recommend(mesh, user_id)).recommendations
        console.print(recommendation_table(before, f"for user {user_id}"))
        _check_explained(before)
    async with AsyncExitStack() as subscriptions:
        with timeline.step(SUBSCRIBE):
            user = await steps.ensure_user(mesh, user_id, f"Demo user {user_id}")
            console.print(cell(f"{user.display_name} has the id {user.id}"))
            stream = await subscriptions.enter_async_context(subscribe(mesh, user_id))
            console.print("the live stream is open")
        with timeline.step(RATE):
            ratings = await steps.plan_ratings(mesh, scene.dataset, user_id)
            console.print(cell(_describe_plan(ratings)))
            told = await steps.rate_and_wait(mesh, stream, user_id, list(ratings.titles))
            _show_notification(told, console)
    with timeline.step(CHANGE):
        answer = await steps.recommend(mesh, user_id)
        console.print(
            change_table(before, answer.recommendations, f"for user {user_id}, before and after")
        )
        _check_changed(before, answer.recommendations, told)
    with timeline.step(TRACE):
        spans = await scene.traces.wait_for(
            told.trace_id, lambda found: not missing_hops(found), _TRACE_PATIENCE_S
        )
        console.print(waterfall(spans, width=console.width))
        console.print(hops_table(spans))
        if missing := missing_hops(spans):
            raise CliError(f"the trace lacks {', '.join(hop.name for hop in missing)}")


def _describe_plan(ratings: steps.RatingPlan) -> str:
    return f"5 stars for {ratings.reason}: {'; '.join(ratings.titles.values())}"


def _show_notification(told: steps.Told, console: Console) -> None:
    notification = told.notification
    console.print(cell(notification.title, "bold"))
    for line in notification.body.splitlines():
        console.print(cell(f"  {line}"))
    console.print(
        cell(
            f"on the stream {told.stream_seconds * 1000:,.0f} ms after the rating, "
            f"in the inbox as number {notification.sequence} "
            f"{told.inbox_seconds * 1000:,.0f} ms after it"
        )
    )


def _check_explained(items: steps.Recommendations) -> None:
    if len(items) != steps.LIST_LENGTH:
        raise CliError(f"{len(items)} movies were recommended instead of {steps.LIST_LENGTH}")
    for item in items:
        if item.source != pb.SOURCE_PERSONAL:
            raise CliError(f"movie {item.movie.id} is not recommended for the person's own history")
        total = sum(part.value for part in item.contributions)
        if not math.isclose(total, item.score, rel_tol=1e-3, abs_tol=1e-4):
            raise CliError(
                f"the contributions to movie {item.movie.id} sum to {total:.4f}, "
                f"not to its score {item.score:.4f}"
            )


def _check_changed(
    before: steps.Recommendations, after: steps.Recommendations, told: steps.Told
) -> None:
    now = {item.movie.id for item in after}
    new = now - {item.movie.id for item in before}
    named = set(told.notification.movie_ids)
    if not new:
        raise CliError("the list is the same as before the ratings")
    if not named or not named <= now:
        raise CliError(
            f"the notification names movies that are not in the list: {sorted(named - now)}"
        )
