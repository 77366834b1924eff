import numpy as np
from marquee.reco.v1 import interaction_service_pb2

from cli.datasets.records import Dataset, Movie, RatingsBuilder
from cli.importing.rows import event_id, interaction_calls, movie_calls
from mesh.ids import is_id


def dataset(*rows: tuple[str, str, float, int]) -> Dataset:
    builder = RatingsBuilder()
    for row in rows:
        builder.add(*row)
    movies = tuple(Movie(movie_id, movie_id, (), 0) for movie_id in {row[1] for row in rows})
    return Dataset("small", movies, builder.build())


class TestEventId:
    def test_is_readable_and_the_same_each_time(self) -> None:
        first = event_id("ml-100k", "196", "242", 3.0, 881250949)
        assert first.startswith("ml-100k.196.242.")
        assert is_id(first)
        assert first == event_id("ml-100k", "196", "242", 3.0, 881250949)

    def test_differs_with_any_part(self) -> None:
        base = ("d", "u", "m", 3.0, 5)
        others = [
            ("e", "u", "m", 3.0, 5),
            ("d", "v", "m", 3.0, 5),
            ("d", "u", "n", 3.0, 5),
            ("d", "u", "m", 3.5, 5),
            ("d", "u", "m", 3.0, 6),
        ]
        assert len({event_id(*row) for row in [base, *others]}) == 6

    def test_dots_within_the_parts_do_not_make_two_rows_one(self) -> None:
        assert event_id("d", "a.b", "c", 3.0, 5) != event_id("d", "a", "b.c", 3.0, 5)

    def test_falls_back_to_a_hash_that_is_an_id(self) -> None:
        spaced = event_id("my movies", "u", "m", 3.0, 5)
        long = event_id("d", "u" * 100, "m" * 100, 3.0, 5)
        assert is_id(spaced)
        assert is_id(long)
        assert spaced != long


class TestInteractionCalls:
    def test_rows_become_ratings(self) -> None:
        ((call,),) = interaction_calls(dataset(("ann", "1", 4.5, 881250949)))
        (row,) = call
        assert row.user_id == "ann"
        assert row.movie_id == "1"
        assert row.type == interaction_service_pb2.INTERACTION_TYPE_RATING
        assert row.value == 4.5
        assert row.occur_time.seconds == 881250949
        assert row.event_id == event_id("small", "ann", "1", 4.5, 881250949)

    def test_people_stay_together_and_calls_stay_small(self) -> None:
        rows = [(f"u{user}", f"m{movie}", 3.0, movie) for movie in range(4) for user in range(5)]
        chains = list(interaction_calls(dataset(*rows), size=9))
        assert all(len(chain) == 1 for chain in chains)
        calls = [chain[0] for chain in chains]
        assert [len(call) for call in calls] == [8, 8, 4]
        people = [{row.user_id for row in call} for call in calls]
        assert not people[0] & people[1]
        assert not people[1] & people[2]
        for call in calls:
            for user in {row.user_id for row in call}:
                times = [row.occur_time.seconds for row in call if row.user_id == user]
                assert times == sorted(times)

    def test_a_person_with_many_rows_forms_a_chain(self) -> None:
        rows = [("ann", "1", 3.0, 1), *[("bob", f"m{n}", 3.0, n) for n in range(7)]]
        rows += [("eve", "1", 3.0, 1)]
        chains = list(interaction_calls(dataset(*rows), size=3))
        chain = next(chain for chain in chains if len(chain) > 1)
        assert [len(call) for call in chain] == [3, 3, 1]
        assert [row.occur_time.seconds for call in chain for row in call] == list(range(7))
        others = [row.user_id for chain in chains if len(chain) == 1 for row in chain[0]]
        assert sorted(others) == ["ann", "eve"]

    def test_every_row_is_sent_once(self) -> None:
        rng = np.random.default_rng(5)
        rows = [(f"u{rng.integers(20)}", f"m{n}", 3.0, int(rng.integers(99))) for n in range(500)]
        sent = [
            (row.user_id, row.movie_id)
            for chain in interaction_calls(dataset(*rows), size=40)
            for call in chain
            for row in call
        ]
        assert sorted(sent) == sorted((user, movie) for user, movie, _, _ in rows)


def test_movies_are_sent_in_parts() -> None:
    movies = [Movie(str(n), f"Movie {n}", ("Drama",), 1990 + n) for n in range(5)]
    calls = list(movie_calls(movies, 2))
    assert [len(call) for call in calls] == [2, 2, 1]
    assert (calls[2][0].title, calls[2][0].year, list(calls[2][0].genres)) == (
        "Movie 4",
        1994,
        ["Drama"],
    )
