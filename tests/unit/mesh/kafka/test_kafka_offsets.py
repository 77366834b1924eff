import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import TopicPartition

from mesh.kafka.consumer.offsets import OffsetLedger, OffsetTracker, PartitionLag

P0 = TopicPartition("topic", 0)
P1 = TopicPartition("topic", 1)


@st.composite
def histories(draw):
    """Offsets with gaps, as compaction leaves them, finished in any order, in between."""
    gaps = draw(st.lists(st.integers(1, 5), min_size=1, max_size=40))
    start = draw(st.integers(0, 1000))
    offsets = [start + sum(gaps[:i]) for i in range(len(gaps))]
    steps = []
    todo, open_ = list(offsets), []
    while todo or open_:
        if todo and (not open_ or draw(st.booleans())):
            open_.append(todo[0])
            steps.append(("hand over", todo.pop(0)))
        else:
            steps.append(("finish", open_.pop(draw(st.integers(0, len(open_) - 1)))))
        if draw(st.integers(0, 9)) == 0:
            break
    return start, steps


@given(histories())
def test_a_commit_covers_finished_records_only_and_all_that_it_may(history):
    start, steps = history
    tracker = OffsetTracker(start)
    handed_over, finished = [], set()
    previous = tracker.committable
    for what, offset in steps:
        if what == "hand over":
            tracker.hand_over(offset)
            handed_over.append(offset)
        else:
            tracker.finish(offset)
            finished.add(offset)
        unfinished = [o for o in handed_over if o not in finished]
        expected = min(unfinished) if unfinished else (handed_over[-1] + 1)
        assert tracker.committable == expected
        assert tracker.committable >= previous
        assert tracker.pending == len([o for o in handed_over if o >= tracker.committable])
        previous = tracker.committable


def test_offsets_do_not_go_back():
    tracker = OffsetTracker(5)
    tracker.hand_over(5)
    with pytest.raises(ValueError, match="offset 5 comes after 5"):
        tracker.hand_over(5)
    with pytest.raises(ValueError, match="offset 4 comes after 5"):
        tracker.hand_over(4)


def test_an_offset_is_finished_once():
    tracker = OffsetTracker(0)
    tracker.hand_over(0)
    tracker.hand_over(1)
    tracker.finish(1)
    with pytest.raises(ValueError, match="offset 1 is not open"):
        tracker.finish(1)
    with pytest.raises(ValueError, match="offset 7 is not open"):
        tracker.finish(7)


def test_the_ledger_offers_what_moved_since_the_last_commit():
    ledger = OffsetLedger()
    first = ledger.hand_over(P0, 10)
    ledger.hand_over(P1, 0)
    assert ledger.uncommitted() == {P0: 10, P1: 0}

    ledger.mark_committed({P0: 10, P1: 0})
    assert ledger.uncommitted() == {}

    ledger.finish(first, 10)
    assert ledger.uncommitted() == {P0: 11}
    assert ledger.uncommitted([P1]) == {}
    assert ledger.committed(P0) == 10
    ledger.mark_committed({P0: 11})
    assert ledger.committed(P0) == 11
    assert ledger.uncommitted() == {}


def test_what_is_forgotten_is_never_committed_even_if_it_finishes_later():
    ledger = OffsetLedger()
    old = ledger.hand_over(P0, 100)
    ledger.forget([P0])
    new = ledger.hand_over(P0, 3)
    assert new is not old

    ledger.finish(old, 100)
    assert ledger.uncommitted() == {P0: 3}
    ledger.forget()
    ledger.mark_committed({P0: 3})
    assert ledger.uncommitted() == {}
    assert ledger.committed(P0) is None
    assert ledger.pending(P0) == 0


def test_lag_counts_what_is_published_and_not_known_to_be_handled():
    assert PartitionLag(committed=3, position=8, end=10).records == 7
    assert PartitionLag(committed=12, position=12, end=10).records == 0
