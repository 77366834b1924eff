from pathlib import Path

import pytest

from cli.datasets import wheel
from cli.datasets.errors import DatasetError
from cli.datasets.opening import open_dataset
from cli.datasets.records import Dataset, Movie

INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
ITEM = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def atomic(directory: Path, inter: str, item: str, name: str = "small") -> Path:
    write(directory / f"{name}.inter", INTER + inter)
    write(directory / f"{name}.item", ITEM + item)
    return directory


def rows(dataset: Dataset) -> list[tuple[str, str, float, int]]:
    ratings = dataset.ratings
    return [
        (
            ratings.user_ids[ratings.users[row]],
            ratings.movie_ids[ratings.movies[row]],
            float(ratings.values[row]),
            int(ratings.times[row]),
        )
        for row in range(len(ratings))
    ]


def error_of(path: Path | str) -> str:
    with pytest.raises(DatasetError) as caught:
        open_dataset(str(path))
    text = str(caught.value)
    assert "\n" not in text
    return text


class TestAtomicFiles:
    def test_reads_ratings_and_movies(self, tmp_path: Path) -> None:
        atomic(
            tmp_path,
            "ann\t1\t4\t881250949\nbob\t2\t3.5\t881250950.7\n",
            "1\tToy Story\t1995\tAnimation Children's Comedy\n2\tMisérables, Les\t1995\tDrama\n",
        )
        dataset = open_dataset(str(tmp_path))
        assert dataset.name == "small"
        assert dataset.movies == (
            Movie("1", "Toy Story", ("Animation", "Children's", "Comedy"), 1995),
            Movie("2", "Misérables, Les", ("Drama",), 1995),
        )
        assert rows(dataset) == [("ann", "1", 4.0, 881250949), ("bob", "2", 3.5, 881250950)]

    def test_takes_the_inter_file_itself_and_windows_line_ends(self, tmp_path: Path) -> None:
        atomic(tmp_path, "ann\t1\t4\t5\r\n\r\n", "1\tBrazil\t1985\t\r\n")
        dataset = open_dataset(str(tmp_path / "small.inter"))
        assert dataset.movies == (Movie("1", "Brazil", (), 1985),)
        assert rows(dataset) == [("ann", "1", 4.0, 5)]

    @pytest.mark.parametrize(
        ("title", "year", "expected"),
        [
            ("Brazil", "1985", ("Brazil", 1985)),
            ("Brazil (1985)", "", ("Brazil", 1985)),
            ("Brazil (1985)", "V", ("Brazil", 1985)),
            ("Brazil (1985)", "1986", ("Brazil", 1986)),
            ("Brazil", "unkonwn", ("Brazil", 0)),
            ("Brazil", "1492", ("Brazil", 0)),
            ("2001 (film)", "", ("2001 (film)", 0)),
            ("That Darn Cat! (1997) ", "", ("That Darn Cat!", 1997)),
        ],
    )
    def test_year_of_release(
        self, tmp_path: Path, title: str, year: str, expected: tuple[str, int]
    ) -> None:
        atomic(tmp_path, "ann\t1\t4\t5\n", f"1\t{title}\t{year}\tDrama\n")
        movie = open_dataset(str(tmp_path)).movies[0]
        assert (movie.title, movie.year) == expected

    def test_unknown_genre_is_no_genre(self, tmp_path: Path) -> None:
        atomic(tmp_path, "ann\t1\t4\t5\n", "1\tBrazil\t1985\tunknown\n")
        assert open_dataset(str(tmp_path)).movies[0].genres == ()

    def test_columns_may_stand_in_any_order(self, tmp_path: Path) -> None:
        write(
            tmp_path / "m.inter",
            "timestamp:float\trating:float\titem_id:token\tuser_id:token\n7\t2\t1\tann\n",
        )
        write(tmp_path / "m.item", "title:token_seq\titem_id:token\nBrazil\t1\n")
        dataset = open_dataset(str(tmp_path))
        assert rows(dataset) == [("ann", "1", 2.0, 7)]
        assert dataset.movies == (Movie("1", "Brazil", (), 0),)

    def test_several_data_sets_need_a_choice(self, tmp_path: Path) -> None:
        for name in ("one", "two"):
            atomic(tmp_path / "pair", "ann\t1\t4\t5\n", "1\tBrazil\t1985\t\n", name)
        assert "one.inter, two.inter" in error_of(tmp_path / "pair")
        atomic(tmp_path / "pair", "ann\t1\t4\t5\n", "1\tBrazil\t1985\t\n", "pair")
        assert open_dataset(str(tmp_path / "pair")).name == "pair"

    def test_every_unreadable_row_is_counted_and_the_first_are_shown(self, tmp_path: Path) -> None:
        bad = [
            "ann\t1\t6\t5",
            "ann\t1\tgood\t5",
            "a nn\t1\t4\t5",
            "ann\t1\t4\tnan",
            "ann\t1\t4",
        ]
        atomic(tmp_path, "ann\t1\t4\t5\n" + "\n".join(bad), "1\tBrazil\t1985\t\n")
        text = error_of(tmp_path)
        assert "line 3: rating 6 is outside 0.5 to 5" in text
        assert "line 4: rating 'good' is not a number" in text
        assert "line 5: user id 'a nn' is not an id" in text
        assert "and 2 more" in text

    def test_short_rows_of_either_file_are_named(self, tmp_path: Path) -> None:
        atomic(tmp_path / "a", "ann\t1\t4\n", "1\tBrazil\t1985\t\n")
        assert "line 2: 3 fields instead of 4" in error_of(tmp_path / "a")
        atomic(tmp_path / "b", "ann\t1\t4\t5\n", "1\tBrazil\n")
        assert "small.item: line 2: 2 fields instead of 4" in error_of(tmp_path / "b")

    def test_movies_need_an_id_of_their_own_and_a_title(self, tmp_path: Path) -> None:
        movies = "1\tBrazil\t1985\t\n1\tBrazil\t1985\t\n2\t\t1985\t\n"
        atomic(tmp_path, "ann\t1\t4\t5\n", movies)
        text = error_of(tmp_path)
        assert "line 3: movie id '1' comes twice" in text
        assert "line 4: the title has 0 characters" in text

    def test_missing_files_columns_and_rows(self, tmp_path: Path) -> None:
        write(tmp_path / "a" / "x.inter", INTER + "ann\t1\t4\t5\n")
        assert "x.item is missing" in error_of(tmp_path / "a")
        atomic(tmp_path / "b", "", "1\tBrazil\t1985\t\n")
        assert "holds no ratings" in error_of(tmp_path / "b")
        write(tmp_path / "b" / "small.inter", "user_id:token\titem_id:token\nann\t1\n")
        assert "has no column rating" in error_of(tmp_path / "b")

    def test_text_that_is_not_utf8_is_named_by_its_line(self, tmp_path: Path) -> None:
        atomic(tmp_path, "ann\t1\t4\t5\n", "1\tBrazil\t1985\t\n")
        write(tmp_path / "small.item", ITEM + "1\tMisérables\t1995\t\n", "latin-1")
        assert "line 2: byte 6 is not utf-8" in error_of(tmp_path)


