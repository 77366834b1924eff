import numpy as np
import pytest

from reco_svc.ranking.model import user_vector
from reco_svc.training.elsa import ElsaConfig
from reco_svc.training.interactions import InteractionMatrix
from reco_svc.training.trainer import (
    NothingToTrainOnError,
    TrainerConfig,
    rank_for_everyone,
    train,
)

CLUSTERS, MOVIES, PER_USER = 6, 120, 16


@pytest.fixture(scope="module")
def clustered():
    """People who like one sixth of the movies, and now and then something popular elsewhere."""
    rng = np.random.default_rng(0)
    popularity = rng.permutation(1 / np.arange(1, MOVIES + 1) ** 0.5)
    users, movies = [], []
    for user in range(180):
        taste = np.where(np.arange(MOVIES) % CLUSTERS == user % CLUSTERS, 1.0, 0.05) * popularity
        for movie in rng.choice(MOVIES, PER_USER, replace=False, p=taste / taste.sum()):
            users.append(f"u{user}")
            movies.append(f"m{movie}")
    return InteractionMatrix.from_triples(users, movies)


@pytest.fixture(scope="module")
def trained(clustered):
    return train(clustered, TrainerConfig(seed=1))


def test_the_model_beats_popularity_clearly(trained):
    metrics = trained.metrics

    assert metrics["ndcg@10"] > 1.5 * metrics["popularity.ndcg@10"] > 0
    assert metrics["recall@10"] > 1.5 * metrics["popularity.recall@10"]
    assert 1 >= metrics["coverage@10"] > metrics["popularity.coverage@10"]


def test_the_model_is_fitted_on_everything_and_says_how(trained, clustered):
    assert trained.factors.movie_ids == clustered.movie_ids
    assert trained.parameters["trainer"] == "elsa"
    assert trained.parameters["dimension"] == str(trained.factors.dimension)
    assert all(isinstance(value, str) for value in trained.parameters.values())


def test_measuring_can_be_skipped_and_changes_nothing_in_the_model(clustered):
    elsa = ElsaConfig(factors=8, epochs=2)

    measured = train(clustered, TrainerConfig(seed=4, elsa=elsa))
    unmeasured = train(clustered, TrainerConfig(seed=4, elsa=elsa, holdout_fraction=0))

    assert unmeasured.metrics == {}
    np.testing.assert_array_equal(unmeasured.factors.out_vectors, measured.factors.out_vectors)


@pytest.mark.parametrize("holdout_fraction", [0, 0.25])
def test_progress_rises_to_one(clustered, holdout_fraction):
    shares = []

    train(
        clustered,
        TrainerConfig(holdout_fraction=holdout_fraction, elsa=ElsaConfig(factors=4, epochs=3)),
        shares.append,
    )

    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert len(shares) == (6 if holdout_fraction else 3)


@pytest.mark.parametrize("rows", [[], [("a", "x"), ("b", "x")]])
def test_without_a_user_of_two_movies_there_is_nothing_to_train_on(rows):
    matrix = InteractionMatrix.from_triples([u for u, _ in rows], [m for _, m in rows])

    with pytest.raises(NothingToTrainOnError):
        train(matrix, TrainerConfig())


def test_everyone_is_ranked_what_they_do_not_know_by_score(trained, clustered):
    factors = trained.factors
    rankings = rank_for_everyone(factors, clustered, 10)

    for user in (0, 77, 179):
        columns, weights = clustered.row(user)
        scores = factors.out_vectors @ user_vector(factors, columns, weights)
        scores[columns] = -np.inf
        np.testing.assert_allclose(
            scores[rankings[user]], np.sort(scores)[::-1][:10], rtol=0, atol=1e-5
        )
    assert list(rankings) == list(range(clustered.n_users))
