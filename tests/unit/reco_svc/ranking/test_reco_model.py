import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from reco_svc.index.movie_index import MovieIndex
from reco_svc.ranking.model import (
    INTERACTION_WEIGHTS,
    Factors,
    InvalidVectorError,
    checked_vector,
    collect_factors,
    contributions,
    user_vector,
)


def some_factors(n=6, d=3, seed=0):
    rng = np.random.default_rng(seed)
    names = tuple(f"m{row}" for row in range(n))
    return Factors(names, rng.standard_normal((n, d)), rng.standard_normal((n, d)))


@st.composite
def served(draw):
    n, d = draw(st.integers(2, 25)), draw(st.integers(1, 16))
    numbers = st.floats(-3, 3, width=32)
    vectors = hnp.arrays(np.float32, (n, d), elements=numbers)
    factors = Factors(tuple(f"{row:02}" for row in range(n)), draw(vectors), draw(vectors))
    rows = draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=n - 1, unique=True))
    weights = draw(hnp.arrays(np.float64, len(rows), elements=st.floats(-2, 2)))
    return factors, np.array(rows), weights


@given(served())
def test_contributions_sum_to_the_served_score(case):
    factors, rows, weights = case
    index = MovieIndex(factors)

    best, scores = index.search(user_vector(factors, rows, weights), len(factors), excluded=rows)

    assert len(best) == len(factors) - len(rows)
    for row, score in zip(best, scores, strict=True):
        parts = contributions(factors, rows, weights, int(row))
        assert parts.shape == (len(rows),)
        assert abs(parts.sum() - score) < 1e-5


@given(served(), st.floats(0.01, 100))
def test_a_user_vector_has_unit_length_whatever_the_weights_are_measured_in(case, unit):
    factors, rows, weights = case

    vector = user_vector(factors, rows, weights)

    length = np.linalg.norm(vector)
    assert vector.dtype == np.float32
    assert length == pytest.approx(1, abs=1e-5) or not vector.any()
    if np.linalg.norm(weights @ factors.in_vectors[rows].astype(float)) > 1e-3:
        np.testing.assert_allclose(user_vector(factors, rows, weights * unit), vector, atol=1e-5)


def test_who_did_nothing_that_counts_has_no_direction():
    factors = some_factors()

    assert not user_vector(factors, np.array([], int), np.array([])).any()
    assert not user_vector(factors, np.array([1, 2]), np.array([0.0, 0.0])).any()
    assert contributions(factors, np.array([1]), np.array([0.0]), 2).tolist() == [0]


def test_what_speaks_against_a_movie_is_negative():
    factors = Factors(("a", "b", "c"), np.eye(3)[:, :2], np.array([[1, 0], [0, 1], [1, -1]]))

    parts = contributions(factors, np.array([0, 1]), np.array([1.0, 1.0]), 2)

    assert parts == pytest.approx([2**-0.5, -(2**-0.5)])


def test_every_interaction_type_has_a_weight():
    assert set(INTERACTION_WEIGHTS) == {"view", "watch", "rating", "like", "dislike", "skip"}
    assert INTERACTION_WEIGHTS["dislike"] == INTERACTION_WEIGHTS["skip"] == 0


def test_factors_are_copied_from_nobody_and_written_by_nobody():
    factors = some_factors()

    with pytest.raises(ValueError, match="read-only"):
        factors.out_vectors[0, 0] = 1
    assert factors.in_vectors.dtype == np.float32


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf, 1e9])
@pytest.mark.parametrize("side", ["in", "out"])
def test_factors_with_a_damaged_vector_are_refused_by_name(poison, side):
    sound, damaged = np.ones((3, 2)), np.ones((3, 2))
    damaged[1, 0] = poison
    vectors = (damaged, sound) if side == "in" else (sound, damaged)

    with pytest.raises(InvalidVectorError, match="the first is b"):
        Factors(("a", "b", "c"), *vectors)


@pytest.mark.parametrize(
    ("ids", "inner", "outer"),
    [
        (("a", "a"), (2, 3), (2, 3)),
        (("a", "b"), (3, 3), (2, 3)),
        (("a", "b"), (2, 3), (2, 4)),
        (("a", "b"), (2,), (2,)),
    ],
)
def test_factors_that_do_not_fit_together_are_refused(ids, inner, outer):
    with pytest.raises(ValueError, match=r"repeat|shape"):
        Factors(ids, np.ones(inner), np.ones(outer))


def test_poisoned_embeddings_are_left_out_and_reported():
    collected = collect_factors(
        [
            ("good", [1, 2], [3, 4]),
            ("nan", [1, np.nan], [3, 4]),
            ("infinite", [1, 2], [np.inf, 4]),
            ("short", [1], [3, 4]),
            ("nested", [1, 2], [[3, 4]]),
            ("overflows", [1, 1e300], [3, 4]),
            ("long", [1, 2], [1e7, 4]),
        ],
        dimension=2,
    )

    assert collected.factors.movie_ids == ("good",)
    assert collected.factors.out_vectors.tolist() == [[3, 4]]
    reasons = {rejected.movie_id: rejected.reason for rejected in collected.rejected}
    assert list(reasons) == ["nan", "infinite", "short", "nested", "overflows", "long"]
    assert "not finite" in reasons["nan"]
    assert "shape" in reasons["short"]
    assert "longer" in reasons["long"]


def test_nothing_collected_is_an_empty_model_of_the_right_length():
    collected = collect_factors([("nan", [np.nan], [1])], dimension=1)

    assert len(collected.factors) == 0
    assert collected.factors.dimension == 1
    assert len(MovieIndex(collected.factors)) == 0


def test_a_vector_that_is_none_at_all_is_refused():
    with pytest.raises(InvalidVectorError):
        checked_vector("north", 2)


def test_updated_replaces_and_adds():
    old, new = some_factors(3, seed=0), some_factors(4, seed=1)
    newer = Factors(("m2", "x"), new.in_vectors[2:], new.out_vectors[2:])

    updated = old.updated(newer)

    assert updated.movie_ids == ("m0", "m1", "m2", "x")
    np.testing.assert_array_equal(updated.out_vectors[2], new.out_vectors[2])
    np.testing.assert_array_equal(updated.out_vectors[0], old.out_vectors[0])
    assert updated.without(["m0", "nobody"]).movie_ids == ("m1", "m2", "x")
    with pytest.raises(ValueError, match="length"):
        old.updated(some_factors(2, d=5))


def test_sorted_by_id_moves_vectors_with_their_ids():
    factors = some_factors(3)
    shuffled = Factors(("c", "a", "b"), factors.in_vectors, factors.out_vectors)

    ordered = shuffled.sorted_by_id()

    assert ordered.movie_ids == ("a", "b", "c")
    np.testing.assert_array_equal(ordered.in_vectors, factors.in_vectors[[1, 2, 0]])
