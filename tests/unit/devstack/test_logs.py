from __future__ import annotations

import json

import pytest

from devstack.logs import readable


def test_a_service_says_when_how_bad_and_what():
    line = json.dumps(
        {
            "service": "marquee-reco",
            "event": "the index cannot be read",
            "level": "error",
            "logger": "reco_svc.index",
            "timestamp": "2026-11-22T12:52:18.123456Z",
            "trace_id": "0" * 32,
            "path": "/tmp/index",
            "tries": 3,
            "why": "no such file",
        }
    )
    assert readable(line) == (
        '12:52:18 ERROR the index cannot be read path=/tmp/index tries=3 why="no such file"'
    )


def test_an_exception_is_its_last_line():
    trace = 'Traceback (most recent call last):\n  File "x.py", line 1\nValueError: wrong\n'
    line = json.dumps({"event": "failed", "level": "error", "exception": trace})
    assert readable(line) == "ERROR failed (ValueError: wrong)"


@pytest.mark.parametrize(
    "line",
    [
        "configuration error: MARQUEE_LISTEN: must be host:port",
        "",
        "17",
        '["event"]',
        '{"message": "not ours"}',
        '{"event": "cut of',
    ],
)
def test_what_others_write_stays_as_it_is(line):
    assert readable(line) == line
