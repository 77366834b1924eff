"""The quality of what is served, measured over gRPC."""

from __future__ import annotations

import pytest
from support.running import RunningMesh

from cli.evaluation import measure_served

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(400),  # the first test waits for the import
]

LEAST_NDCG = 0.48


async def test_served_recommendations_rank_held_out_movies_high(running: RunningMesh) -> None:
    served = await measure_served(running.mesh, running.parts, lambda _: None)
    print(f"\nNDCG@10 {served.model.ndcg:.4f}, recall@10 {served.model.recall:.4f}, ")
    print(f"popularity: NDCG@10 {served.popularity.ndcg:.4f}, {served.model.users} people")
    assert served.model.users == 943
    assert 0.2 < served.popularity.ndcg < 0.3, "not the protocol that the goal was set for"
    assert served.model.ndcg >= LEAST_NDCG
