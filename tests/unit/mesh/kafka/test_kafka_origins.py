from types import SimpleNamespace
from uuid import UUID

import pytest
from kafka import TopicPartition

from mesh.kafka.consumer.origins import Origins, SessionLostError

P0 = TopicPartition("topic", 0)
P1 = TopicPartition("topic", 1)
OLD, NEW = UUID(int=1), UUID(int=2)


class Metadata:
    """What a client knows of a cluster, as far as it matters here."""

    def __init__(self) -> None:
        self.ids: dict[str, UUID | None] = {"topic": OLD}
        self.need_update = False

    def topic_id(self, topic: str) -> UUID | None:
        return self.ids.get(topic)


@pytest.fixture
def metadata():
    return Metadata()


@pytest.fixture
def origins(metadata):
    return Origins(SimpleNamespace(cluster=metadata))


def test_offsets_are_good_for_the_member_and_the_log_they_come_from(origins):
    origins.note([P0], "me")
    origins.verify()
    assert origins.vouch_for(P0, "me")
    assert not origins.vouch_for(P1, "me")
    assert not origins.vouch_for(P0, "me again")


def test_nothing_is_vouched_for_until_metadata_has_come_back(origins, metadata):
    origins.note([P0], "me")
    metadata.need_update = True
    assert origins.in_doubt()
    assert not origins.vouch_for(P0, "me")
    metadata.need_update = False
    assert origins.vouch_for(P0, "me")


@pytest.mark.parametrize("now", [NEW, None], ids=["made anew", "gone"])
def test_a_topic_that_is_not_the_same_ends_the_session(origins, metadata, now):
    origins.note([P0], "me")
    metadata.ids["topic"] = now
    assert not origins.vouch_for(P0, "me")
    with pytest.raises(SessionLostError, match="topic topic is not the one it was"):
        origins.verify()


def test_a_new_identity_with_old_positions_ends_the_session(origins):
    origins.note([P0, P1], "me")
    origins.note([P0], "me")
    with pytest.raises(SessionLostError, match="new identity"):
        origins.note([P0], "somebody")


def test_what_was_given_up_may_come_back_under_any_identity(origins, metadata):
    origins.note([P0], "me")
    origins.forget([P0])
    metadata.ids["topic"] = NEW
    origins.verify()
    origins.note([P0], "somebody")
    assert origins.vouch_for(P0, "somebody")


def test_brokers_without_topic_ids_are_taken_at_their_word(origins, metadata):
    metadata.ids.clear()
    origins.note([P0], "me")
    origins.verify()
    assert origins.vouch_for(P0, "me")
