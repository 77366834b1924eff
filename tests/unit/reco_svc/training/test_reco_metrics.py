from math import log2

import pytest

from reco_svc.training.metrics import (
    coverage_at_k,
    measure_rankings,
    ndcg_at_k,
    popularity_rankings,
    recall_at_k,
)


def test_recall_is_the_share_of_what_was_held_out():
    assert recall_at_k(["a", "b", "c", "d"], {"a", "d", "x", "y"}, k=3) == 0.25


def test_ndcg_by_hand():
    gained = 1 / log2(2) + 1 / log2(4)
    ideal = 1 / log2(2) + 1 / log2(3) + 1 / log2(4)

    assert ndcg_at_k(["a", "x", "b"], {"a", "b", "c"}, k=3) == pytest.approx(gained / ideal)


@pytest.mark.parametrize("relevant", [{"a"}, {"a", "b"}, {"a", "b", "c", "d"}])
def test_the_ideal_list_scores_one_however_much_was_held_out(relevant):
    assert ndcg_at_k(sorted(relevant), relevant, k=3) == pytest.approx(1)


def test_coverage_counts_each_movie_once():
    assert coverage_at_k([["a", "b"], ["b", "c"]], catalogue_size=8, k=2) == 3 / 8
    assert coverage_at_k([], catalogue_size=0) == 0


def test_users_without_held_out_movies_do_not_count_and_those_without_a_list_do():
    quality = measure_rankings(
        {"a": ["x"], "b": ["y"]},
        {"a": ["x"], "b": [], "c": ["z"]},
        catalogue_size=3,
        k=1,
    )

    assert quality.users == 2
    assert quality.ndcg == 0.5
    assert quality.recall == 0.5
    assert quality.coverage == pytest.approx(1 / 3)


def test_nobody_to_measure_is_zero_and_no_error():
    assert measure_rankings({}, {}, catalogue_size=0).ndcg == 0


def test_popularity_leaves_out_what_the_user_knows():
    known = {"a": ["x", "y"], "b": ["x", "y"], "c": ["x", "z"]}

    rankings = popularity_rankings(known, ["a", "c", "new"], k=2)

    assert rankings == {"a": ["z"], "c": ["y"], "new": ["x", "y"]}
