"""What the user service tells the mesh."""

from __future__ import annotations

from datetime import datetime

from marquee.events.v1 import events_pb2

from mesh.events import Event, new_event
from mesh.times import to_timestamp
from user_svc.domain import Account
from user_svc.wire import to_preferences, to_user

SOURCE = "/marquee/user"


def user_changed(account: Account) -> Event:
    """Announces an account as it is now."""
    message = events_pb2.UserChanged(
        user=to_user(account), preferences=to_preferences(account), version=account.version
    )
    return new_event(SOURCE, account.user_id, account.version, message)


def user_deleted(user_id: str, *, version: int, moment: datetime) -> Event:
    """Announces a deletion."""
    message = events_pb2.UserDeleted(
        user_id=user_id, delete_time=to_timestamp(moment), version=version
    )
    return new_event(SOURCE, user_id, version, message)