class TestCsvFiles:
    def test_reads_quoted_titles_and_genres(self, tmp_path: Path) -> None:
        home = tmp_path / "ml-latest-small"
        write(home / "ratings.csv", "userId,movieId,rating,timestamp\n1,11,4.5,964982703\n")
        write(
            home / "movies.csv",
            "\ufeffmovieId,title,genres\n"
            '11,"American President, The (1995)",Comedy|Drama|Romance\n'
            "12,Babylon 5,(no genres listed)\n",
        )
        dataset = open_dataset(str(home))
        assert dataset.name == "ml-latest-small"
        assert dataset.movies == (
            Movie("11", "American President, The", ("Comedy", "Drama", "Romance"), 1995),
            Movie("12", "Babylon 5", (), 0),
        )
        assert rows(dataset) == [("1", "11", 4.5, 964982703)]

    def test_lines_are_counted_across_quoted_line_ends(self, tmp_path: Path) -> None:
        write(tmp_path / "ratings.csv", "userId,movieId,rating,timestamp\n1,1,4,5\n")
        write(tmp_path / "movies.csv", 'movieId,title,genres\n1,"two\nlines",A\n2,Brazil\n')
        assert "movies.csv: line 4: 2 fields instead of 3" in error_of(tmp_path)

    def test_broken_quotes_and_missing_columns(self, tmp_path: Path) -> None:
        write(tmp_path / "ratings.csv", "userId,movieId,rating,timestamp\n1,1,4,5\n")
        write(tmp_path / "movies.csv", 'movieId,title,genres\n1,"Brazil,A\n')
        assert "movies.csv: line 2" in error_of(tmp_path)
        write(tmp_path / "movies.csv", "movieId,title\n1,Brazil\n")
        assert "has no column genres" in error_of(tmp_path)

    def test_movies_must_be_there(self, tmp_path: Path) -> None:
        write(tmp_path / "ratings.csv", "userId,movieId,rating,timestamp\n1,1,4,5\n")
        assert "cannot read" in error_of(tmp_path)


