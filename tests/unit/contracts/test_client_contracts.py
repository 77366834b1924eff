"""The client side of every contract, against the fake channel of grpcio-testing.

What a generated stub does with a call is what a program that links our contracts does.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

import grpc
import grpc_testing
import pytest
from google.protobuf import descriptor, message_factory
from google.protobuf.message import Message
from marquee.notify.v1 import notification_service_pb2, notification_service_pb2_grpc
from marquee.user.v1 import user_pb2, user_service_pb2, user_service_pb2_grpc

from mesh import contracts

METHODS = [
    pytest.param(method, id=f"{method.containing_service.full_name}.{method.name}")
    for service in contracts.services().values()
    for method in service.methods
]
USERS = user_service_pb2.DESCRIPTOR.services_by_name["UserService"]
NOTIFICATIONS = notification_service_pb2.DESCRIPTOR.services_by_name["NotificationService"]


class RecordingChannel:
    """Notes what the fake channel forgets: deadlines, and how messages become bytes."""

    def __init__(self, channel: grpc_testing.Channel) -> None:
        self._channel = channel
        self.codecs: dict[str, tuple[Any, Any]] = {}
        self.timeouts: list[float | None] = []

    def unary_unary(self, path: str, **options: Any) -> Any:
        self.codecs[path] = (options["request_serializer"], options["response_deserializer"])
        call = self._channel.unary_unary(path, **options)

        def recorded(request: Message, timeout: float | None = None, **rest: Any) -> Any:
            self.timeouts.append(timeout)
            return call(request, timeout, **rest)

        return recorded

    def unary_stream(self, path: str, **options: Any) -> Any:
        self.codecs[path] = (options["request_serializer"], options["response_deserializer"])
        return self._channel.unary_stream(path, **options)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def channel() -> grpc_testing.Channel:
    return grpc_testing.channel(
        list(contracts.services().values()), grpc_testing.strict_real_time()
    )


def stub_of(service: descriptor.ServiceDescriptor, channel: Any) -> Any:
    module = import_module(service.file.name.removesuffix(".proto").replace("/", ".") + "_pb2_grpc")
    return getattr(module, f"{service.name}Stub")(channel)


def instance(kind: descriptor.Descriptor) -> Message:
    return message_factory.GetMessageClass(kind)()


@pytest.mark.parametrize("method", METHODS)
def test_every_stub_calls_its_method_with_its_types(
    method: descriptor.MethodDescriptor, channel: grpc_testing.Channel, pool: ThreadPoolExecutor
) -> None:
    call = getattr(stub_of(method.containing_service, channel), method.name)
    request, response = instance(method.input_type), instance(method.output_type)
    assert not method.client_streaming, "the contracts have no client streams yet"

    if method.server_streaming:
        answers = call(request)
        _, taken, rpc = channel.take_unary_stream(method)
        rpc.send_initial_metadata(())
        rpc.send_response(response)
        rpc.terminate((), grpc.StatusCode.OK, "")
        received = list(answers)
    else:
        answer = pool.submit(call, request)
        _, taken, rpc = channel.take_unary_unary(method)
        rpc.send_initial_metadata(())
        rpc.terminate(response, (), grpc.StatusCode.OK, "")
        received = [answer.result(timeout=5)]

    assert type(taken) is type(request)
    assert received == [response]
    assert type(received[0]) is type(response)


@pytest.mark.parametrize("method", METHODS)
def test_every_stub_writes_its_request_and_reads_its_response(
    method: descriptor.MethodDescriptor, channel: grpc_testing.Channel
) -> None:
    recording = RecordingChannel(channel)
    stub_of(method.containing_service, recording)
    write, read = recording.codecs[f"/{method.containing_service.full_name}/{method.name}"]
    assert write(instance(method.input_type)) == b""
    assert type(read(b"")) is type(instance(method.output_type))


def test_request_metadata_and_deadline_reach_the_channel(
    channel: grpc_testing.Channel, pool: ThreadPoolExecutor
) -> None:
    recording = RecordingChannel(channel)
    stub = user_service_pb2_grpc.UserServiceStub(recording)
    request = user_service_pb2.CreateUserRequest(
        user=user_pb2.User(id="ada", display_name="Ada"), request_id="r1"
    )
    traceparent = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    answer = pool.submit(stub.CreateUser, request, timeout=1.5, metadata=(traceparent,))
    metadata, taken, rpc = channel.take_unary_unary(USERS.methods_by_name["CreateUser"])
    rpc.send_initial_metadata(())
    stored = user_pb2.User(id="ada", display_name="Ada", etag="e1")
    rpc.terminate(user_service_pb2.CreateUserResponse(user=stored), (), grpc.StatusCode.OK, "")

    assert answer.result(timeout=5).user == stored
    assert taken == request
    assert traceparent in [tuple(entry) for entry in metadata]
    assert recording.timeouts == [1.5]


def test_a_status_reaches_the_caller_with_its_trailers(
    channel: grpc_testing.Channel, pool: ThreadPoolExecutor
) -> None:
    stub = user_service_pb2_grpc.UserServiceStub(channel)
    answer = pool.submit(stub.GetUser, user_service_pb2.GetUserRequest(user_id="nobody"))
    _, _, rpc = channel.take_unary_unary(USERS.methods_by_name["GetUser"])
    rpc.send_initial_metadata(())
    trailers = (("grpc-status-details-bin", b"\x08\x05"),)
    rpc.terminate(None, trailers, grpc.StatusCode.NOT_FOUND, "there is no such user")

    error = answer.exception(timeout=5)
    assert isinstance(error, grpc.RpcError)
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert error.details() == "there is no such user"
    assert trailers[0] in [tuple(entry) for entry in error.trailing_metadata()]


def test_a_subscriber_reads_until_the_server_goes_away(channel: grpc_testing.Channel) -> None:
    stub = notification_service_pb2_grpc.NotificationServiceStub(channel)
    stream = stub.Subscribe(notification_service_pb2.SubscribeRequest(user_id="ada", cursor="c0"))
    _, request, rpc = channel.take_unary_stream(NOTIFICATIONS.methods_by_name["Subscribe"])
    rpc.send_initial_metadata(())
    heartbeat = notification_service_pb2.SubscribeResponse(
        heartbeat=notification_service_pb2.Heartbeat(), cursor="c0"
    )
    arrival = notification_service_pb2.SubscribeResponse(
        notification=notification_service_pb2.Notification(id="n1", sequence=7), cursor="c1"
    )
    rpc.send_response(heartbeat)
    rpc.send_response(arrival)

    assert request.cursor == "c0"
    assert [next(stream), next(stream)] == [heartbeat, arrival]
    rpc.terminate((), grpc.StatusCode.UNAVAILABLE, "this server is going away")
    with pytest.raises(grpc.RpcError) as caught:
        next(stream)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_caller_may_leave_a_stream(channel: grpc_testing.Channel) -> None:
    stub = notification_service_pb2_grpc.NotificationServiceStub(channel)
    stream = stub.Subscribe(notification_service_pb2.SubscribeRequest(user_id="ada"))
    _, _, rpc = channel.take_unary_stream(NOTIFICATIONS.methods_by_name["Subscribe"])
    stream.cancel()
    rpc.cancelled()  # returns only once the server's side has seen it
    assert stream.code() is grpc.StatusCode.CANCELLED


def test_a_field_of_a_newer_contract_survives_an_older_client() -> None:
    newer = user_pb2.User(id="ada").SerializeToString() + b"\xfa\x3e\x03new"  # field 1007
    read = user_pb2.User.FromString(newer)
    assert read.id == "ada"
    assert read.SerializeToString() == newer
