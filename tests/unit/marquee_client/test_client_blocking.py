"""The sync client against the fake channel of grpcio-testing."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import grpc_testing
import pytest
from marquee.notify.v1 import notification_service_pb2 as notify_pb
from marquee.reco.v1 import catalog_service_pb2
from marquee.reco.v1.movie_pb2 import Movie
from marquee.user.v1 import user_service_pb2
from marquee_policy import POLICIES
from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from marquee_client import Marquee, TokenError, pages
from marquee_client.tokens import Tokens
from mesh import contracts

GET_USER = user_service_pb2.DESCRIPTOR.services_by_name["UserService"].methods_by_name["GetUser"]
LIST_MOVIES = catalog_service_pb2.DESCRIPTOR.services_by_name["CatalogService"].methods_by_name[
    "ListMovies"
]
SUBSCRIBE = notify_pb.DESCRIPTOR.services_by_name["NotificationService"].methods_by_name[
    "Subscribe"
]
ADA = user_service_pb2.GetUserRequest(user_id="ada")


class Adapted:
    """The fake channel with what interceptors of grpc also ask of a real one."""

    def __init__(self, channel: grpc_testing.Channel) -> None:
        self._channel = channel
        self.timeouts: list[float | None] = []

    def unary_unary(self, path: str, *codecs: Any, **_: Any) -> Any:
        return AdaptedUnary(self._channel.unary_unary(path, *codecs), self.timeouts)

    def unary_stream(self, path: str, *codecs: Any, **_: Any) -> Any:
        call = self._channel.unary_stream(path, *codecs)

        def adapted(request: Any, timeout: float | None = None, **rest: Any) -> Any:
            self.timeouts.append(timeout)
            return AdaptedStream(call(request, timeout=timeout, metadata=rest["metadata"]))

        return adapted


class AdaptedStream:
    """A stream that can be told to call back, but never does."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self.cancel = call.cancel

    def __iter__(self) -> Any:
        return iter(self._call)

    def add_callback(self, _: Callable[[], None]) -> bool:
        return True


class AdaptedFailure(grpc.RpcError):
    """A failed call, which as a real one is a future, too."""

    def __init__(self, error: Any) -> None:
        self._error = error

    def code(self) -> grpc.StatusCode:
        code: grpc.StatusCode = self._error.code()
        return code

    def add_done_callback(self, done: Callable[[Any], None]) -> None:
        done(self)

    def result(self) -> None:
        raise self


class AdaptedUnary:
    def __init__(self, call: Any, timeouts: list[float | None]) -> None:
        self._call = call
        self._timeouts = timeouts

    def with_call(self, request: Any, timeout: float | None = None, **rest: Any) -> Any:
        self._timeouts.append(timeout)
        try:
            return self._call.with_call(request, timeout=timeout, metadata=rest["metadata"])
        except grpc.RpcError as error:
            raise AdaptedFailure(error) from None


@pytest.fixture
def adapted(channel: grpc_testing.Channel) -> Any:
    return Adapted(channel)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def channel() -> grpc_testing.Channel:
    return grpc_testing.channel(
        list(contracts.services().values()), grpc_testing.strict_real_time()
    )


def answer(rpc: Any, reply: Any) -> None:
    rpc.send_initial_metadata(())
    rpc.terminate(reply, (), grpc.StatusCode.OK, "")


def heartbeat(cursor: str) -> notify_pb.SubscribeResponse:
    return notify_pb.SubscribeResponse(heartbeat=notify_pb.Heartbeat(), cursor=cursor)


def news(sequence: int) -> notify_pb.SubscribeResponse:
    return notify_pb.SubscribeResponse(
        notification=notify_pb.Notification(sequence=sequence), cursor=f"c{sequence}"
    )


def test_each_call_carries_token_trace_and_affinity(
    channel: grpc_testing.Channel,
    adapted: Any,
    pool: ThreadPoolExecutor,
    spans: InMemorySpanExporter,
) -> None:
    marquee = Marquee(adapted, target="edge:443", tokens=Tokens("t.o.k"))
    tracer = trace.get_tracer("tests")

    def call() -> Any:
        with tracer.start_as_current_span("outer"):
            return marquee.users.GetUser(ADA)

    reply = pool.submit(call)
    metadata, request, rpc = channel.take_unary_unary(GET_USER)
    answer(rpc, user_service_pb2.GetUserResponse())
    reply.result(timeout=5)

    sent = dict(metadata)
    assert request == ADA
    assert sent["authorization"] == "Bearer t.o.k"
    assert sent["x-marquee-affinity"] == "ada"
    client, outer = spans.get_finished_spans()
    assert client.kind is SpanKind.CLIENT
    assert client.name == "marquee.user.v1.UserService/GetUser"
    assert client.parent is not None
    assert client.parent.span_id == outer.context.span_id
    assert client.attributes is not None
    assert client.attributes["server.address"] == "edge"
    assert client.attributes["server.port"] == 443
    assert client.attributes["rpc.response.status_code"] == "OK"
    assert sent["traceparent"].split("-")[1:3] == [
        format(client.context.trace_id, "032x"),
        format(client.context.span_id, "016x"),
    ]


