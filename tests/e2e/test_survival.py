"""Each process is killed during the demo's last step and started again: told once, in the end."""

from __future__ import annotations

import asyncio

import pytest
from marquee.reco.v1 import interaction_service_pb2 as pb
from support.running import RunningMesh

from cli.demo import steps
from cli.demo.live_stream import subscribe
from cli.mesh_client import patiently
from devstack.components import ENVOY, KAFKA, MONGODB, NOTIFY, RECO, USER
from mesh.ids import new_id

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(400),  # the first test waits for the import
]

PATIENCE_S = 90.0
QUIET_S = 2.0

# Tansu keeps its log in memory, so it dies before the rating: what is in the outbox must arrive.
# All others die right after the rating was acknowledged, with everything else still to be done.
CASES = [
    pytest.param(USER, False, "13", id="user"),
    pytest.param(NOTIFY, False, "18", id="notify"),
    pytest.param(ENVOY, False, "59", id="envoy"),
    pytest.param(RECO, False, "94", id="reco"),
    pytest.param(MONGODB, False, "151", id="mongodb"),
    pytest.param(KAFKA, True, "207", id="kafka"),
]


@pytest.mark.parametrize(("component", "before_rating", "user_id"), CASES)
async def test_a_killed_process_costs_time_but_no_notification(
    running: RunningMesh, component: str, before_rating: bool, user_id: str
) -> None:
    mesh, stack = running.mesh, running.stack
    plan = await steps.plan_ratings(mesh, running.dataset, user_id)
    told_before = await _told(running, user_id)
    async with subscribe(mesh, user_id) as stream:
        if before_rating:
            await stack.kill(component)
        await _rate(running, user_id, list(plan.titles))
        if not before_rating:
            await stack.kill(component)
        await asyncio.sleep(1)
        await stack.start_component(component)
        notification = await stream.next(PATIENCE_S)
        assert notification.topic == steps.TOPIC
        assert notification.user_id == user_id
        await _until_told(running, user_id, notification.id)
        # A second one would come by redelivery, which the restart has caused if it ever does.
        await asyncio.sleep(QUIET_S)
    new = [told for told in await _told(running, user_id) if told not in told_before]
    assert new == [notification.id]


async def _rate(running: RunningMesh, user_id: str, movie_ids: list[str]) -> None:
    rating = new_id()
    request = pb.RecordInteractionsRequest(
        interactions=[
            pb.Interaction(
                event_id=f"survival.{rating}.{place}",
                user_id=user_id,
                movie_id=movie_id,
                type=pb.INTERACTION_TYPE_RATING,
                value=5,
            )
            for place, movie_id in enumerate(movie_ids)
        ]
    )
    reply = await patiently(running.mesh.interactions.RecordInteractions, request)
    assert {result.status for result in reply.results} == {pb.INTERACTION_STATUS_ACCEPTED}


async def _told(running: RunningMesh, user_id: str) -> list[str]:
    inbox = await steps.list_inbox(running.mesh, user_id)
    return [notification.id for notification in inbox]


async def _until_told(running: RunningMesh, user_id: str, notification_id: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while notification_id not in await _told(running, user_id):
            await asyncio.sleep(0.2)
