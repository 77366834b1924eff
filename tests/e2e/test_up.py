"""`marquee up` as a person runs it: a process, signals, its data, and what it prints."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import psutil
import pytest
from marquee.user.v1 import user_pb2, user_service_pb2
from marquee.user.v1.user_service_pb2_grpc import UserServiceStub

from devstack.ports import Ports

READY = "Ctrl-C takes everything down."
START_S = 90.0
STOP_S = 40.0


def _free_offset() -> int:
    """An offset at which all default ports are free."""
    # Drawn, since another run of the tests may look for ports at the same time.
    for offset in random.sample(range(2000, 12_000), k=50):
        ports = Ports.shifted(offset)
        try:
            for port in ports.by_name().values():
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return offset
    raise RuntimeError("no free ports")


class Up:
    """A running `marquee up`."""

    def __init__(self, process: asyncio.subprocess.Process, output: list[str]) -> None:
        self.process = process
        self.output = output

    @property
    def text(self) -> str:
        return "".join(self.output)

    async def until(self, text: str, seconds: float) -> None:
        async with asyncio.timeout(seconds):
            while text not in self.text:
                assert self.process.returncode is None, self.text
                await asyncio.sleep(0.1)

    async def ends(self, seconds: float) -> int:
        async with asyncio.timeout(seconds):
            return await self.process.wait()


@asynccontextmanager
async def marquee_up(*arguments: str) -> AsyncIterator[Up]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "cli",
        "up",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "COLUMNS": "140"},
    )
    output: list[str] = []

    async def read() -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            output.append(line.decode())

    reading = asyncio.create_task(read())
    try:
        yield Up(process, output)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await reading


def _edge(data_dir: Path) -> str:
    return str(json.loads((data_dir / "stack.json").read_text())["endpoints"]["edge"])


async def _authorization(data_dir: Path, user_id: str) -> tuple[tuple[str, str]]:
    """What a person gets from `marquee token`."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli", "token", "--user", user_id, "--data-dir", str(data_dir)),
        stdout=asyncio.subprocess.PIPE,
    )
    token, _ = await process.communicate()
    assert process.returncode == 0
    return (("authorization", f"Bearer {token.decode().strip()}"),)


async def _has_user(data_dir: Path, user_id: str) -> bool:
    async with grpc.aio.insecure_channel(_edge(data_dir)) as channel:
        try:
            await UserServiceStub(channel).GetUser(
                user_service_pb2.GetUserRequest(user_id=user_id),
                timeout=10,
                metadata=await _authorization(data_dir, user_id),
            )
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
            return False
    return True


@pytest.mark.timeout(400)
async def test_up_keeps_its_data_and_takes_everything_down(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    offset = str(_free_offset())
    arguments = ("--data-dir", str(data_dir), "--port-offset", offset)

    async with marquee_up(*arguments) as up:
        await up.until(READY, START_S)
        assert f"TOKEN=$(marquee token --user 196 --data-dir {data_dir})" in up.text
        assert "grpcurl -plaintext" in up.text
        assert "curl" in up.text
        children = psutil.Process(up.process.pid).children(recursive=True)
        assert len(children) >= 6
        async with grpc.aio.insecure_channel(_edge(data_dir)) as channel:
            user = user_pb2.User(id="ada", display_name="Ada")
            await UserServiceStub(channel).CreateUser(
                user_service_pb2.CreateUserRequest(user=user),
                timeout=10,
                metadata=await _authorization(data_dir, "ada"),
            )

        async with marquee_up(*arguments) as second:
            assert await second.ends(START_S) == 1
            assert second.text.count("\n") <= 2, second.text

        up.process.send_signal(signal.SIGTERM)
        await up.ends(STOP_S)
        assert not [child for child in children if child.is_running()]

    async with marquee_up(*arguments) as up:
        await up.until(READY, START_S)
        assert await _has_user(data_dir, "ada")
        children = psutil.Process(up.process.pid).children(recursive=True)
        up.process.send_signal(signal.SIGINT)
        await up.ends(STOP_S)
        assert not [child for child in children if child.is_running()]

    async with marquee_up(*arguments, "--fresh") as up:
        await up.until(READY, START_S)
        assert not await _has_user(data_dir, "ada")
        children = psutil.Process(up.process.pid).children(recursive=True)
        victim = next(child for child in children if "notify_svc" in " ".join(child.cmdline()))
        victim.kill()
        assert await up.ends(STOP_S) == 1
        assert "notify" in up.text.splitlines()[-1]
        assert not [child for child in children if child.is_running()]


async def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    offset = _free_offset()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", Ports.shifted(offset).edge))
        taken.listen()
        async with marquee_up(
            "--data-dir", str(tmp_path / "data"), "--port-offset", str(offset)
        ) as up:
            assert await up.ends(START_S) == 1
    last = up.text.splitlines()[-1]
    assert str(Ports.shifted(offset).edge) in last
    assert "--port-offset" in last
