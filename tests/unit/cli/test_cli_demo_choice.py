from cli.datasets.records import Dataset, Movie, RatingsBuilder
from cli.demo.choice import anchors
from cli.demo.hops import HOPS, hops_table, missing_hops
from devstack.spans import SpanRecord

MOVIES = (
    Movie("1", "Alien", ("Horror",), 1979),
    Movie("2", "Jaws", ("Horror",), 1975),
    Movie("3", "Airplane!", ("Comedy",), 1980),
    Movie("4", "Big", ("Comedy",), 1988),
    Movie("5", "Kolya", ("Czech",), 1996),
)


def dataset(counts: dict[str, int]) -> Dataset:
    builder = RatingsBuilder()
    for movie_id, count in counts.items():
        for user in range(count):
            builder.add(f"u{user}", movie_id, 4.0, 1)
    return Dataset("small", MOVIES, builder.build())


class TestAnchors:
    def test_the_genre_watched_least_comes_first(self) -> None:
        found = anchors(dataset({"1": 30, "2": 50, "3": 40, "4": 40}), watched=["3"])
        assert [(a.genre, a.movie.title) for a in found] == [("Horror", "Jaws"), ("Comedy", "Big")]
        assert found[0].lift == 0
        assert found[1].lift == 2

    def test_what_is_known_is_no_anchor(self) -> None:
        found = anchors(dataset({"1": 30, "2": 50, "3": 40}), watched=["2", "1"])
        assert [a.genre for a in found] == ["Comedy"]

    def test_rare_genres_are_left_out(self) -> None:
        found = anchors(dataset({"1": 50, "3": 50, "5": 1}), watched=[])
        assert [a.genre for a in found] == ["Comedy", "Horror"]

    def test_movies_without_metadata_do_not_matter(self) -> None:
        found = anchors(dataset({"1": 5, "99": 50}), watched=["98"])
        assert [a.movie.id for a in found] == ["1"]


def span(service: str, kind: str, name: str, **attributes: str) -> SpanRecord:
    return SpanRecord(
        trace_id="t",
        span_id=f"{service}/{name}",
        service=service,
        kind=kind,
        name=name,
        start_ns=0,
        end_ns=1_000_000,
        attributes=attributes,
    )


RECORD = "marquee.reco.v1.InteractionService/RecordInteractions"
WHOLE = [
    span("marquee-cli", "CLIENT", RECORD),
    span("marquee-edge", "SERVER", "ingress"),
    span("marquee-reco", "SERVER", RECORD),
    span("marquee-reco", "CLIENT", "interactions.insert", **{"db.system": "mongodb"}),
    span("marquee-reco", "PRODUCER", "send marquee.interaction.events"),
    span("marquee-reco", "CONSUMER", "process marquee.interaction.events"),
    span("marquee-reco", "PRODUCER", "send marquee.recommendation.events"),
    span("marquee-notify", "CONSUMER", "process marquee.recommendation.events"),
    span("marquee-notify", "INTERNAL", "plan notification"),
    span("marquee-notify", "CLIENT", "notifications.insert", **{"db.system": "mongodb"}),
    span("marquee-notify", "INTERNAL", "deliver inbox"),
    span("marquee-notify", "INTERNAL", "deliver stream"),
]


class TestHops:
    def test_a_whole_trace_misses_none(self) -> None:
        assert missing_hops(WHOLE) == []

    def test_each_hop_is_missed_when_its_span_is_away(self) -> None:
        assert len(HOPS) == len(WHOLE)
        for number, hop in enumerate(HOPS):
            assert missing_hops(WHOLE[:number] + WHOLE[number + 1 :]) == [hop]

    def test_the_table_can_show_an_empty_trace(self) -> None:
        assert hops_table([]).row_count == len(HOPS)
