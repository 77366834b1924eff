"""Logs are one JSON object a line, with the trace they belong to."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from mesh.telemetry.logs import setup_logs


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in ("kafka", "pymongo")}
    yield
    root.handlers, root.level = handlers, level
    quiet = logging.getLogger("grpc._cython.cygrpc")
    for found in quiet.filters[:]:
        quiet.removeFilter(found)
    for name, earlier in levels.items():
        logging.getLogger(name).setLevel(earlier)
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_both_kinds_of_loggers_write_the_same_form(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logs("marquee-test", "INFO")
    structlog.get_logger("a").info("hello", number=1)
    logging.getLogger("b").warning("goodbye %s", "you")
    first, second = lines(capsys)
    assert (first["event"], first["number"], first["level"]) == ("hello", 1, "info")
    assert (second["event"], second["logger"]) == ("goodbye you", "b")
    assert {line["service"] for line in (first, second)} == {"marquee-test"}
    assert first["timestamp"].endswith("Z")
    assert "trace_id" not in first


def test_the_trace_is_named(
    capsys: pytest.CaptureFixture[str], spans: InMemorySpanExporter
) -> None:
    setup_logs("marquee-test", "INFO")
    with trace.get_tracer("test").start_as_current_span("a") as span:
        structlog.get_logger("a").info("hello")
        logging.getLogger("b").warning("goodbye")
    ids = span.get_span_context()
    for line in lines(capsys):
        assert line["trace_id"] == format(ids.trace_id, "032x")
        assert line["span_id"] == format(ids.span_id, "016x")


def test_metadata_that_grpc_cannot_read_is_not_quoted(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logs("marquee-test", "INFO")
    logger = logging.getLogger("grpc._cython.cygrpc")
    logger.error("Invalid encoding on %s", b"Bearer secret\xff")
    logger.error("something else")
    assert [line["event"] for line in lines(capsys)] == ["something else"]


def test_an_exception_stays_on_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logs("marquee-test", "INFO")
    try:
        raise ValueError("broken")
    except ValueError:
        structlog.get_logger("a").exception("failed")
        logging.getLogger("b").exception("failed too")
    first, second = lines(capsys)
    assert "ValueError: broken" in first["exception"]
    assert "ValueError: broken" in second["exception"]


def test_what_is_less_severe_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logs("marquee-test", "WARNING")
    structlog.get_logger("a").info("hello")
    structlog.get_logger("a").warning("careful")
    logging.getLogger("pymongo.topology").warning("reconnects")
    logging.getLogger("kafka.conn").warning("reconnects")
    assert [line["event"] for line in lines(capsys)] == ["careful"]


def test_what_is_no_json_is_written_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logs("marquee-test", "INFO")
    structlog.get_logger("a").info("hello", thing=object(), raw=b"\xff", many={1, 2})
    (line,) = lines(capsys)
    assert "object" in line["thing"]
