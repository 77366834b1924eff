from dataclasses import dataclass

import numpy as np
import pytest

from reco_svc.ranking.content import ContentModel, TooFewMoviesError
from reco_svc.ranking.model import Factors

GENRES = ("Comedy", "Horror", "Western")


@dataclass(frozen=True)
class Described:
    title: str
    genres: tuple[str, ...]
    year: int


def catalogue(n=150, d=8, seed=0):
    """Movies whose vectors are the directions of their genre and decade, and some noise."""
    rng = np.random.default_rng(seed)
    of_genre = rng.standard_normal((len(GENRES), d))
    of_decade = rng.standard_normal((4, d))
    movies, vectors = {}, []
    for number in range(n):
        genre, decade = rng.integers(len(GENRES)), rng.integers(4)
        movies[f"m{number}"] = Described(
            f"Story {number}", (GENRES[genre],), int(1960 + 10 * decade)
        )
        vectors.append(of_genre[genre] + of_decade[decade] + 0.2 * rng.standard_normal(d))
    out = np.array(vectors, dtype=np.float32)
    return movies, Factors(tuple(movies), 2 * out, out)


def test_hidden_movies_get_vectors_near_their_true_ones():
    movies, truth = catalogue()
    hidden = truth.movie_ids[::10]

    model = ContentModel.fit(movies, truth.without(hidden))
    predicted = model.predict([(movie, movies[movie]) for movie in hidden])

    assert predicted.movie_ids == hidden
    true_out = truth.out_vectors[::10]
    off = np.linalg.norm(predicted.out_vectors - true_out, axis=1)
    by_chance = np.linalg.norm(truth.out_vectors.mean(axis=0) - true_out, axis=1)
    assert off.mean() < 0.5 * by_chance.mean()
    np.testing.assert_allclose(predicted.in_vectors, 2 * predicted.out_vectors, atol=1e-4)


def test_words_of_the_title_tell_something():
    rng = np.random.default_rng(1)
    saga, other = rng.standard_normal((2, 8))
    movies = {f"s{n}": Described(f"Starfleet {n}", (), 0) for n in range(20)}
    movies |= {f"o{n}": Described(f"Garden {n}", (), 0) for n in range(20)}
    vectors = np.array([saga] * 20 + [other] * 20)
    factors = Factors(tuple(movies), vectors, vectors)

    model = ContentModel.fit(movies, factors)
    first, second = model.predict(
        [("a", Described("STARFLEET!", (), 0)), ("b", Described("The garden", (), 0))]
    ).out_vectors

    apart = saga - other
    assert first @ apart > second @ apart + 0.2 * apart @ apart


def test_noise_is_penalised_more_than_what_metadata_explain():
    movies, truth = catalogue()
    rng = np.random.default_rng(3)
    noise = rng.standard_normal(truth.out_vectors.shape)

    explained = ContentModel.fit(movies, truth)
    unexplained = ContentModel.fit(movies, Factors(truth.movie_ids, noise, noise))

    assert unexplained.penalty > explained.penalty


def test_what_was_never_seen_tells_nothing_and_breaks_nothing():
    movies, truth = catalogue()
    model = ContentModel.fit(movies, truth)

    predicted = model.predict(
        [
            ("odd", Described("", ("Documentary",), 0)),
            ("early", Described("Arrival", (), 1)),
            ("late", Described("¿?", (), 9999)),
            ("knot", Described("x", (), 2040)),
        ]
    )

    assert np.isfinite(predicted.out_vectors).all()
    assert len(model.predict([])) == 0


def test_genres_are_told_apart_without_case():
    movies, truth = catalogue()
    model = ContentModel.fit(movies, truth)

    one, other = model.predict(
        [("a", Described("T", ("comedy",), 1970)), ("b", Described("t", ("COMEDY",), 1970))]
    ).out_vectors

    np.testing.assert_array_equal(one, other)


def test_one_movie_is_not_enough():
    movies, truth = catalogue()

    with pytest.raises(TooFewMoviesError):
        ContentModel.fit({"m0": movies["m0"]}, truth)
