import io
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from marquee.reco.v1 import movie_pb2, recommendation_service_pb2
from rich.console import Console, RenderableType

from cli.demo.timeline import Timeline
from cli.importing.importer import InteractionReport, MovieReport, Refusal
from cli.terminal import progress
from cli.views.importing import import_table, refusals_table
from cli.views.quality import quality_table
from cli.views.recommendations import change_table, recommendation_table
from cli.views.stack import endpoint_table, examples, progress_line, without_secrets
from devstack.stack import Progress
from devstack.state import DEFAULT_DIRECTORY, CallerTls, Endpoints, StackInfo

Recommendation = recommendation_service_pb2.Recommendation


def log_console(width: int = 120) -> Console:
    return Console(file=io.StringIO(), width=width, highlight=False)


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def printed(renderable: RenderableType) -> str:
    console = log_console()
    console.print(renderable)
    text = written(console)
    assert "\x1b" not in text
    return text


def recommendation(movie_id: str, title: str, **more: object) -> Recommendation:
    return Recommendation(
        movie=movie_pb2.Movie(id=movie_id, title=title, genres=["Drama"], year=1995),
        source=recommendation_service_pb2.SOURCE_PERSONAL,
        **more,
    )


def test_import_table_sums_rows_by_fate() -> None:
    interactions = InteractionReport(Counter(ACCEPTED=99_000, DUPLICATE=1_000), [], 50.0)
    text = printed(import_table(MovieReport(1_600, 2, 80, 1.0), interactions))
    assert "99,000" in text
    assert "1,682" in text
    assert "2,000" in text  # rows per second
    assert "conflict" not in text


def test_refusals_are_shown_with_their_reasons() -> None:
    refusal = Refusal("e1", "ann", "9", "UNKNOWN_MOVIE", "movie_id: there is no movie [9]")
    text = printed(refusals_table([refusal], 7))
    assert "first 1 of 7 rows" in text
    assert "movie_id: there is no movie [9]" in text


def test_quality_stands_beside_popularity() -> None:
    text = printed(quality_table({"ndcg@10": (0.4871, 0.2461), "epochs": (40.0, None)}, "t"))
    assert [word for word in text.split() if word.startswith("0.")] == ["0.4871", "0.2461"]


def test_recommendations_with_their_reasons() -> None:
    item = recommendation(
        "1",
        "Alien [1979]",
        score=0.75,
        contributions=[
            recommendation_service_pb2.Contribution(movie_id="2", title="Aliens", value=0.5),
            recommendation_service_pb2.Contribution(movie_id="3", title="Jaws", value=-0.25),
        ],
    )
    text = printed(recommendation_table([item], "for user 1"))
    for expected in ("Alien [1979] (1995)", "0.750", "PERSONAL", "Aliens +0.500, Jaws -0.250"):
        assert expected in text


def test_titles_cannot_steer_the_terminal() -> None:
    text = printed(recommendation_table([recommendation("1", "A\x1b[2JB\rC")], "t"))
    assert "\r" not in text
    assert "A\ufffd[2JB\ufffdC" in text


def test_what_is_new_in_a_list_is_marked() -> None:
    before = [recommendation("1", "Alien"), recommendation("2", "Brazil")]
    after = [recommendation("3", "Casablanca"), recommendation("1", "Alien")]
    lines = printed(change_table(before, after, "t")).splitlines()
    assert ["new" in line for line in lines if "(1995)" in line] == [True, False]


ENDPOINTS = Endpoints(
    edge="127.0.0.1:8080",
    edge_admin="127.0.0.1:9901",
    user="127.0.0.1:50051",
    reco="127.0.0.1:50052",
    notify="127.0.0.1:50053",
    mongodb_uri="mongodb://ann:secret@db:27017/?directConnection=true",
    kafka_bootstrap="127.0.0.1:19092",
    otlp="",
)


def stack(endpoints: Endpoints = ENDPOINTS, tls: CallerTls | None = None) -> StackInfo:
    return StackInfo(
        pid=1, started_at=0, endpoints=endpoints, components={}, spans_path="", tls=tls
    )


