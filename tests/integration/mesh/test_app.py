"""The life of a service: in this process, and as a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from marquee.user.v1 import user_service_pb2_grpc
from support.tokens import Issuer

from mesh.app import Application, Component, serve
from mesh.mongo.client import NotAReplicaSetError
from mesh.server import Registration
from mesh.settings import MeshSettings

USERS = Registration(
    "marquee.user.v1.UserService",
    user_service_pb2_grpc.UserServiceServicer(),
    user_service_pb2_grpc.add_UserServiceServicer_to_server,
)


class Part:
    """A component that notes what happens to it."""

    def __init__(self, name: str, notes: list[str], **trouble: BaseException | float) -> None:
        self._name = name
        self._notes = notes
        self._trouble = trouble

    async def _go_through(self, step: str) -> None:
        trouble = self._trouble.get(step)
        if isinstance(trouble, BaseException):
            raise trouble
        await asyncio.sleep(trouble or 0)
        self._notes.append(f"{step} {self._name}")

    async def start(self) -> None:
        await self._go_through("start")

    async def stop(self) -> None:
        await self._go_through("stop")


@pytest.fixture
def settings(free_port: Callable[[], int]) -> MeshSettings:
    """Settings of a service that needs neither database nor broker."""
    return MeshSettings(
        listen=f"127.0.0.1:{free_port()}",
        mongodb_uri="mongodb://127.0.0.1:1",
        kafka_bootstrap="127.0.0.1:1",
        drain_seconds=0,
        grace_seconds=1,
    )


async def is_serving(settings: MeshSettings) -> bool:
    async with grpc.aio.insecure_channel(settings.listen) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        reply = await health.Check(
            health_pb2.HealthCheckRequest(service=USERS.service_name), wait_for_ready=True
        )
        return reply.status == health_pb2.HealthCheckResponse.SERVING


async def test_components_start_in_order_and_stop_in_reverse(settings: MeshSettings) -> None:
    notes: list[str] = []
    application = Application([USERS], [Part("a", notes), Part("b", notes)])
    end = asyncio.Event()
    running = asyncio.create_task(serve(settings, application, signalled=end))
    assert await is_serving(settings)
    assert notes == ["start a", "start b"]
    end.set()
    assert await running == 0
    assert notes == ["start a", "start b", "stop b", "stop a"]
    assert application.draining.is_set()


async def test_a_failing_component_ends_the_service_with_1(settings: MeshSettings) -> None:
    notes: list[str] = []
    application = Application([USERS], [Part("a", notes)])
    running = asyncio.create_task(serve(settings, application, signalled=asyncio.Event()))
    assert await is_serving(settings)
    application.failure.set()
    assert await running == 1
    assert notes == ["start a", "stop a"]


async def test_a_component_that_does_not_start_stops_those_before_it(
    settings: MeshSettings,
) -> None:
    notes: list[str] = []
    parts: list[Component] = [Part("a", notes), Part("b", notes, start=NotAReplicaSetError("no"))]
    with pytest.raises(NotAReplicaSetError):
        await serve(settings, Application([USERS], parts), signalled=asyncio.Event())
    assert notes == ["start a", "stop a"]


async def test_a_component_that_fails_to_stop_keeps_the_others_from_nothing(
    settings: MeshSettings,
) -> None:
    notes: list[str] = []
    parts: list[Component] = [Part("a", notes), Part("b", notes, stop=RuntimeError("broken"))]
    end = asyncio.Event()
    running = asyncio.create_task(serve(settings, Application([USERS], parts), signalled=end))
    assert await is_serving(settings)
    end.set()
    assert await running == 0
    assert notes == ["start a", "start b", "stop a"]


async def test_a_component_that_hangs_at_its_stop_is_left(
    settings: MeshSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesh.app._STOP_SECONDS", 0.2)
    notes: list[str] = []
    parts: list[Component] = [Part("a", notes), Part("b", notes, stop=60.0)]
    end = asyncio.Event()
    running = asyncio.create_task(serve(settings, Application([USERS], parts), signalled=end))
    assert await is_serving(settings)
    end.set()
    async with asyncio.timeout(10):
        assert await running == 0
    assert notes == ["start a", "start b", "stop a"]


async def test_a_start_that_hangs_can_be_ended(settings: MeshSettings) -> None:
    notes: list[str] = []
    parts: list[Component] = [Part("a", notes), Part("b", notes, start=60.0)]
    end = asyncio.Event()
    running = asyncio.create_task(serve(settings, Application([USERS], parts), signalled=end))
    await asyncio.sleep(0.1)
    end.set()
    async with asyncio.timeout(10):
        assert await running == 0
    assert notes == ["start a", "stop a"]


PROGRAM = """
import asyncio, sys
from mesh.app import Application, run_service
from mesh.mongo.database import open_database
from mesh.settings import MeshSettings

async def bootstrap(settings):
    if "hang" in sys.argv:
        print("hangs", flush=True)
        await asyncio.Event().wait()
    parts = []
    if "mongodb" in sys.argv:
        parts.append(await open_database(settings.mongodb_uri, "test", [], app_name="test"))
    return Application([], parts)

