from cli.datasets.records import Dataset, Movie, RatingsBuilder
from cli.evaluation import split


def dataset() -> Dataset:
    builder = RatingsBuilder()
    for user in range(6):
        for movie in range(8 + user):
            builder.add(f"u{user}", f"m{movie}", 4.0, movie)
    movies = tuple(Movie(f"m{n}", f"Movie {n}", (), 0) for n in range(20))
    return Dataset("small", movies, builder.build())


def test_a_quarter_of_each_persons_movies_is_held_out() -> None:
    whole = dataset()
    parts = split(whole, seed=3)
    for user in range(6):
        known, held_out = set(parts.known[f"u{user}"]), set(parts.held_out[f"u{user}"])
        assert not known & held_out
        assert known | held_out == {f"m{n}" for n in range(8 + user)}
        assert len(held_out) == int((8 + user) * 0.25 + 0.5)


def test_the_mesh_is_told_of_nothing_that_is_held_out() -> None:
    parts = split(dataset(), seed=3)
    ratings = parts.training.ratings
    told = {
        (ratings.user_ids[user], ratings.movie_ids[movie])
        for user, movie in zip(ratings.users, ratings.movies, strict=True)
    }
    assert told == {(user, movie) for user, movies in parts.known.items() for movie in movies}
    assert parts.training.movies == dataset().movies


def test_the_seed_decides() -> None:
    assert split(dataset(), seed=1).held_out == split(dataset(), seed=1).held_out
    assert split(dataset(), seed=1).held_out != split(dataset(), seed=2).held_out