def test_a_failure_is_a_failed_span_and_the_error_of_grpc(
    channel: grpc_testing.Channel,
    adapted: Any,
    pool: ThreadPoolExecutor,
    spans: InMemorySpanExporter,
) -> None:
    reply = pool.submit(Marquee(adapted).users.GetUser, ADA)
    _, _, rpc = channel.take_unary_unary(GET_USER)
    rpc.send_initial_metadata(())
    rpc.terminate(None, (), grpc.StatusCode.NOT_FOUND, "there is none")
    error = reply.exception(timeout=5)
    assert isinstance(error, grpc.RpcError)
    assert error.code() is grpc.StatusCode.NOT_FOUND
    (span,) = spans.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes is not None
    assert span.attributes["error.type"] == "NOT_FOUND"


def test_no_call_goes_out_without_a_token_when_one_is_configured(
    channel: grpc_testing.Channel, adapted: Any, spans: InMemorySpanExporter
) -> None:
    marquee = Marquee(adapted, tokens=Tokens(lambda: ""))
    with pytest.raises(TokenError):
        marquee.users.GetUser(ADA)
    assert not spans.get_finished_spans()


def test_a_call_without_a_timeout_gets_the_default_of_its_contract(
    channel: grpc_testing.Channel, adapted: Any, pool: ThreadPoolExecutor
) -> None:
    marquee = Marquee(adapted)
    for timeout in (None, 11.5):
        reply = pool.submit(marquee.users.GetUser, ADA, timeout=timeout)
        _, _, rpc = channel.take_unary_unary(GET_USER)
        answer(rpc, user_service_pb2.GetUserResponse())
        reply.result(timeout=5)
    assert adapted.timeouts == [
        POLICIES["/marquee.user.v1.UserService/GetUser"].default_timeout,
        11.5,
    ]


def test_pages_asks_until_there_are_no_more(
    channel: grpc_testing.Channel, adapted: Any, pool: ThreadPoolExecutor
) -> None:
    marquee = Marquee(adapted)
    request = catalog_service_pb2.ListMoviesRequest(page_size=1)
    listed = pool.submit(
        lambda: [
            movie.id for page in pages(marquee.catalog.ListMovies, request) for movie in page.movies
        ]
    )
    asked = []
    for movie, following in (("m1", "p2"), ("m2", "")):
        _, taken, rpc = channel.take_unary_unary(LIST_MOVIES)
        asked.append((taken.page_size, taken.page_token))
        answer(
            rpc,
            catalog_service_pb2.ListMoviesResponse(
                movies=[Movie(id=movie)], next_page_token=following
            ),
        )
    assert listed.result(timeout=5) == ["m1", "m2"]
    assert asked == [(1, ""), (1, "p2")]
    assert request.page_token == "", "the caller's request is the caller's"


def test_a_subscription_survives_its_stream(
    channel: grpc_testing.Channel, adapted: Any, pool: ThreadPoolExecutor
) -> None:
    subscription = Marquee(adapted).subscribe("ada", "c1")
    arrived = pool.submit(lambda: [next(subscription).cursor for _ in range(3)])
    _, first, rpc = channel.take_unary_stream(SUBSCRIBE)
    rpc.send_initial_metadata(())
    for message in (heartbeat("c1"), news(2), news(3)):
        rpc.send_response(message)
    rpc.terminate((), grpc.StatusCode.OK, "")  # other codes make this fake forget its messages
    _, second, rpc = channel.take_unary_stream(SUBSCRIBE)
    rpc.terminate((), grpc.StatusCode.UNAVAILABLE, "this server is going away")
    _, third, rpc = channel.take_unary_stream(SUBSCRIBE)
    rpc.send_initial_metadata(())
    for message in (heartbeat("c3"), news(3), news(4)):
        rpc.send_response(message)

    assert arrived.result(timeout=5) == ["c2", "c3", "c4"]
    assert [first.cursor, second.cursor, third.cursor] == ["c1", "c3", "c3"]
    assert subscription.cursor == "c4"


def test_a_subscription_that_is_refused_ends(
    channel: grpc_testing.Channel, adapted: Any, pool: ThreadPoolExecutor
) -> None:
    arrived = pool.submit(list, Marquee(adapted).subscribe("ada"))
    _, _, rpc = channel.take_unary_stream(SUBSCRIBE)
    rpc.send_initial_metadata(())
    rpc.terminate((), grpc.StatusCode.PERMISSION_DENIED, "not yours")
    error = arrived.exception(timeout=5)
    assert isinstance(error, grpc.RpcError)
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED


def test_closing_ends_a_subscription_that_waits(
    channel: grpc_testing.Channel, adapted: Any, pool: ThreadPoolExecutor
) -> None:
    marquee = Marquee(adapted)
    subscription = marquee.subscribe("ada")
    arrived = pool.submit(list, subscription)
    _, _, rpc = channel.take_unary_stream(SUBSCRIBE)
    subscription.close()
    rpc.cancelled()  # returns only once the server's side has seen it
    assert arrived.result(timeout=5) == []
    assert list(subscription) == []


def test_a_subscription_has_begun_once_the_mesh_has_answered(
    channel: grpc_testing.Channel, adapted: Any, pool: ThreadPoolExecutor
) -> None:
    subscription = Marquee(adapted).subscribe("ada", "c1")
    begun = pool.submit(subscription.begin)
    _, _, rpc = channel.take_unary_stream(SUBSCRIBE)
    rpc.send_initial_metadata(())
    assert not begun.done()
    rpc.send_response(news(2))
    assert begun.result(timeout=5) == "c2"
    assert next(subscription).cursor == "c2", "what begin has read is not lost"
    subscription.close()
    assert subscription.begin() == "c2"
