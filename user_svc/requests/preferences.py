"""Requests that change preferences: every bad field is named."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf import field_mask_pb2
from marquee.user.v1 import user_pb2

from mesh.validation import Violations
from user_svc.domain import PREFERENCE_FIELDS, Preferences, TopicPreference
from user_svc.requests.texts import check_line
from user_svc.wire import CHANNELS

_MAX_GENRES = 100
_MAX_LANGUAGES = 50
_MAX_TOPICS = 100
_MAX_WORD = 64
_MAX_CHANNELS = 16


def read_preferences_mask(check: Violations, mask: field_mask_pb2.FieldMask) -> frozenset[str]:
    """Reads the update mask of UpdatePreferences."""
    return check.mask("update_mask", mask, PREFERENCE_FIELDS)


def read_preferences(
    check: Violations, preferences: user_pb2.Preferences, fields: frozenset[str]
) -> Preferences:
    """Reads the named fields of `request.preferences`; see `read_profile`."""
    for name in ("liked_genres", "disliked_genres"):
        if name in fields:
            _check_words(check, f"preferences.{name}", getattr(preferences, name), _MAX_GENRES)
    if "languages" in fields:
        languages = preferences.languages
        check.count("preferences.languages", len(languages), maximum=_MAX_LANGUAGES)
        for index, language in enumerate(languages[:_MAX_LANGUAGES]):
            check.language(f"preferences.languages[{index}]", language)
        _check_unique(check, "preferences.languages", languages[:_MAX_LANGUAGES])
    topics: tuple[TopicPreference, ...] = ()
    if "topics" in fields:
        topics = _read_topics(check, preferences.topics)
    return Preferences(
        liked_genres=tuple(preferences.liked_genres[:_MAX_GENRES]),
        disliked_genres=tuple(preferences.disliked_genres[:_MAX_GENRES]),
        languages=tuple(preferences.languages[:_MAX_LANGUAGES]),
        topics=topics,
    )


def _read_topics(
    check: Violations, topics: Sequence[user_pb2.TopicPreference]
) -> tuple[TopicPreference, ...]:
    check.count("preferences.topics", len(topics), maximum=_MAX_TOPICS)
    names = [topic.topic for topic in topics[:_MAX_TOPICS]]
    _check_words(check, "preferences.topics", names, _MAX_TOPICS, suffix=".topic")
    found = []
    for index, topic in enumerate(topics[:_MAX_TOPICS]):
        channels = []
        check.count(
            f"preferences.topics[{index}].muted_channels",
            len(topic.muted_channels),
            maximum=_MAX_CHANNELS,
        )
        for position, number in enumerate(topic.muted_channels[:_MAX_CHANNELS]):
            path = f"preferences.topics[{index}].muted_channels[{position}]"
            channel = CHANNELS.get(number)
            if channel is None:
                check.add(path, f"is not a channel: {number}")
            elif channel in channels:
                check.add(path, "repeats an earlier entry")
            else:
                channels.append(channel)
        found.append(TopicPreference(topic.topic, tuple(channels)))
    return tuple(found)


def _check_words(
    check: Violations, field: str, words: Sequence[str], maximum: int, *, suffix: str = ""
) -> None:
    check.count(field, len(words), maximum=maximum)
    for index, word in enumerate(words[:maximum]):
        check_line(check, f"{field}[{index}]{suffix}", word, maximum=_MAX_WORD)
    _check_unique(check, field, words[:maximum], suffix=suffix)


def _check_unique(check: Violations, field: str, words: Sequence[str], *, suffix: str = "") -> None:
    seen: set[str] = set()
    for index, word in enumerate(words):
        if word in seen:
            check.add(f"{field}[{index}]{suffix}", "repeats an earlier entry")
        seen.add(word)
