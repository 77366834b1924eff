from __future__ import annotations

import os
import subprocess
import sys

import pytest

from devstack.errors import AlreadyRunningError, DevstackError
from devstack.state import DataDirectory, Endpoints, StackInfo, find_stack


def info(pid: int = 1234) -> StackInfo:
    endpoints = Endpoints(
        edge="127.0.0.1:8080",
        edge_admin="127.0.0.1:9901",
        user="127.0.0.1:50051",
        reco="127.0.0.1:50052",
        notify="127.0.0.1:50053",
        mongodb_uri="mongodb://127.0.0.1:27117/?directConnection=true",
        kafka_bootstrap="127.0.0.1:19092",
        otlp="",
    )
    return StackInfo(
        pid=pid,
        started_at=1.5,
        endpoints=endpoints,
        components={"user": 7},
        spans_path="",
    )


@pytest.fixture
def directory(tmp_path):
    made = DataDirectory(tmp_path / "data")
    made.acquire()
    yield made
    made.release()


def test_a_running_stack_is_found_until_it_is_gone(directory):
    directory.write(info())

    assert find_stack(directory.path) == info()
    directory.release()
    with pytest.raises(DevstackError, match="marquee up"):
        find_stack(directory.path)


def test_what_a_killed_stack_left_is_not_taken_for_a_running_one(directory):
    directory.write(info())
    text = directory.info_path.read_text()
    directory.release()
    directory.info_path.write_text(text)

    assert DataDirectory(directory.path).read() == info()
    assert DataDirectory(directory.path).running() is None


def test_two_stacks_do_not_share_a_directory(directory):
    directory.write(info(pid=4321))

    with pytest.raises(AlreadyRunningError, match="process 4321"):
        DataDirectory(directory.path).acquire()


def test_the_lock_ends_with_its_owner(tmp_path):
    path = tmp_path / "data"
    program = (
        "import os, pathlib, signal\n"
        "from devstack.state import DataDirectory\n"
        f"DataDirectory(pathlib.Path({str(path)!r})).acquire()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=False)
    directory = DataDirectory(path)

    directory.acquire()
    directory.release()


def test_looking_does_not_stand_in_the_way(directory):
    directory.write(info())
    directory.release()
    for _ in range(3):
        assert DataDirectory(directory.path).running() is None

    directory.acquire()


def test_fresh_drops_everything_but_the_lock(directory):
    (directory.path / "mongodb").mkdir()
    (directory.path / "mongodb" / "data").write_text("old")
    (directory.path / "link").symlink_to(directory.path.parent)
    beside = directory.path.parent / "beside"
    beside.write_text("not ours")
    directory.release()

    directory.acquire(fresh=True)

    assert {p.name for p in directory.path.iterdir()} == {"marquee.lock", "logs", "traces"}
    assert beside.read_text() == "not ours"


def test_without_fresh_the_data_stays(directory):
    (directory.path / "mongodb").mkdir()
    directory.release()

    directory.acquire()

    assert (directory.path / "mongodb").is_dir()


@pytest.mark.parametrize("made_before", [False, True])
def test_only_its_user_looks_into_a_data_directory(tmp_path, made_before):
    path = tmp_path / "data"
    if made_before:
        path.mkdir()
        path.chmod(0o755)
    directory = DataDirectory(path)

    directory.acquire()

    assert path.stat().st_mode & 0o777 == 0o700
    directory.release()


@pytest.mark.parametrize("fresh", [False, True])
def test_a_directory_of_somebody_else_is_not_adopted(tmp_path, fresh):
    precious = tmp_path / "thesis.tex"
    precious.write_text("years of work")

    with pytest.raises(DevstackError, match="--data-dir"):
        DataDirectory(tmp_path).acquire(fresh=fresh)

    assert precious.read_text() == "years of work"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_cannot_be_written_is_told_in_one_line(tmp_path):
    tmp_path.chmod(0o500)

    with pytest.raises(DevstackError, match="--data-dir"):
        DataDirectory(tmp_path / "data").acquire()


def test_a_path_below_a_file_is_told_in_one_line(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(DevstackError, match="--data-dir"):
        DataDirectory(tmp_path / "file" / "data").acquire()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"endpoints": {}}'])
def test_a_damaged_description_is_no_description(directory, text):
    directory.info_path.write_text(text)

    assert directory.read() is None
