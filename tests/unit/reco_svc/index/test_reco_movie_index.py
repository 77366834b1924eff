import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reco_svc.index import movie_index
from reco_svc.index.movie_index import MovieIndex, use_one_thread_per_search
from reco_svc.ranking.model import Factors, InvalidVectorError


def some_factors(n, d=8, seed=0):
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((n, d)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Factors(tuple(f"m{row:05}" for row in range(n)), vectors, vectors)


FACTORS = some_factors(300)
INDEXES = {kind: MovieIndex(FACTORS, kind=kind) for kind in ("exact", "hnsw")}


def brute_force(query, k, allowed=None, excluded=()):
    matching = np.ones(len(FACTORS), bool) if allowed is None else allowed.copy()
    matching[list(excluded)] = False
    scores = FACTORS.out_vectors[matching] @ query
    return matching, np.sort(scores)[::-1][:k]


@pytest.fixture(params=["plans", "selectors only"])
def both_paths(request, monkeypatch):
    """Narrow masks are scanned; without that they reach the selectors in these small indexes."""
    if request.param == "selectors only":
        monkeypatch.setattr(movie_index, "_SCAN_UP_TO", 0)
        monkeypatch.setattr(movie_index, "_SCAN_SHARE", 0.0)


@st.composite
def questions(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    query = rng.standard_normal(8).astype(np.float32)
    k = draw(st.integers(0, 320))
    share = draw(st.sampled_from([None, 0.0, 0.01, 0.3, 1.0]))
    allowed = None if share is None else rng.random(len(FACTORS)) < share
    excluded = draw(st.none() | st.lists(st.integers(0, len(FACTORS) - 1), max_size=300))
    return query, k, allowed, excluded


@pytest.mark.parametrize("kind", ["exact", "hnsw"])
@pytest.mark.usefixtures("both_paths")
def test_masked_search_equals_brute_force(kind):
    index = INDEXES[kind]

    @settings(max_examples=60, deadline=None)
    @given(questions())
    def check(question):
        query, k, allowed, excluded = question
        rows, scores = index.search(
            query,
            k,
            allowed=allowed,
            excluded=None if excluded is None else np.array(excluded, int),
        )
        matching, best = brute_force(query, k, allowed, excluded or ())
        # Never fewer than k while matches exist, never one that does not match, none twice.
        assert len(rows) == len(scores) == min(k, matching.sum())
        assert matching[rows].all()
        assert len(set(rows.tolist())) == len(rows)
        np.testing.assert_allclose(scores, FACTORS.out_vectors[rows] @ query, atol=1e-5)
        assert (np.diff(scores) <= 0).all()
        if kind == "exact":
            np.testing.assert_allclose(scores, best, atol=1e-5)

    check()


def test_a_graph_finds_nearly_all_of_the_best():
    factors = some_factors(3000, d=16)
    index = MovieIndex(factors, kind="hnsw")
    rng = np.random.default_rng(1)
    found = 0
    for _ in range(50):
        query = rng.standard_normal(16).astype(np.float32)
        allowed = rng.random(3000) < 0.7
        rows, _ = index.search(query, 10, excluded=np.flatnonzero(~allowed))
        scores = np.where(allowed, factors.out_vectors @ query, -np.inf)
        found += len(set(rows.tolist()) & set(np.argsort(-scores)[:10].tolist()))
    assert found >= 0.97 * 500


def test_what_a_graph_cannot_reach_is_scanned(monkeypatch):
    monkeypatch.setattr(movie_index, "_HNSW_SEARCH_EFFORT", 1)
    index = INDEXES["hnsw"]
    query = np.ones(8, np.float32)
    best = np.argsort(-(FACTORS.out_vectors @ query))

    # Everything near the query is excluded; only the far end of the graph matches.
    rows, _ = index.search(query, 3, excluded=best[:-3])

    assert rows.tolist() == best[-3:].tolist()


def test_equal_scores_are_in_order_of_their_rows():
    same = np.ones((20, 2), np.float32)
    index = MovieIndex(Factors(tuple(f"{n:02}" for n in range(20)), same, same))

    everything, _ = index.search(np.ones(2, np.float32), 20)
    masked, _ = index.search(np.ones(2, np.float32), 5, allowed=np.arange(20) >= 10)

    assert everything.tolist() == list(range(20))
    assert masked.tolist() == list(range(10, 15))


def test_many_queries_answer_as_one_by_one():
    rng = np.random.default_rng(5)
    queries = rng.standard_normal((4, 8)).astype(np.float32)
    excluded = [rng.integers(0, 300, count) for count in (0, 1, 50, 299)]
    allowed = rng.random(300) < 0.5
    index = INDEXES["exact"]

    together = index.search_many(queries, 7, allowed=allowed, excluded=excluded)

    assert len(together) == 4
    for query, known, (rows, scores) in zip(queries, excluded, together, strict=True):
        alone = index.search(query, 7, allowed=allowed, excluded=known)
        assert rows.tolist() == alone[0].tolist()
        assert scores.tolist() == alone[1].tolist()
    assert [len(rows) for rows, _ in index.search_many(queries, 7)] == [7] * 4
    with pytest.raises(ValueError, match="zip"):
        index.search_many(queries, 7, excluded=excluded[:3])


def test_searches_leave_the_callers_mask_alone():
    allowed = np.ones(300, bool)

    INDEXES["exact"].search(np.ones(8, np.float32), 5, allowed=allowed, excluded=np.array([1, 2]))

    assert allowed.all()


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_a_poisoned_query_is_refused(poison):
    query = np.ones(8, np.float32)
    query[3] = poison

    with pytest.raises(InvalidVectorError):
        INDEXES["exact"].search(query, 5)


def test_wrong_shapes_are_refused():
    with pytest.raises(InvalidVectorError):
        INDEXES["exact"].search(np.ones(7, np.float32), 5)
    with pytest.raises(ValueError, match="mask"):
        INDEXES["exact"].search(np.ones(8, np.float32), 5, allowed=np.ones(299, bool))


def test_an_empty_index_answers_with_nothing():
    index = MovieIndex(Factors.empty(8))

    rows, scores = index.search(np.ones(8, np.float32), 5)

    assert len(index) == len(rows) == len(scores) == 0


def test_similar_movies_are_the_nearest_by_angle():
    out = np.array([[1, 0], [5, 1], [1, 0.1], [0, 3], [0, 0]], np.float32)
    index = MovieIndex(Factors(tuple("abcde"), out, out))

    rows, cosines = index.similar_movies(0, 3)

    assert rows.tolist() == [2, 1, 3]
    assert cosines == pytest.approx([1 / 1.01**0.5, 5 / 26**0.5, 0], abs=1e-6)
    assert index.similar_movies(4, 2)[1].tolist() == [0, 0]
    assert len(index.similar_movies(0, 99)[0]) == 4
    assert len(MovieIndex(Factors(("a",), out[:1], out[:1])).similar_movies(0, 3)[0]) == 0


def test_rows_follow_the_ids_and_the_version_follows_the_content():
    vectors = some_factors(3).out_vectors
    index = MovieIndex(Factors(("c", "a", "b"), vectors, vectors))
    reordered = MovieIndex(Factors(("a", "b", "c"), vectors[[1, 2, 0]], vectors[[1, 2, 0]]))
    other = MovieIndex(Factors(("a", "b", "d"), vectors[[1, 2, 0]], vectors[[1, 2, 0]]))
    changed = MovieIndex(Factors(("a", "b", "c"), vectors, vectors))

    assert index.movie_ids == ("a", "b", "c")
    assert [index.row_of(movie) for movie in ("a", "c", "x")] == [0, 2, None]
    assert index.index_version == reordered.index_version
    assert len({index.index_version, other.index_version, changed.index_version}) == 3


def test_the_size_chooses_the_kind(monkeypatch):
    monkeypatch.setattr(movie_index, "EXACT_UP_TO", 50)

    assert MovieIndex(some_factors(50)).kind == "exact"
    assert MovieIndex(some_factors(51)).kind == "hnsw"
    assert MovieIndex(some_factors(51), kind="exact").kind == "exact"


def test_threads_search_one_index_at_once():
    index = INDEXES["hnsw"]
    use_one_thread_per_search()
    queries = np.random.default_rng(2).standard_normal((64, 8)).astype(np.float32)
    known = np.arange(40)
    expected = [index.search(query, 10, excluded=known)[0].tolist() for query in queries]
    answers = {}

    def search(name):
        answers[name] = [index.search(q, 10, excluded=known)[0].tolist() for q in queries]

    threads = [threading.Thread(target=search, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert all(answers[name] == expected for name in range(4))
