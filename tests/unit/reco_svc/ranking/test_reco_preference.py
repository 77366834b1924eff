from reco_svc.ranking.preference import rank_by_genres

MOVIES = [
    ("both", ("Comedy", "Drama")),
    ("famous comedy", ("Comedy",)),
    ("obscure comedy", ("Comedy",)),
    ("funny horror", ("Comedy", "Horror")),
    ("western", ("Western",)),
]
SEEN = {"famous comedy": 9.0, "both": 1.0, "western": 1000.0}


def rank(liked, disliked=(), limit=10):
    ranked = rank_by_genres(MOVIES, liked, disliked, lambda movie: SEEN.get(movie, 0.0), limit)
    return [movie for movie, _ in ranked]


def test_among_equally_fitting_movies_the_popular_come_first():
    assert rank(["Comedy"], limit=2) == ["famous comedy", "both"]


def test_disliked_genres_and_those_not_liked_are_left_out():
    ranked = rank(["Comedy"], ["Horror"])

    assert "funny horror" not in ranked
    assert "western" not in ranked


def test_a_movie_of_all_liked_genres_comes_before_one_of_some():
    ranked = rank(["Comedy", "Drama"])

    assert ranked.index("both") < ranked.index("obscure comedy")


def test_case_does_not_matter():
    assert rank(["cOMEDY"], ["horror"]) == rank(["Comedy"], ["Horror"])


def test_without_liked_genres_nothing_is_claimed_to_fit():
    assert rank([]) == []
