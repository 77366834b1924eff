"""Who makes the call that is being served, for the audit trail."""

from __future__ import annotations

from mesh.auth.caller import current_caller
from mesh.telemetry.context import current_trace_id
from user_svc.domain import Cause


def cause_of(method: str, request_id: str = "") -> Cause:
    """Describes the call that is being served.

    Args:
        method: The name of the RPC.
        request_id: The request id that the caller gave, if any.

    Raises:
        RuntimeError: Nobody has been authenticated; nothing may be changed then.
    """
    caller = current_caller.get()
    if caller is None:
        raise RuntimeError("a change by nobody: the call was not authenticated")
    return Cause(caller.subject, method, request_id, current_trace_id())
