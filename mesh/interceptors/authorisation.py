"""Lets a caller do only what the policy of the RPC and their token allow."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from mesh import contracts
from mesh.auth.caller import ANY_SUBJECT, Caller, current_caller
from mesh.auth.subjects import ReadSubjects, compile_path
from mesh.contracts import MethodPolicy
from mesh.errors import PermissionDenied
from mesh.interceptors.base import ServerCall


class AuthorisationLayer:
    """Asks for the scope of the RPC, and for the caller's own data in every request message."""

    def __init__(self) -> None:
        """Reads the policies.

        Raises:
            ValueError: The subject field of a policy does not exist.
        """
        self._policies = contracts.policies()
        self._subjects = {
            policy.method: compile_path(_request_type(policy.method), policy.subject_field)
            for policy in self._policies.values()
            if policy.subject_field
        }

    @asynccontextmanager
    async def around(self, call: ServerCall) -> AsyncIterator[None]:
        """Wraps one call; see `mesh.interceptors.base`."""
        policy, caller = self._policies.get(call.method), current_caller.get()
        if policy is None or caller is None:
            raise PermissionDenied("POLICY_MISSING", "no policy allows this call to anybody")
        if policy.scope not in caller.scopes:
            raise PermissionDenied(
                "SCOPE_MISSING",
                f"the token lacks the scope {policy.scope}",
                metadata={"scope": policy.scope},
            )
        read = self._subjects.get(call.method)
        if read is not None and ANY_SUBJECT not in caller.scopes:
            call.checks.append(_own_data_only(caller, policy, read))
        yield


def _own_data_only(
    caller: Caller, policy: MethodPolicy, read: ReadSubjects
) -> Callable[[Any], None]:
    def check(request: Any) -> None:
        for subject in read(request):
            allowed = caller.may_touch(subject) if subject else policy.subject_optional
            if not allowed:
                raise PermissionDenied(
                    "SUBJECT_MISMATCH",
                    f"{policy.subject_field} must be the subject of the token",
                    metadata={"field": policy.subject_field},
                )

    return check


def _request_type(method: str) -> Any:
    _, service, name = method.split("/")
    return contracts.services()[service].methods_by_name[name].input_type
