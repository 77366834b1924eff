"""UserService over gRPC."""

from __future__ import annotations

from typing import Any

import grpc
from marquee.user.v1 import user_service_pb2 as pb
from marquee.user.v1 import user_service_pb2_grpc as pb_grpc

from mesh.pages import decode_page_token, encode_page_token
from mesh.validation import Violations
from user_svc import requests
from user_svc.service import UserService
from user_svc.wire import to_preferences, to_user

Context = grpc.aio.ServicerContext[Any, Any]
_LISTING = "users"


class UserServicer(pb_grpc.UserServiceServicer):
    """Proto in, use case, proto out."""

    def __init__(self, users: UserService) -> None:
        """Takes the use cases."""
        self._users = users

    async def CreateUser(
        self, request: pb.CreateUserRequest, context: Context
    ) -> pb.CreateUserResponse:
        """Creates a user."""
        check = Violations()
        check.id("user.id", request.user.id, optional=True)
        check.text("request_id", request.request_id, maximum=128)
        profile = requests.read_profile(check, request.user)
        check.raise_if_any()
        account = await self._users.create(request.user.id, profile, request_id=request.request_id)
        return pb.CreateUserResponse(user=to_user(account))

    async def GetUser(self, request: pb.GetUserRequest, context: Context) -> pb.GetUserResponse:
        """Returns one user."""
        _require_id("user_id", request.user_id)
        return pb.GetUserResponse(user=to_user(await self._users.get(request.user_id)))

    async def ListUsers(
        self, request: pb.ListUsersRequest, context: Context
    ) -> pb.ListUsersResponse:
        """Lists users by id."""
        check = Violations()
        limit = check.limit("page_size", request.page_size, default=100, maximum=1000)
        after = ""
        if request.page_token:
            with check.gather():
                (position,) = decode_page_token(_LISTING, request.page_token, shape=[str])
                after = str(position)
        check.raise_if_any()
        accounts, more = await self._users.page(after=after, limit=limit)
        return pb.ListUsersResponse(
            users=[to_user(account) for account in accounts],
            next_page_token=encode_page_token(_LISTING, [accounts[-1].user_id]) if more else "",
        )

    async def UpdateUser(
        self, request: pb.UpdateUserRequest, context: Context
    ) -> pb.UpdateUserResponse:
        """Changes the fields named by the mask."""
        check = Violations()
        check.id("user.id", request.user.id)
        fields = requests.read_profile_mask(check, request.update_mask)
        values = requests.read_profile(check, request.user, fields)
        check.raise_if_any()
        account = await self._users.update(request.user.id, values, fields, etag=request.user.etag)
        return pb.UpdateUserResponse(user=to_user(account))

    async def DeleteUser(
        self, request: pb.DeleteUserRequest, context: Context
    ) -> pb.DeleteUserResponse:
        """Deletes a user."""
        _require_id("user_id", request.user_id)
        await self._users.delete(request.user_id, etag=request.etag)
        return pb.DeleteUserResponse()

    async def GetPreferences(
        self, request: pb.GetPreferencesRequest, context: Context
    ) -> pb.GetPreferencesResponse:
        """Returns the preferences of a user."""
        _require_id("user_id", request.user_id)
        account = await self._users.get(request.user_id)
        return pb.GetPreferencesResponse(preferences=to_preferences(account))

    async def UpdatePreferences(
        self, request: pb.UpdatePreferencesRequest, context: Context
    ) -> pb.UpdatePreferencesResponse:
        """Changes the preferences named by the mask."""
        check = Violations()
        check.id("preferences.user_id", request.preferences.user_id)
        fields = requests.read_preferences_mask(check, request.update_mask)
        values = requests.read_preferences(check, request.preferences, fields)
        check.raise_if_any()
        account = await self._users.update_preferences(
            request.preferences.user_id, values, fields, etag=request.preferences.etag
        )
        return pb.UpdatePreferencesResponse(preferences=to_preferences(account))


def _require_id(field: str, value: str) -> None:
    check = Violations()
    check.id(field, value)
    check.raise_if_any()
