"""Accounts as the contracts write them."""

from __future__ import annotations

from collections.abc import Mapping

from marquee.user.v1 import user_pb2
from marquee.user.v1 import user_service_pb2 as pb

from mesh.times import to_timestamp
from user_svc.domain import Account, Change, Channel

CHANNELS: Mapping[int, Channel] = {
    user_pb2.CHANNEL_INBOX: Channel.INBOX,
    user_pb2.CHANNEL_STREAM: Channel.STREAM,
}
_NUMBERS: Mapping[Channel, user_pb2.Channel] = {
    Channel.INBOX: user_pb2.CHANNEL_INBOX,
    Channel.STREAM: user_pb2.CHANNEL_STREAM,
}


def to_user(account: Account) -> user_pb2.User:
    """Returns the user of an account."""
    profile = account.profile
    return user_pb2.User(
        id=account.user_id,
        display_name=profile.display_name,
        email=profile.email,
        locale=profile.locale,
        time_zone=profile.time_zone,
        attributes=profile.attributes,
        create_time=to_timestamp(account.create_time),
        update_time=to_timestamp(account.profile_time),
        etag=account.profile_etag,
    )


def to_preferences(account: Account) -> user_pb2.Preferences:
    """Returns the preferences of an account."""
    preferences = account.preferences
    moment = account.preferences_time
    return user_pb2.Preferences(
        user_id=account.user_id,
        liked_genres=preferences.liked_genres,
        disliked_genres=preferences.disliked_genres,
        languages=preferences.languages,
        topics=[
            user_pb2.TopicPreference(
                topic=topic.topic,
                muted_channels=[_NUMBERS[channel] for channel in topic.muted_channels],
            )
            for topic in preferences.topics
        ],
        update_time=None if moment is None else to_timestamp(moment),
        etag=account.preferences_etag,
    )


def to_user_change(change: Change) -> pb.UserChange:
    """Returns an entry of the audit trail."""
    cause = change.cause
    return pb.UserChange(
        user_id=change.user_id,
        version=change.version,
        change_time=to_timestamp(change.moment),
        actor=cause.actor,
        method=cause.method,
        fields=change.fields,
        etag=change.etag,
        request_id=cause.request_id,
        trace_id=cause.trace_id,
    )