run_service("marquee-test", MeshSettings, bootstrap)
"""


class Program:
    """Runs a service as a process of its own."""

    def __init__(self, path: Path, listen: str, issuer: Issuer) -> None:
        self._path = path
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith("MARQUEE_")
        } | {
            "MARQUEE_LISTEN": listen,
            "MARQUEE_MONGODB_URI": "mongodb://me:hunter2@127.0.0.1:1/?timeoutMS=700",
            "MARQUEE_KAFKA_BOOTSTRAP": "127.0.0.1:1",
            "MARQUEE_DRAIN_SECONDS": "0",
            "MARQUEE_GRACE_SECONDS": "1",
            **issuer.environment(),
        }
        path.write_text(PROGRAM)

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(self._path), *arguments],
            env=self._environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **environment: str) -> tuple[int, str]:
        process = self.start(*arguments, **environment)
        _, errors = process.communicate(timeout=30)
        return process.returncode, errors


@pytest.fixture
def program(tmp_path: Path, settings: MeshSettings, issuer: Issuer) -> Program:
    """A service without RPCs of its own."""
    return Program(tmp_path / "service.py", settings.listen, issuer)


def wait_until_listening(listen: str) -> None:
    host, _, port = listen.rpartition(":")
    give_up_at = time.monotonic() + 20
    while True:
        try:
            socket.create_connection((host, int(port)), 1).close()
        except OSError:
            assert time.monotonic() < give_up_at, "does not listen"
            time.sleep(0.05)
        else:
            return


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0(
    program: Program, settings: MeshSettings, number: signal.Signals
) -> None:
    process = program.start()
    wait_until_listening(settings.listen)
    time.sleep(0.2)
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" not in errors
    assert '"event": "stopped"' in errors
    assert '"service": "marquee-test"' in errors


def test_a_signal_ends_a_start_that_hangs(program: Program) -> None:
    process = program.start("hang")
    assert process.stdout is not None
    assert process.stdout.readline() == "hangs\n"
    process.terminate()
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" not in errors


def test_a_wrong_setting_is_one_line_and_2(program: Program) -> None:
    status, errors = program.run(MARQUEE_LISTEN="nowhere", MARQUEE_GRACE_SECONDS="-1")
    assert status == 2
    (line,) = errors.splitlines()
    assert line.startswith("configuration error: MARQUEE_LISTEN: must be host:port")
    assert "MARQUEE_GRACE_SECONDS: " in line


def test_a_port_in_use_is_one_line_and_2(program: Program, settings: MeshSettings) -> None:
    with socket.create_server(("127.0.0.1", int(settings.listen.rpartition(":")[2]))):
        status, errors = program.run()
    assert status == 2
    (line,) = [line for line in errors.splitlines() if not line.startswith("{")]
    assert line == (
        f"configuration error: cannot listen on {settings.listen}: Address already in use "
        "(MARQUEE_LISTEN)"
    )


@pytest.mark.parametrize(
    ("jwks", "says"),
    [
        (None, "cannot be read: No such file or directory"),
        ("directory", "is not a file"),
        ("{}", "is not a JSON Web Key Set"),
        ("[", "is not JSON"),
        ('{"keys": []}', "has no key for ES256"),
    ],
)
def test_keys_that_are_none_are_one_line_and_2(
    program: Program, tmp_path: Path, jwks: str | None, says: str
) -> None:
    place = tmp_path / "keys.json"
    if jwks == "directory":
        place.mkdir()
    elif jwks is not None:
        place.write_text(jwks)
    status, errors = program.run(MARQUEE_AUTH_JWKS=str(place))
    assert status == 2
    (line,) = [line for line in errors.splitlines() if not line.startswith("{")]
    assert line.startswith(f"configuration error: {place} {says}")
    assert line.endswith(" (MARQUEE_AUTH_JWKS)")


def test_a_publisher_of_keys_that_is_away_delays_nobody(
    program: Program, settings: MeshSettings, free_port: Any
) -> None:
    process = program.start(MARQUEE_AUTH_JWKS=f"http://127.0.0.1:{free_port()}/jwks.json")
    wait_until_listening(settings.listen)
    process.terminate()
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "no keys of tokens" in errors
    assert "Traceback" not in errors


def test_a_database_that_is_away_is_one_line_and_2(program: Program) -> None:
    status, errors = program.run("mongodb")
    assert status == 2
    (line,) = [line for line in errors.splitlines() if not line.startswith("{")]
    assert line.startswith("MongoDB at mongodb://127.0.0.1:1/ does not answer: ")
    assert "hunter2" not in errors


def test_a_collector_that_is_away_delays_nothing(
    program: Program, settings: MeshSettings, free_port: Any
) -> None:
    process = program.start(MARQUEE_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}")
    wait_until_listening(settings.listen)
    time.sleep(0.2)
    begin = time.monotonic()
    process.terminate()
    assert process.wait(20) == 0
    assert time.monotonic() - begin < 8
    process.communicate()
