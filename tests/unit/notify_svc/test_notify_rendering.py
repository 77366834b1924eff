from notify_svc.domain import NamedMovie, Recipient
from notify_svc.rendering import render_new_movies

HEAT = NamedMovie("m1", "Heat (1995)", ("Casino (1995)", "Fargo (1996)", "Ronin (1998)"))


def test_one_movie_and_why() -> None:
    text = render_new_movies([HEAT], Recipient("ada", display_name="Ada"))
    assert text.title == "New for you, Ada: Heat (1995)"
    assert text.body == "Heat (1995): because you watched Casino (1995) and Fargo (1996)."


def test_several_movies() -> None:
    movies = [HEAT, *(NamedMovie(f"m{number}", f"Movie {number}") for number in range(2, 8))]
    text = render_new_movies(movies, Recipient("ada"))
    assert text.title == "New for you: Heat (1995) and 6 more"
    lines = text.body.split("\n")
    assert lines[1] == "Movie 2 is now among your recommendations."
    assert len(lines) == 6
    assert lines[-1] == "And 2 more."


def test_one_reason() -> None:
    text = render_new_movies([NamedMovie("m", "M", ("Metropolis",))], Recipient("ada"))
    assert text.body == "M: because you watched Metropolis."


def test_a_title_stays_one_short_line() -> None:
    movie = NamedMovie("m", "A\nvery " + "long " * 50, ("x\n" * 200,))
    text = render_new_movies([movie], Recipient("ada", display_name="N\n" + "n" * 300))
    assert "\n" not in text.title
    assert "\n" not in text.body
    assert len(text.title) < 160
    assert text.title.endswith("…")
