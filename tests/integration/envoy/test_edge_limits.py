"""Rate limits: each caller's budget, and what an address may ask without a token."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.tokens import bearer

GET_USER = "/marquee.user.v1.UserService/GetUser"  # costs 1
UPDATE_USER = "/marquee.user.v1.UserService/UpdateUser"  # costs 5
RESOURCE_EXHAUSTED = 8


def spend(call, edge, path, token, calls):
    """Calls until the budget is used up, and tells how many calls were let through."""
    for done in range(calls):
        answer = call(edge, path, metadata=bearer(token))
        if answer.code == RESOURCE_EXHAUSTED:
            return done, answer
    raise AssertionError(f"{calls} calls were not too many")


@pytest.fixture(scope="module")
def scarce(make_lasting_edge):
    # A unit comes back every second; the dearest call costs 100.
    return make_lasting_edge(rate_per_s=1, rate_burst=100)


def test_a_caller_whose_budget_is_used_up_is_told_when_to_try_again(call, form, scarce):
    token = scarce.issuer.mint(f"ada-{form}")

    _, answer = spend(call, scarce, UPDATE_USER, token, 60)

    assert answer.reason == "TOO_MANY_REQUESTS"
    assert answer.detail(error_details_pb2.RetryInfo).retry_delay.seconds == 1
    assert answer.http == (429 if form == "json" else 200)


def test_a_call_takes_what_its_policy_says(call, form, scarce):
    dear, _ = spend(call, scarce, UPDATE_USER, scarce.issuer.mint(f"bob-{form}"), 60)
    cheap, _ = spend(call, scarce, GET_USER, scarce.issuer.mint(f"eve-{form}"), 300)

    # Some more than the burst, for units come back meanwhile.
    assert 20 <= dear <= 32
    assert 100 <= cheap <= 160


def test_callers_do_not_take_from_each_other(call, form, scarce):
    spend(call, scarce, UPDATE_USER, scarce.issuer.mint(f"greedy-{form}"), 60)

    other = call(scarce, GET_USER, metadata=bearer(scarce.issuer.mint(f"modest-{form}")))

    assert other.code != RESOURCE_EXHAUSTED


def test_another_token_is_not_another_budget(call, form, scarce):
    subject = f"renewer-{form}"
    spend(call, scarce, UPDATE_USER, scarce.issuer.mint(subject), 60)

    again = call(scarce, UPDATE_USER, metadata=bearer(scarce.issuer.mint(subject)))

    assert again.code == RESOURCE_EXHAUSTED


def test_refused_scopes_cost_too(call, form, scarce):
    token = scarce.issuer.mint(f"prober-{form}", ["catalog.read"])

    let_through, _ = spend(call, scarce, UPDATE_USER, token, 60)

    assert let_through >= 20


def test_a_budget_of_0_is_none(call, make_edge, form):
    edge = make_edge(rate_per_s=0)
    token = edge.issuer.mint("ada")

    for _ in range(30):
        assert call(edge, UPDATE_USER, metadata=bearer(token)).code != RESOURCE_EXHAUSTED


def test_an_address_may_not_ask_for_health_without_end(make_edge):
    edge = make_edge(open_rate_per_s=1, open_rate_burst=10)
    with grpc.insecure_channel(edge.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest()
        codes = []
        for _ in range(30):
            try:
                stub.Check(request)
                codes.append(grpc.StatusCode.OK)
            except grpc.RpcError as error:
                codes.append(error.code())

    assert 10 <= codes.count(grpc.StatusCode.OK) < 20
    assert codes[-1] == grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_calls_without_a_token_take_no_place_from_others(make_edge):
    edge = make_edge(open_rate_per_s=0)

    async def silence():
        await asyncio.Event().wait()
        yield b""

    channels = [
        grpc.aio.insecure_channel(edge.address, options=[("grpc.use_local_subchannel_pool", 1)])
        for _ in range(2)
    ]
    checks = [
        asyncio.ensure_future(
            channel.stream_unary("/grpc.health.v1.Health/Check")(silence()).code()
        )
        for channel in channels
        for _ in range(90)
    ]
    async with asyncio.timeout(20):
        await asyncio.wait(checks, return_when=asyncio.FIRST_COMPLETED)
        while sum(check.done() for check in checks) < 80:
            await asyncio.sleep(0.05)
    assert edge.stats("cluster.user.upstream_rq_active")["cluster.user.upstream_rq_active"] == 100
    breakers = edge.stats("cluster.user.circuit_breakers")
    assert breakers["cluster.user.circuit_breakers.high.rq_open"] == 1
    assert breakers["cluster.user.circuit_breakers.default.remaining_rq"] == 1024
    for channel in channels:
        await channel.close()
