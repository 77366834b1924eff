from contextvars import copy_context

import pytest

from mesh.auth.caller import Caller, current_caller
from user_svc.domain import Cause
from user_svc.rpc.causes import cause_of


def test_a_change_has_the_caller_as_its_actor() -> None:
    def as_ada() -> Cause:
        current_caller.set(Caller("ada", frozenset({"users.write"}), 0.0))
        return cause_of("CreateUser", "request1")

    assert copy_context().run(as_ada) == Cause("ada", "CreateUser", "request1", "")


def test_nobody_changes_anything() -> None:
    with pytest.raises(RuntimeError):
        cause_of("CreateUser")
