"""Calls of the user service that several tests make; `world` is what its conftest gives them."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf import field_mask_pb2
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from marquee.user.v1 import user_pb2
from marquee.user.v1 import user_service_pb2 as pb


def ada(**changes: Any) -> user_pb2.User:
    values: dict[str, Any] = {
        "id": "ada",
        "display_name": "Ada",
        "email": "Ada@example.org",
        "locale": "en-GB",
        "time_zone": "Europe/London",
        "attributes": {"$shoe.size": "37"},
    }
    return user_pb2.User(**{**values, **changes})


def mask(*paths: str) -> field_mask_pb2.FieldMask:
    return field_mask_pb2.FieldMask(paths=paths)


async def create(world: Any, user: user_pb2.User, request_id: str = "") -> user_pb2.User:
    request = pb.CreateUserRequest(user=user, request_id=request_id)
    return (await world.stub.CreateUser(request)).user


async def get(world: Any, user_id: str) -> user_pb2.User:
    return (await world.stub.GetUser(pb.GetUserRequest(user_id=user_id))).user


async def failure(call: Any) -> tuple[grpc.StatusCode, dict[str, Any]]:
    """Returns the code of a call that fails, and its details by message name."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    status = rpc_status.from_call(caught.value)
    details = {}
    for packed in status.details if status else ():
        for kind in (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest):
            if packed.Is(kind.DESCRIPTOR):
                details[kind.DESCRIPTOR.name] = kind.FromString(packed.value)
    return caught.value.code(), details


async def violations(call: Any) -> list[str]:
    code, details = await failure(call)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    return [violation.field for violation in details["BadRequest"].field_violations]


async def update(world: Any, user: user_pb2.User, *paths: str) -> user_pb2.User:
    request = pb.UpdateUserRequest(user=user, update_mask=mask(*paths))
    return (await world.stub.UpdateUser(request)).user


async def changes(world: Any, user_id: str, **request: Any) -> Any:
    return await world.stub.ListUserChanges(pb.ListUserChangesRequest(user_id=user_id, **request))
