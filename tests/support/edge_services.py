"""Services that remember what reached them, to stand behind an edge.

calls = Calls()
with serving(calls) as endpoint:
    ...
calls.last.metadata
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from marquee.notify.v1 import notification_service_pb2 as notify_pb
from marquee.notify.v1 import notification_service_pb2_grpc as notify_grpc
from marquee.reco.v1 import interaction_service_pb2 as interaction_pb
from marquee.reco.v1 import interaction_service_pb2_grpc as interaction_grpc
from marquee.user.v1 import user_service_pb2 as user_pb
from marquee.user.v1 import user_service_pb2_grpc as user_grpc
from marquee_envoy.config import Endpoint


@dataclass
class Call:
    method: str
    request: Message
    metadata: dict[str, str]
    time_remaining: float | None


@dataclass(repr=False)
class Calls:
    """What reached the services, newest last; short in reports of failed tests."""

    seen: list[Call] = field(default_factory=list)
    headers: dict[str, dict[str, str]] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<{len(self.seen)} calls>"

    def note(self, method: str, request: Message, context: grpc.ServicerContext) -> None:
        metadata = {k: v for k, v in context.invocation_metadata() if isinstance(v, str)}
        self.seen.append(Call(method, request, metadata, context.time_remaining()))

    @property
    def last(self) -> Call:
        return self.seen[-1]

    def count(self, method: str) -> int:
        return sum(call.method == method for call in self.seen)


class Users(user_grpc.UserServiceServicer):
    """Behaves as the id in the request asks."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls

    def GetUser(
        self, request: user_pb.GetUserRequest, context: grpc.ServicerContext
    ) -> user_pb.GetUserResponse:
        self.calls.note("GetUser", request, context)
        self._behave(request.user_id, context)
        response = user_pb.GetUserResponse()
        response.user.id = request.user_id
        return response

    def DeleteUser(
        self, request: user_pb.DeleteUserRequest, context: grpc.ServicerContext
    ) -> user_pb.DeleteUserResponse:
        self.calls.note("DeleteUser", request, context)
        self._behave(request.user_id, context)
        return user_pb.DeleteUserResponse()

    def UpdateUser(
        self, request: user_pb.UpdateUserRequest, context: grpc.ServicerContext
    ) -> user_pb.UpdateUserResponse:
        self.calls.note("UpdateUser", request, context)
        return user_pb.UpdateUserResponse(user=request.user)

    def _behave(self, user_id: str, context: grpc.ServicerContext) -> None:
        if user_id == "slow":
            time.sleep(2.5)
        if user_id == "unavailable":
            context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        if user_id == "":
            status = status_pb2.Status(code=3, message="user_id: must not be empty")
            status.details.add().Pack(
                error_details_pb2.BadRequest(
                    field_violations=[
                        error_details_pb2.BadRequest.FieldViolation(
                            field="user_id", description="must not be empty"
                        )
                    ]
                )
            )
            context.abort_with_status(rpc_status.to_status(status))


class Interactions(interaction_grpc.InteractionServiceServicer):
    def __init__(self, calls: Calls) -> None:
        self.calls = calls

    def RecordInteractions(
        self, request: interaction_pb.RecordInteractionsRequest, context: grpc.ServicerContext
    ) -> interaction_pb.RecordInteractionsResponse:
        self.calls.note("RecordInteractions", request, context)
        return interaction_pb.RecordInteractionsResponse()


class Notifications(notify_grpc.NotificationServiceServicer):
    """A stream of three messages with silences between them."""

    silence_s = 0.9

    def __init__(self, calls: Calls) -> None:
        self.calls = calls

    def Subscribe(
        self, request: notify_pb.SubscribeRequest, context: grpc.ServicerContext
    ) -> Iterator[notify_pb.SubscribeResponse]:
        self.calls.note("Subscribe", request, context)
        for number in range(3):
            time.sleep(self.silence_s)
            yield notify_pb.SubscribeResponse(cursor=str(number))


class HeaderNotes(grpc.ServerInterceptor):
    """Remembers the headers of the latest call of each method, also of health checks."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls

    def intercept_service(self, continuation, handler_call_details):
        metadata = dict(handler_call_details.invocation_metadata)
        if "x-forwarded-proto" in metadata:  # from a caller, not one of Envoy's own checks
            self.calls.headers[handler_call_details.method] = metadata
        return continuation(handler_call_details)


@contextmanager
def serving(calls: Calls) -> Iterator[Endpoint]:
    server = grpc.server(
        ThreadPoolExecutor(16),
        interceptors=[HeaderNotes(calls)],
        options=[("grpc.so_reuseport", 0)],
    )
    user_grpc.add_UserServiceServicer_to_server(Users(calls), server)
    interaction_grpc.add_InteractionServiceServicer_to_server(Interactions(calls), server)
    notify_grpc.add_NotificationServiceServicer_to_server(Notifications(calls), server)
    healthy = health.HealthServicer()
    healthy.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield Endpoint("127.0.0.1", port)
    finally:
        server.stop(grace=0).wait()