class TestUdata:
    def item(self, movie_id: int, title: str, date: str, *genres: int) -> str:
        flags = "|".join("1" if number in genres else "0" for number in range(19))
        return f"{movie_id}|{title}|{date}||http://example.org|{flags}\n"

    def test_reads_latin1_and_genre_flags(self, tmp_path: Path) -> None:
        home = tmp_path / "ml-100k"
        write(home / "u.data", "196\t1\t3\t881250949\n")
        movies = self.item(1, "Cité des enfants perdus, La (1995)", "01-Jan-1995", 2, 15)
        movies += self.item(2, "unknown", "", 0)
        write(home / "u.item", movies, "latin-1")
        dataset = open_dataset(str(home))
        assert dataset.name == "ml-100k"
        assert dataset.movies == (
            Movie("1", "Cité des enfants perdus, La", ("Adventure", "Sci-Fi"), 1995),
            Movie("2", "unknown", (), 0),
        )
        assert rows(dataset) == [("196", "1", 3.0, 881250949)]

    def test_unreadable_rows(self, tmp_path: Path) -> None:
        write(tmp_path / "u.data", "196\t1\t3\t881250949\n196 1 3 881250949\n")
        write(tmp_path / "u.item", self.item(1, "Brazil (1985)", "", 8))
        assert "u.data: line 2: 1 fields instead of 4" in error_of(tmp_path)
        write(tmp_path / "u.item", "1|Brazil (1985)|\n")
        assert "u.item: line 1: 3 fields instead of 24" in error_of(tmp_path)


class TestFinding:
    def test_unknown_names_and_formats(self, tmp_path: Path) -> None:
        assert "there is no data set 'ml-9k'" in error_of("ml-9k")
        assert "holds neither ratings.csv" in error_of(tmp_path)
        file = write(tmp_path / "ratings.txt", "")
        assert "is neither a directory nor an .inter file" in error_of(file)

    def test_the_wheel_is_found_without_importing_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        package = tmp_path / "recbole"
        write(package / "__init__.py", "raise RuntimeError('this package needs PyTorch')")
        atomic(
            package / "dataset_example" / "ml-100k",
            "196\t242\t3\t881250949\n",
            "242\tKolya\t1996\tComedy\n",
            "ml-100k",
        )
        monkeypatch.setattr("sys.path", [str(tmp_path)])
        monkeypatch.chdir(tmp_path)
        assert open_dataset("ml-100k").movies[0].title == "Kolya"

    def test_a_missing_wheel_says_what_to_install(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sys.path", [])
        monkeypatch.chdir(tmp_path)
        with pytest.raises(DatasetError, match=r"pip install --no-deps recbole==1\.2\.1"):
            wheel.find_ml_100k()


def test_rows_by_user_go_from_old_to_new(tmp_path: Path) -> None:
    atomic(
        tmp_path,
        "ann\t1\t4\t9\nbob\t1\t4\t1\nann\t2\t4\t3\nann\t3\t4\t9\n",
        "1\tA\t\t\n2\tB\t\t\n3\tC\t\t\n",
    )
    ratings = open_dataset(str(tmp_path)).ratings
    found = {user: [int(row) for row in rows] for user, rows in ratings.by_user()}
    assert found == {"ann": [2, 0, 3], "bob": [1]}


def test_nothing_selected_has_no_users(tmp_path: Path) -> None:
    atomic(tmp_path, "ann\t1\t4\t9\n", "1\tA\t\t\n")
    ratings = open_dataset(str(tmp_path)).ratings
    assert list(ratings.select(ratings.values > 4.5).by_user()) == []
