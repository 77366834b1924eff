"""UserService over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from itertools import accumulate
from typing import Any

import grpc
from marquee.user.v1 import user_pb2
from marquee.user.v1 import user_service_pb2 as pb
from marquee.user.v1 import user_service_pb2_grpc as pb_grpc

from mesh.times import now, to_timestamp
from mesh.validation import Violations
from user_svc.domain import position_of
from user_svc.holders.names import NUMBERS
from user_svc.requests import listing, preferences, profiles
from user_svc.rpc.causes import cause_of
from user_svc.service.export import ExportService
from user_svc.service.users import UserService
from user_svc.wire import to_preferences, to_user, to_user_change

Context = grpc.aio.ServicerContext[Any, Any]
_MAX_IDS = 1000

# gRPC clients take messages of up to 4 MiB unless told otherwise.
_MAX_ANSWER_BYTES = 3 * 1024 * 1024


class UserServicer(pb_grpc.UserServiceServicer):
    """Proto in, use case, proto out."""

    def __init__(self, users: UserService, exports: ExportService[pb.ExportedRecord]) -> None:
        """Takes the use cases."""
        self._users = users
        self._exports = exports

    async def CreateUser(
        self, request: pb.CreateUserRequest, context: Context
    ) -> pb.CreateUserResponse:
        """Creates a user."""
        check = Violations()
        check.id("user.id", request.user.id, optional=True)
        request_id = profiles.read_request_id(check, request.request_id)
        profile = profiles.read_profile(check, request.user)
        check.raise_if_any()
        cause = cause_of("CreateUser", request_id)
        account = await self._users.create(request.user.id, profile, cause)
        return pb.CreateUserResponse(user=to_user(account))

    async def GetUser(self, request: pb.GetUserRequest, context: Context) -> pb.GetUserResponse:
        """Returns one user."""
        _require_id("user_id", request.user_id)
        return pb.GetUserResponse(user=to_user(await self._users.get(request.user_id)))

    async def BatchGetUsers(
        self, request: pb.BatchGetUsersRequest, context: Context
    ) -> pb.BatchGetUsersResponse:
        """Returns users by their ids, and the ids that are unknown."""
        check = Violations()
        check.count("user_ids", len(request.user_ids), minimum=1, maximum=_MAX_IDS)
        for index, user_id in enumerate(request.user_ids[:_MAX_IDS]):
            check.id(f"user_ids[{index}]", user_id)
        check.raise_if_any()
        accounts, missing = await self._users.batch_get(request.user_ids)
        response = pb.BatchGetUsersResponse(
            users=[to_user(account) for account in accounts], missing_user_ids=missing
        )
        if response.ByteSize() > _MAX_ANSWER_BYTES:
            check.add("user_ids", "these users are too large for one answer; ask for fewer")
            check.raise_if_any()
        return response

    async def ListUsers(
        self, request: pb.ListUsersRequest, context: Context
    ) -> pb.ListUsersResponse:
        """Lists the users who match a filter."""
        check = Violations()
        limit = check.limit("page_size", request.page_size, default=100, maximum=1000)
        wanted = listing.read_filter(check, request.filter)
        after = listing.read_position(check, wanted, request.page_token)
        check.raise_if_any()
        page = await self._users.page(wanted, after=after, limit=limit)
        users = [to_user(account) for account in page.accounts]
        count = _how_many_fit(users)
        end = page.end if count == len(users) else position_of(page.accounts[count - 1])
        return pb.ListUsersResponse(
            users=users[:count],
            next_page_token="" if end is None else listing.position_token(wanted, end),
        )

    async def UpdateUser(
        self, request: pb.UpdateUserRequest, context: Context
    ) -> pb.UpdateUserResponse:
        """Changes the fields named by the mask."""
        check = Violations()
        check.id("user.id", request.user.id)
        fields = profiles.read_profile_mask(check, request.update_mask)
        values = profiles.read_profile(check, request.user, fields)
        check.raise_if_any()
        account = await self._users.update(
            request.user.id, values, fields, cause_of("UpdateUser"), etag=request.user.etag
        )
        return pb.UpdateUserResponse(user=to_user(account))

    async def DeleteUser(
        self, request: pb.DeleteUserRequest, context: Context
    ) -> pb.DeleteUserResponse:
        """Deletes a user."""
        _require_id("user_id", request.user_id)
        await self._users.delete(request.user_id, cause_of("DeleteUser"), etag=request.etag)
        return pb.DeleteUserResponse()

    async def ListUserChanges(
        self, request: pb.ListUserChangesRequest, context: Context
    ) -> pb.ListUserChangesResponse:
        """Lists the audit trail of a user, the latest change first."""
        check = Violations()
        check.id("user_id", request.user_id)
        limit = check.limit("page_size", request.page_size, default=50, maximum=200)
        before = listing.read_version(check, request.user_id, request.page_token)
        check.raise_if_any()
        changes, more = await self._users.trail(request.user_id, before=before, limit=limit)
        token = listing.version_token(request.user_id, changes[-1].version) if more else ""
        return pb.ListUserChangesResponse(
            changes=[to_user_change(change) for change in changes], next_page_token=token
        )

    async def ExportUserData(
        self, request: pb.ExportUserDataRequest, context: Context
    ) -> AsyncIterator[pb.ExportUserDataResponse]:
        """Streams everything that all services hold on a person, and a summary at the end."""
        _require_id("user_id", request.user_id)
        async with aclosing(self._exports.export(request.user_id)) as parts:
            async for part in parts:
                response = pb.ExportUserDataResponse(records=part.records)
                if part.counts is not None:
                    response.summary.CopyFrom(_to_summary(part.counts))
                yield response

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
        fields = preferences.read_preferences_mask(check, request.update_mask)
        values = preferences.read_preferences(check, request.preferences, fields)
        check.raise_if_any()
        account = await self._users.update_preferences(
            request.preferences.user_id,
            values,
            fields,
            cause_of("UpdatePreferences"),
            etag=request.preferences.etag,
        )
        return pb.UpdatePreferencesResponse(preferences=to_preferences(account))


def _require_id(field: str, value: str) -> None:
    check = Violations()
    check.id(field, value)
    check.raise_if_any()


def _how_many_fit(users: Sequence[user_pb2.User]) -> int:
    """Returns how many of the first users fit into one answer; a single one always does."""
    sizes = accumulate(user.ByteSize() for user in users)
    fitting = sum(1 for size in sizes if size <= _MAX_ANSWER_BYTES)
    return max(fitting, min(1, len(users)))


def _to_summary(counts: Mapping[str, int]) -> pb.ExportSummary:
    return pb.ExportSummary(
        holders=[
            pb.HolderSummary(holder=NUMBERS[name], record_count=count)
            for name, count in counts.items()
        ],
        finish_time=to_timestamp(now()),
    )
