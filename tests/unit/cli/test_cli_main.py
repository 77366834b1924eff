import asyncio
import errno
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.address import Entry, find_edge
from cli.aio import Interrupted, all_or_first_error, run
from cli.application import app
from cli.errors import CliError
from cli.main import main
from devstack.errors import DevstackError

COMMANDS = ("up", "load", "train", "evaluate", "demo", "token", "keys", "cert")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("MARQUEE_EDGE", "MARQUEE_LOG_LEVEL", "MARQUEE_TOKEN", "MARQUEE_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def _with_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARQUEE_TOKEN", "opaque")


def ended(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Runs the command and returns its exit status and its single line on standard error."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert isinstance(caught.value.code, int)
    return caught.value.code, lines[0]


class TestHelp:
    def test_without_arguments_it_shows_the_commands(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as caught:
            main([])
        assert caught.value.code == 0
        text = capsys.readouterr().out
        for command in COMMANDS:
            assert f"  {command} " in text

    @pytest.mark.parametrize(
        "command", ["up", "load", "train", "evaluate", "demo", "token", "keys", "cert"]
    )
    def test_every_command_explains_itself(self, command: str) -> None:
        result = CliRunner().invoke(app, [command, "--help"])
        assert result.exit_code == 0
        assert len(result.output.splitlines()) > 8


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert re.fullmatch(r"marquee \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_ctrl_c_while_it_loads_is_no_traceback() -> None:
    program = (
        "import os, signal, sys\n"
        "class Impatient:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'devstack.stack':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Impatient())\n"
        "from cli.main import main\n"
        "main(['up'])\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert (ended.returncode, ended.stderr) == (130, b"")


class TestWrongArguments:
    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (["lod"], "Did you mean 'load'"),
            (["up", "--fressh"], "--fressh"),
            (["train", "--holdout", "0.9"], "--holdout"),
            (["train", "--seed", "-1"], "--seed"),
            (["evaluate", "--min-ndcg", "2"], "--min-ndcg"),
            (["up", "--port-offset", "many"], "--port-offset"),
        ],
    )
    def test_exit_status_2_and_one_line(
        self, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
    ) -> None:
        status, line = ended(capsys, *arguments)
        assert status == 2
        assert expected in line

    def test_a_port_out_of_range(self, capsys: pytest.CaptureFixture[str]) -> None:
        status, line = ended(capsys, "up", "--port-offset", "60000")
        assert status == 1
        assert "outside 1-65535" in line


class TestNoMesh:
    def test_no_stack_runs_here(self, capsys: pytest.CaptureFixture[str]) -> None:
        status, line = ended(capsys, "train")
        assert status == 1
        assert "marquee up" in line

    @pytest.mark.usefixtures("_with_token")
    def test_nothing_answers(self, capsys: pytest.CaptureFixture[str]) -> None:
        status, line = ended(capsys, "train", "--edge", "127.0.0.1:1")
        assert status == 1
        assert "nothing answers at 127.0.0.1:1" in line

    @pytest.mark.usefixtures("_with_token")
    def test_the_data_set_is_read_before_the_mesh_is_looked_for(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        status, line = ended(capsys, "load", "nowhere", "--edge", "127.0.0.1:1")
        assert status == 1
        assert "there is no data set 'nowhere'" in line


@pytest.mark.usefixtures("_with_token")
class TestAddress:
    def test_the_address_given_wins(self, tmp_path: Path) -> None:
        entry = Entry("edge.example.org:443", tmp_path, ca_file=tmp_path / "ca.pem")
        assert find_edge(entry).address == "edge.example.org:443"

    @pytest.mark.parametrize(
        "edge", ["edge", ":80", "edge:http", "edge:0", "edge:70000", "http://e:80"]
    )
    def test_other_forms_are_refused(self, edge: str, tmp_path: Path) -> None:
        with pytest.raises(CliError, match="host:port"):
            find_edge(Entry(edge, tmp_path))

    def test_without_an_address_a_stack_must_run(self, tmp_path: Path) -> None:
        with pytest.raises(DevstackError, match="marquee up"):
            find_edge(Entry(None, tmp_path))


def test_an_error_nobody_expected_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr("cli.commands.train.find_edge", fail)
    status, line = ended(capsys, "train")
    assert status == 1
    assert "RuntimeError: two lines" in line


def test_a_full_disk_is_no_bug(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("cli.commands.train.find_edge", fail)
    status, line = ended(capsys, "train")
    assert status == 1
    assert "make room" in line
    assert "bug" not in line


class TestSignals:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_cancels_the_command(self, number: signal.Signals) -> None:
        cleaned: list[bool] = []

        async def command() -> int:
            asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), number)
            try:
                await asyncio.sleep(30)
            finally:
                cleaned.append(True)
            return 0

        with pytest.raises(Interrupted) as caught:
            run(command())
        assert cleaned == [True]
        assert caught.value.status == 128 + number

    def test_a_second_ctrl_c_is_no_traceback(self) -> None:
        program = (
            "import asyncio, os, signal\n"
            "from cli.aio import run\n"
            "async def command():\n"
            "    here = asyncio.get_running_loop()\n"
            "    here.call_later(0.05, os.kill, os.getpid(), signal.SIGINT)\n"
            "    here.call_later(0.30, os.kill, os.getpid(), signal.SIGINT)\n"
            "    try:\n"
            "        await asyncio.sleep(30)\n"
            "    finally:\n"
            "        await asyncio.sleep(30)\n"
            "try:\n"
            "    run(command())\n"
            "except KeyboardInterrupt:\n"
            "    print('interrupted')\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, check=False, timeout=60
        )
        assert (done.stdout, done.stderr) == (b"interrupted\n", b"")

    def test_a_command_may_end_well_on_a_signal(self) -> None:
        async def command() -> int:
            asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), signal.SIGTERM)
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                return 0
            return 1

        assert run(command()) == 0


async def test_the_first_error_ends_the_other_parts() -> None:
    ended_early: list[bool] = []

    async def fails() -> None:
        await asyncio.sleep(0)
        raise CliError("no")

    async def waits() -> None:
        try:
            await asyncio.sleep(30)
        finally:
            ended_early.append(True)

    with pytest.raises(CliError, match="no"):
        await all_or_first_error(waits(), fails())
    assert ended_early == [True]
