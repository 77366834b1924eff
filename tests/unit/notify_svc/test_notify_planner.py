from datetime import UTC, datetime

import pytest

from notify_svc.domain import Channel, ListChange, NamedMovie, Outcome, Recipient
from notify_svc.planner import plan_list_change

NOW = datetime(2026, 11, 1, tzinfo=UTC)
CHANGE = ListChange("event1", "ada", (NamedMovie("m1", "Heat"), NamedMovie("m2", "Fargo")))


def recipient(*muted: Channel, topic: str = "recommendations") -> Recipient:
    return Recipient("ada", version=1, muted={topic: frozenset(muted)})


def test_ids_follow_from_event_person_and_channel() -> None:
    one = plan_list_change(CHANGE, recipient(), moment=NOW)
    again = plan_list_change(CHANGE, recipient(), moment=NOW)
    assert one == again
    other_event = ListChange("event2", "ada", CHANGE.movies)
    other_person = ListChange("event1", "bob", CHANGE.movies)
    plans = [
        plan_list_change(change, Recipient(change.user_id), moment=NOW)
        for change in (CHANGE, other_event, other_person)
    ]
    ids = [plan.notification.id for plan in plans if plan.notification]
    ids += [delivery.id for plan in plans for delivery in plan.deliveries]
    assert len(set(ids)) == len(ids) == 9


@pytest.mark.parametrize(
    ("muted", "listed", "streamed"),
    [
        ((), True, True),
        ((Channel.STREAM,), True, False),
        ((Channel.INBOX,), False, True),
    ],
)
def test_muted_channels_are_honoured(
    muted: tuple[Channel, ...], listed: bool, streamed: bool
) -> None:
    plan = plan_list_change(CHANGE, recipient(*muted), moment=NOW)
    assert plan.notification is not None
    assert (plan.notification.listed, plan.notification.streamed) == (listed, streamed)
    assert plan.notification.movie_ids == ("m1", "m2")
    outcomes = {delivery.channel: delivery.outcome for delivery in plan.deliveries}
    assert outcomes == {
        channel: Outcome.SUPPRESSED if channel in muted else Outcome.DELIVERED
        for channel in Channel
    }


@pytest.mark.parametrize(
    "nobody", [recipient(Channel.INBOX, Channel.STREAM), Recipient("ada", 3, deleted=True)]
)
def test_nothing_but_the_suppression_is_kept_for_who_wants_nothing(nobody: Recipient) -> None:
    plan = plan_list_change(CHANGE, nobody, moment=NOW)
    assert plan.notification is None
    assert {delivery.outcome for delivery in plan.deliveries} == {Outcome.SUPPRESSED}
    assert len(plan.deliveries) == len(Channel)


def test_other_topics_may_be_muted() -> None:
    plan = plan_list_change(CHANGE, recipient(*Channel, topic="news"), moment=NOW)
    assert plan.notification is not None
