"""Among which replicas calls are spread, which are left out, and how often calls are retried."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

import grpc
import pytest
from support.edge_replicas import Replica, until
from support.tokens import bearer

SAFE = "/marquee.user.v1.UserService/GetPreferences"  # may be sent again
UNSAFE = "/marquee.user.v1.UserService/UpdatePreferences"
ABOUT_A_USER = "/marquee.reco.v1.RecommendationService/Recommend"
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


@pytest.fixture
def pair() -> Iterator[tuple[Replica, Replica]]:
    with Replica() as one, Replica() as two:
        yield one, two


@pytest.fixture
def stand(make_edge, base_config):
    """Starts an edge with replicas of one upstream behind it, and opens a channel."""
    with ExitStack() as opened:

        def stand(*replicas: Replica, name: str = "user", sticky: bool = False, **watch):
            endpoints = tuple(replica.endpoint for replica in replicas)
            upstreams = tuple(
                replace(u, endpoints=endpoints, sticky=sticky) if u.name == name else u
                for u in base_config.upstreams
            )
            edge = make_edge(upstreams=upstreams, watch=replace(base_config.watch, **watch))
            healthy = f"cluster.{name}.membership_healthy"
            until(lambda: edge.stats(healthy).get(healthy) == len(replicas), 10, "not all are well")
            channel = opened.enter_context(grpc.insecure_channel(edge.address))
            return edge, channel

        yield stand


def code_of(edge, channel, path, *, token=None, metadata=()):
    shown = bearer(token or edge.issuer.mint()) + tuple(metadata)
    try:
        channel.unary_unary(path)(b"", metadata=shown, timeout=10)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def codes_of(edge, channel, path, calls):
    return Counter(code_of(edge, channel, path) for _ in range(calls))


def ejected(edge, name="user"):
    gauge = f"cluster.{name}.outlier_detection.ejections_active"
    return edge.stats(gauge)[gauge]


@pytest.mark.parametrize("status", [UNAVAILABLE, grpc.StatusCode.INTERNAL])
def test_one_of_two_that_answers_errors_is_ejected_and_comes_back(stand, pair, status):
    edge, channel = stand(*pair)
    bad, good = pair
    bad.fails = status

    # The circumstances of INTERNAL are weighed once in an interval.
    until(
        lambda: (codes_of(edge, channel, UNSAFE, 40), ejected(edge))[1] == 1, 20, "is not ejected"
    )
    before = bad.calls
    assert codes_of(edge, channel, UNSAFE, 20) == {grpc.StatusCode.OK: 20}
    assert bad.calls == before

    bad.fails = None
    until(lambda: ejected(edge) == 0, 20, "does not come back")
    codes_of(edge, channel, UNSAFE, 40)
    assert bad.calls > before
    assert good.calls > 0


def test_a_health_check_does_not_undo_an_ejection(stand, pair):
    # Checks succeed five times a second here, while the replica is out for 1.5 s.
    edge, channel = stand(*pair)
    pair[0].fails = UNAVAILABLE
    until(lambda: (codes_of(edge, channel, UNSAFE, 10), ejected(edge))[1] == 1, 20, "not ejected")

    time.sleep(0.8)

    assert ejected(edge) == 1


def test_never_are_both_ejected(stand, pair):
    edge, channel = stand(*pair)
    for replica in pair:
        replica.fails = UNAVAILABLE

    for _ in range(5):
        codes_of(edge, channel, UNSAFE, 20)
        assert ejected(edge) <= 1
    before = sum(replica.calls for replica in pair)
    codes_of(edge, channel, UNSAFE, 5)
    assert sum(replica.calls for replica in pair) == before + 5


def test_the_only_one_is_never_ejected(stand):
    with Replica() as only:
        edge, channel = stand(only)
        only.fails = UNAVAILABLE
        for _ in range(3):
            codes_of(edge, channel, UNSAFE, 20)
            time.sleep(0.4)

        assert ejected(edge) == 0
        assert only.calls == 60


def test_who_does_not_want_calls_gets_none_even_if_nobody_does(stand, pair):
    edge, channel = stand(*pair)
    one, two = pair
    well = "cluster.user.membership_healthy"
    one.health(serving=False)
    until(lambda: edge.stats(well)[well] == 1, 10, "is not noticed")
    before = one.calls
    assert codes_of(edge, channel, UNSAFE, 20) == {grpc.StatusCode.OK: 20}
    assert one.calls == before

    two.health(serving=False)
    until(lambda: edge.stats(well)[well] == 0, 10, "is not noticed")
    began = time.monotonic()
    assert code_of(edge, channel, UNSAFE) == UNAVAILABLE
    assert time.monotonic() - began < 3
    assert one.calls == before

    one.health(serving=True)
    until(lambda: edge.stats(well)[well] == 1, 10, "is not noticed")
    assert code_of(edge, channel, UNSAFE) == grpc.StatusCode.OK


def test_a_call_is_sent_again_to_another_replica(stand, pair):
    edge, channel = stand(*pair, failures_in_a_row=1000, failing_calls=100_000)
    bad, _ = pair
    bad.fails = UNAVAILABLE

    assert codes_of(edge, channel, SAFE, 40) == {grpc.StatusCode.OK: 40}
    assert bad.calls > 5
    retries = edge.stats("cluster.user.upstream_rq_retry$")["cluster.user.upstream_rq_retry"]
    # Never the same one again: each failure was made good by one more try.
    assert retries == bad.calls


def test_a_storm_of_retries_stays_inside_the_budget(stand, pair):
    edge, channel = stand(*pair, failures_in_a_row=100_000, failing_calls=100_000)
    for replica in pair:
        replica.fails, replica.lasts_s = UNAVAILABLE, 0.05
    token = edge.issuer.mint()
    calls, at_once = 240, 24

    with ThreadPoolExecutor(at_once) as pool:
        codes = Counter(pool.map(lambda _: code_of(edge, channel, SAFE, token=token), range(calls)))

    assert grpc.StatusCode.OK not in codes
    attempts = sum(replica.calls for replica in pair)
    # Unbounded, each call would be tried three times. A fifth of those at once may be retries.
    assert calls < attempts < calls * 1.5
    overflow = "cluster.user.upstream_rq_retry_overflow"
    assert edge.stats(overflow)[overflow] > calls * 0.5


def test_calls_of_a_user_go_to_one_replica(stand, pair):
    edge, channel = stand(*pair, name="reco", sticky=True)
    chosen = set()
    for number in range(16):
        token = edge.issuer.mint(f"user-{number}", ["recommendations.read"])
        before = [replica.calls for replica in pair]
        for _ in range(5):
            assert code_of(edge, channel, ABOUT_A_USER, token=token) == grpc.StatusCode.OK
        grown = [r.calls - b for r, b in zip(pair, before, strict=True)]
        assert sorted(grown) == [0, 5]
        chosen.add(grown.index(5))

    assert chosen == {0, 1}
    assert all("marquee-hash" not in seen for replica in pair for seen in replica.metadata)


def test_a_service_says_whom_its_calls_are_about(stand, pair):
    edge, channel = stand(*pair, name="reco", sticky=True)
    for number in range(8):
        before = [replica.calls for replica in pair]
        for _ in range(5):
            about = [("x-marquee-affinity", f"user-{number}")]
            code_of(edge, channel, ABOUT_A_USER, metadata=about)
        assert sorted(r.calls - b for r, b in zip(pair, before, strict=True)) == [0, 5]

    before = [replica.calls for replica in pair]
    codes_of(edge, channel, ABOUT_A_USER, 40)  # about many, for all the edge knows
    assert all(r.calls > b for r, b in zip(pair, before, strict=True))
    assert all("x-marquee-affinity" not in seen for r in pair for seen in r.metadata)


def test_a_user_and_a_service_that_speaks_for_them_meet_the_same_replica(stand, pair):
    edge, channel = stand(*pair, name="reco", sticky=True)
    for number in range(8):
        before = [replica.calls for replica in pair]
        code_of(edge, channel, ABOUT_A_USER, token=edge.issuer.mint(f"user-{number}"))
        code_of(edge, channel, ABOUT_A_USER, metadata=[("x-marquee-affinity", f"user-{number}")])
        assert sorted(r.calls - b for r, b in zip(pair, before, strict=True)) == [0, 2]


def test_a_busy_user_does_not_drown_a_replica(stand, pair):
    edge, channel = stand(*pair, name="reco", sticky=True)
    for replica in pair:
        replica.lasts_s = 0.3
    token = edge.issuer.mint("busy", ["recommendations.read"])

    with ThreadPoolExecutor(40) as pool:
        list(pool.map(lambda _: code_of(edge, channel, ABOUT_A_USER, token=token), range(80)))

    assert min(replica.calls for replica in pair) >= 8


def test_other_services_are_not_sticky(stand, pair):
    edge, channel = stand(*pair)
    token = edge.issuer.mint("ada", ["users.read"])
    for _ in range(40):
        code_of(edge, channel, SAFE, token=token)

    assert min(replica.calls for replica in pair) >= 5
