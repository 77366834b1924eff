import numpy as np
import pytest

from reco_svc.training.interactions import InteractionMatrix


def test_rows_and_columns_are_in_order_of_their_ids():
    matrix = InteractionMatrix.from_triples(["b", "a", "b"], ["y", "z", "x"], [1, 2, 3])

    assert matrix.user_ids == ("a", "b")
    assert matrix.movie_ids == ("x", "y", "z")
    columns, weights = matrix.row(1)
    assert columns.tolist() == [0, 1]
    assert weights.tolist() == [3, 1]
    assert matrix.movie_counts().tolist() == [1, 1, 1]
    assert matrix.entry_rows().tolist() == [0, 1, 1]


def test_of_repeated_interactions_the_last_counts():
    matrix = InteractionMatrix.from_triples(["a", "a", "a"], ["x", "y", "x"], [1, 1, 5])

    assert matrix.row(0)[1].tolist() == [5, 1]


def test_a_weight_of_zero_leaves_the_movie_but_no_entry():
    matrix = InteractionMatrix.from_triples(["a", "a"], ["x", "y"], [0, 1])

    assert matrix.movie_ids == ("x", "y")
    assert matrix.row(0)[0].tolist() == [1]


def test_a_later_weight_of_zero_takes_an_entry_back():
    assert InteractionMatrix.from_triples(["a", "a"], ["x", "x"], [1, 0]).nnz == 0


def test_where_keeps_users_and_movies():
    matrix = InteractionMatrix.from_triples(["a", "a", "b"], ["x", "y", "x"])

    part = matrix.where(np.array([False, True, False]))

    assert part.user_ids == matrix.user_ids
    assert part.movie_ids == matrix.movie_ids
    assert part.row_lengths().tolist() == [1, 0]
    assert part.row(0)[0].tolist() == [1]


def test_nothing_makes_an_empty_matrix():
    matrix = InteractionMatrix.from_triples([], [])

    assert (matrix.n_users, matrix.n_movies, matrix.nnz) == (0, 0, 0)


@pytest.mark.parametrize("weights", [[1.0], [1.0, float("nan")], [1.0, float("inf")]])
def test_bad_weights_are_refused(weights):
    with pytest.raises(ValueError, match=r"do not match|must be finite"):
        InteractionMatrix.from_triples(["a", "b"], ["x", "y"], weights)
