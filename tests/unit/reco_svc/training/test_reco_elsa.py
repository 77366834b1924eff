import numpy as np
import pytest

from reco_svc.training import elsa
from reco_svc.training.elsa import ElsaConfig, train_elsa
from reco_svc.training.interactions import InteractionMatrix

SMALL = ElsaConfig(factors=8, epochs=3, batch_size=16, seed=5)


def some_interactions(users=40, movies=30, seed=0):
    rng = np.random.default_rng(seed)
    rows = [
        (str(user), str(movie))
        for user in range(users)
        for movie in rng.choice(movies, rng.integers(1, 12), replace=False)
    ]
    return InteractionMatrix.from_triples([u for u, _ in rows], [m for _, m in rows])


def test_vectors_have_unit_length_and_are_the_same_in_and_out():
    factors = train_elsa(some_interactions(), SMALL)

    assert factors.in_vectors.shape == (30, 8)
    np.testing.assert_allclose(np.linalg.norm(factors.in_vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(factors.in_vectors, factors.out_vectors)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not():
    first, second = (train_elsa(some_interactions(), SMALL) for _ in range(2))
    other = train_elsa(some_interactions(), ElsaConfig(factors=8, epochs=3, batch_size=16, seed=6))

    assert first.out_vectors.tobytes() == second.out_vectors.tobytes()
    assert first.out_vectors.tobytes() != other.out_vectors.tobytes()


def test_progress_hears_of_every_epoch_and_a_falling_loss():
    heard = []

    train_elsa(
        some_interactions(),
        ElsaConfig(factors=8, epochs=12, batch_size=16, dropout=0),
        lambda *report: heard.append(report),
    )

    assert [(done, total) for done, total, _ in heard] == [(n, 12) for n in range(1, 13)]
    assert 0 < heard[-1][2] < heard[0][2] < 4


def test_progress_can_end_the_training():
    class StoppedError(Exception):
        pass

    def stop(*_):
        raise StoppedError

    with pytest.raises(StoppedError):
        train_elsa(some_interactions(), SMALL, stop)


@pytest.mark.parametrize("rows", [[], [("a", "x")], [("a", "x"), ("b", "y")]])
def test_where_nothing_can_be_learnt_vectors_are_still_sound(rows):
    matrix = InteractionMatrix.from_triples([u for u, _ in rows], [m for _, m in rows])

    assert len(train_elsa(matrix, SMALL)) == matrix.n_movies


@pytest.mark.parametrize(
    "wrong",
    [{"factors": 0}, {"epochs": 0}, {"batch_size": -1}, {"learning_rate": 0}, {"dropout": 1}],
)
def test_impossible_configurations_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ElsaConfig(**wrong)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_loss_and_gradient_are_those_of_the_dense_formula(dropout):
    matrix = some_interactions(users=12, movies=15)
    users = np.flatnonzero(matrix.row_lengths() >= 2)
    batch = elsa._Batch.draw(matrix, users, dropout, np.random.default_rng(1))
    batch = elsa._Batch(batch.movies, batch.whole.astype(float), batch.shown.astype(float))
    weights = np.linspace(0.5, 1.5, len(users))
    vectors = np.random.default_rng(2).standard_normal((15, 4))

    def dense_loss(vectors):
        whole, shown = np.zeros((len(users), 15)), np.zeros((len(users), 15))
        whole[:, batch.movies], shown[:, batch.movies] = batch.whole, batch.shown
        guess = shown @ vectors @ vectors.T - shown
        lengths = np.maximum(np.linalg.norm(guess, axis=1, keepdims=True), 1e-9)
        return float(weights @ ((whole - guess / lengths) ** 2).sum(axis=1))

    # A user of whom nothing is shown has no direction to compare; the formula says 2 for them.
    blank = ~batch.shown.any(axis=1)
    loss, gradient = elsa._loss_and_gradient(vectors, batch, weights)
    assert loss == pytest.approx(dense_loss(vectors) + weights[blank].sum())

    step = 1e-5
    for row, column in [(0, 0), (7, 2), (14, 3)]:
        nudge = np.zeros_like(vectors)
        nudge[row, column] = step
        slope = (dense_loss(vectors + nudge) - dense_loss(vectors - nudge)) / (2 * step)
        assert gradient[row, column] == pytest.approx(slope, abs=1e-6)


def test_batches_hold_no_more_columns_than_their_interactions():
    matrix = some_interactions()

    batch = elsa._Batch.draw(matrix, np.array([3, 1]), 0.0, np.random.default_rng(0))

    assert batch.movies.tolist() == sorted({*matrix.row(3)[0], *matrix.row(1)[0]})
    assert set(batch.movies[batch.whole[0] > 0]) == set(matrix.row(3)[0])
    np.testing.assert_allclose(np.linalg.norm(batch.whole, axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(batch.whole, batch.shown)
