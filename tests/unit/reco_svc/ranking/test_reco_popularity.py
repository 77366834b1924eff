from datetime import UTC, datetime, timedelta

import pytest

from reco_svc.ranking.popularity import Popularity

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def days_ago(days):
    return NOW - timedelta(days=days)


def popularity(half_life=10.0):
    return Popularity(half_life, now=lambda: NOW)


def test_an_interaction_halves_with_every_half_life():
    counts = popularity()
    counts.add([("new", days_ago(0)), ("old", days_ago(10)), ("older", days_ago(20))])

    assert counts.top(3) == [
        ("new", pytest.approx(1)),
        ("old", pytest.approx(0.5)),
        ("older", pytest.approx(0.25)),
    ]


def test_many_old_interactions_outweigh_one_new_one_until_they_fade():
    counts = popularity()
    counts.add([("old", days_ago(10))] * 3 + [("new", days_ago(0))])
    assert counts.top(1)[0][0] == "old"

    counts = popularity(half_life=1.0)
    counts.add([("old", days_ago(10))] * 3 + [("new", days_ago(0))])
    assert counts.top(1)[0][0] == "new"


def test_the_order_of_counting_does_not_matter():
    rows = [("a", days_ago(3)), ("b", days_ago(40)), ("a", days_ago(70)), ("c", days_ago(0))]
    forwards, backwards = popularity(), popularity()
    forwards.add(rows)
    for row in reversed(rows):
        backwards.add([row])

    assert [m for m, _ in forwards.top(3)] == [m for m, _ in backwards.top(3)]
    for movie in "abc":
        assert forwards.score(movie) == pytest.approx(backwards.score(movie))


@pytest.mark.parametrize("newest_first", [True, False])
def test_decades_of_short_half_lives_neither_overflow_nor_lose_the_decay(newest_first):
    counts = popularity(half_life=0.5)
    rows = [("ancient", days_ago(10_000)), ("old", days_ago(1)), ("new", days_ago(0))]
    counts.add(reversed(rows) if newest_first else rows)

    assert [movie for movie, _ in counts.top(3)] == ["new", "old", "ancient"]
    assert counts.score("new") == pytest.approx(1)
    assert counts.score("old") == pytest.approx(0.25)
    assert counts.score("ancient") == pytest.approx(0)


def test_a_time_in_the_future_counts_as_now():
    counts = popularity()
    counts.add([("sound", days_ago(0))] * 2 + [("wrong clock", NOW + timedelta(days=30_000))])

    assert counts.top(1) == [("sound", pytest.approx(2))]


def test_scores_of_a_data_set_of_the_past_read_as_those_of_today():
    counts = popularity()
    counts.add([("a", datetime(1998, 4, 1, tzinfo=UTC))])

    assert counts.score("a") == pytest.approx(1)


def test_left_out_unknown_and_equal_movies():
    counts = popularity()
    counts.add([("b", NOW), ("a", NOW), ("c", NOW)])

    assert [movie for movie, _ in counts.top(2, without=["a"])] == ["b", "c"]
    assert counts.score("nobody saw this") == 0
    assert counts.top(0) == []
    assert popularity().top(5) == []