def test_endpoints_and_examples() -> None:
    text = printed(endpoint_table(stack()))
    assert "mongodb://db:27017" in text
    assert "secret" not in text
    token, *commands = [command for _, command in examples(stack(), DEFAULT_DIRECTORY)]
    assert token == "TOKEN=$(marquee token --user 196)"
    for address in (ENDPOINTS.edge, ENDPOINTS.user, ENDPOINTS.reco, ENDPOINTS.notify):
        assert any(address in command for command in commands)
    assert all(command.startswith(("grpcurl -plaintext ", "curl ")) for command in commands)
    assert all('-H "authorization: Bearer $TOKEN"' in command for command in commands[1:])


def test_every_replica_is_in_the_table() -> None:
    replicas = {"reco": ("127.0.0.1:50052", "127.0.0.1:50062")}
    text = printed(endpoint_table(stack(replace(ENDPOINTS, replicas=replicas))))
    assert text.count("recommendation service") == 1
    for address in ("127.0.0.1:50051", "127.0.0.1:50052", "127.0.0.1:50062"):
        assert address in text


@pytest.mark.parametrize("asked", [False, True])
def test_examples_with_tls(asked: bool) -> None:
    tls = CallerTls(ca="/d d/ca.pem", certificate="/d/c.pem", key="/d/k.pem", asked_at_edge=asked)
    assert "gRPC over TLS" in printed(endpoint_table(stack(tls=tls)))
    token, *commands = [command for _, command in examples(stack(tls=tls), Path("/d d"))]
    assert "--data-dir '/d d'" in token
    for command in commands:
        assert "-plaintext" not in command
        assert "http://" not in command
        assert "cacert '/d d/ca.pem'" in command
        straight = f" {ENDPOINTS.edge}" not in command and "https://" not in command
        assert ("/d/k.pem" in command) == (straight or asked)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (Progress(component="reco", state="starting"), ""),
        (Progress(component="reco", state="ready", seconds=1.23), "ready after 1.2 s"),
        (Progress(component="reco", state="stopped", seconds=1.23), "stopped after 1.2 s"),
        (Progress(component="reco", state="killed", seconds=10.0), "killed after 10.0 s"),
        (Progress(component="kafka", state="external"), "not started here"),
    ],
)
def test_what_is_said_of_a_component(step: Progress, expected: str) -> None:
    line = progress_line(step)
    assert expected in line
    assert bool(line) == bool(expected)


def test_uris_without_secrets_stay_as_they_are() -> None:
    assert without_secrets("mongodb://h:1/?x=y") == "mongodb://h:1/?x=y"


def test_progress_in_a_log_is_a_few_plain_lines() -> None:
    console = log_console()
    with progress(console, "interactions", 1000, "rows") as advance:
        for _ in range(100):
            advance(10)
    lines = written(console).splitlines()
    assert len(lines) == 4
    assert "100%" in lines[-1]
    assert "1,000 of 1,000 rows" in lines[-1]


def test_progress_on_a_terminal_is_a_bar() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with progress(console, "training", 1.0) as advance:
        advance(1.0)
    assert "100 %" in written(console)


class TestTimeline:
    def test_is_complete_when_every_step_happened(self) -> None:
        console = log_console()
        timeline = Timeline(console, ["one", "two"])
        with timeline.step("one"):
            pass
        assert not timeline.complete
        with timeline.step("two"):
            pass
        assert timeline.complete
        console.print(timeline.table())
        assert written(console).count("happened") == 2
        assert "2/2  two" in written(console)

    def test_a_failed_step_is_shown_and_so_are_those_never_reached(self) -> None:
        console = log_console()
        timeline = Timeline(console, ["one", "two", "three"])
        with timeline.step("one"):
            pass
        with pytest.raises(RuntimeError), timeline.step("two"):
            raise RuntimeError
        assert not timeline.complete
        text = printed(timeline.table())
        assert text.count("failed") == 1
        assert text.count("not reached") == 1

    def test_steps_follow_the_plan(self) -> None:
        timeline = Timeline(log_console(), ["one", "two"])
        with pytest.raises(ValueError, match="not step 1"), timeline.step("two"):
            pass
