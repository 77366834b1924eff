from typing import Any

import grpc
import pytest
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from marquee.notify.v1 import notification_service_pb2 as pb

from marquee_client.live import Resumption

Code = grpc.StatusCode
FINAL = [
    Code.INVALID_ARGUMENT,
    Code.NOT_FOUND,
    Code.ALREADY_EXISTS,
    Code.PERMISSION_DENIED,
    Code.FAILED_PRECONDITION,
    Code.OUT_OF_RANGE,
    Code.UNIMPLEMENTED,
]
PASSING = [code for code in Code if code not in {*FINAL, Code.OK, Code.UNAUTHENTICATED}]


class Failure(grpc.RpcError):
    def __init__(self, code: Code, retry_after: int | None = None) -> None:
        self._code = code
        self._trailers: Any = ()
        if retry_after is not None:
            packed = any_pb2.Any()
            packed.Pack(
                error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=retry_after))
            )
            status = status_pb2.Status(details=[packed])
            self._trailers = (("grpc-status-details-bin", status.SerializeToString()),)

    def code(self) -> Code:
        return self._code

    def details(self) -> str:
        return ""

    def trailing_metadata(self) -> Any:
        return self._trailers


class Time:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Time:
    return Time()


def resumption(clock: Time, *, cursor: str = "", renewable: bool = False) -> Resumption:
    return Resumption(
        "ada", cursor, token_renewable=renewable, clock=clock, jitter=lambda low, high: high
    )


def news(sequence: int) -> pb.SubscribeResponse:
    return pb.SubscribeResponse(
        notification=pb.Notification(sequence=sequence), cursor=f"c{sequence}"
    )


def test_it_goes_on_where_it_was(clock: Time) -> None:
    state = resumption(clock, cursor="c1")
    assert state.request() == pb.SubscribeRequest(user_id="ada", cursor="c1")
    assert state.take(pb.SubscribeResponse(heartbeat=pb.Heartbeat(), cursor="c1")) is None
    arrival = state.take(news(2))
    assert arrival is not None
    assert (arrival.cursor, arrival.notification.sequence) == ("c2", 2)
    assert state.request().cursor == "c2"


def test_a_heartbeat_moves_the_cursor(clock: Time) -> None:
    state = resumption(clock)
    assert state.take(pb.SubscribeResponse(heartbeat=pb.Heartbeat(), cursor="c5")) is None
    assert state.request().cursor == "c5"
    state.take(pb.SubscribeResponse(heartbeat=pb.Heartbeat()))
    assert state.request().cursor == "c5", "none said is none lost"


def test_nothing_is_told_twice(clock: Time) -> None:
    state = resumption(clock)
    told = [state.take(news(sequence)) for sequence in (1, 2, 2, 1, 3, 3)]
    assert [arrival.cursor for arrival in told if arrival] == ["c1", "c2", "c3"]


@pytest.mark.parametrize("code", FINAL)
def test_refusals_are_final(clock: Time, code: Code) -> None:
    with pytest.raises(Failure):
        resumption(clock, renewable=True).pause_after(Failure(code))


@pytest.mark.parametrize("code", [None, *PASSING])
def test_whatever_may_pass_is_tried_again(clock: Time, code: Code | None) -> None:
    failure = None if code is None else Failure(code)
    assert resumption(clock).pause_after(failure) == 0.2


def test_pauses_grow_to_a_limit_and_shrink_after_success(clock: Time) -> None:
    state = resumption(clock)
    state.request()
    pauses = [state.pause_after(Failure(Code.UNAVAILABLE)) for _ in range(10)]
    assert pauses == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30]
    state.take(news(1))
    assert state.pause_after(None) == 0.2
    assert state.pause_after(None) == 0.4
    state.request()
    clock.now += 60
    assert state.pause_after(Failure(Code.UNAVAILABLE)) == 0.2, "the stream lived long"


def test_streams_that_end_at_once_are_not_begun_at_full_speed(clock: Time) -> None:
    state = resumption(clock)
    for _ in range(5):
        state.request()
        state.take(pb.SubscribeResponse(heartbeat=pb.Heartbeat(), cursor="c"))
        pause = state.pause_after(Failure(Code.UNAVAILABLE))
    assert pause == 3.2


def test_jitter_stays_within_half_and_whole() -> None:
    asked: list[tuple[float, float]] = []

    def jitter(low: float, high: float) -> float:
        asked.append((low, high))
        return low

    state = Resumption("ada", "", token_renewable=False, jitter=jitter)
    assert state.pause_after(None) == 0.1
    assert asked == [(0.1, 0.2)]


def test_the_mesh_may_ask_for_a_longer_pause(clock: Time) -> None:
    assert resumption(clock).pause_after(Failure(Code.RESOURCE_EXHAUSTED, 7)) == 7


def test_a_refused_token_is_final_when_there_is_no_other(clock: Time) -> None:
    with pytest.raises(Failure):
        resumption(clock).pause_after(Failure(Code.UNAUTHENTICATED))


def test_a_refused_token_may_be_renewed_once_in_a_row(clock: Time) -> None:
    state = resumption(clock, renewable=True)
    assert state.pause_after(Failure(Code.UNAUTHENTICATED)) == 0.2
    with pytest.raises(Failure):
        state.pause_after(Failure(Code.UNAUTHENTICATED))
    state = resumption(clock, renewable=True)
    for _ in range(3):
        state.pause_after(Failure(Code.UNAUTHENTICATED))
        state.take(pb.SubscribeResponse(heartbeat=pb.Heartbeat(), cursor="c"))
