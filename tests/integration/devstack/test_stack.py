"""The embedded stack: real processes, up and down."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from pymongo import AsyncMongoClient

from devstack import probes
from devstack.components import ENVOY, KAFKA, MONGODB, OTLP, StackConfig
from devstack.errors import AlreadyRunningError, ComponentError, PortInUseError
from devstack.ports import Ports
from devstack.stack import Stack
from devstack.state import DataDirectory, find_stack
from devstack.supervisor import ComponentSpec, Supervisor

INFRASTRUCTURE = frozenset({MONGODB, KAFKA, OTLP, ENVOY})


def config_for(directory, **changes) -> StackConfig:
    defaults = StackConfig(data_dir=directory, ports=Ports.free(), components=INFRASTRUCTURE)
    return replace(defaults, **changes)


@asynccontextmanager
async def running(config, on_progress=None):
    stack = Stack(config, on_progress)
    await stack.start()
    try:
        yield stack
    finally:
        await stack.stop()


def is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def until(condition, timeout_s: float = 10.0) -> bool:
    give_up_at = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > give_up_at:
            return False
        await asyncio.sleep(0.05)
    return True


async def test_everything_comes_up_survives_faults_and_goes_away(tmp_path):
    steps = []
    config = config_for(tmp_path / "data")
    async with running(config, steps.append) as stack:
        pids = {name: stack.pid(name) for name in (MONGODB, KAFKA, ENVOY)}
        assert all(is_alive(pid) for pid in pids.values())
        info = find_stack(config.data_dir)
        assert info.pid == os.getpid()
        assert info.components == pids
        assert info.endpoints == stack.endpoints
        assert next(s.component for s in steps if s.state == "ready") == OTLP

        # A second stack in the same place, or on the same ports, is refused; this one goes on.
        with pytest.raises(AlreadyRunningError, match=str(os.getpid())):
            await Stack(config).start()
        elsewhere = replace(config, data_dir=tmp_path / "other")
        with pytest.raises(PortInUseError, match=str(config.ports.mongodb)):
            await Stack(elsewhere).start()

        # What MongoDB holds outlives its being killed.
        client = AsyncMongoClient(stack.endpoints.mongodb_uri, w="majority")
        await client.films.seen.insert_one({"_id": "m1"})
        await client.close()
        await stack.kill(MONGODB)
        assert stack.pid(MONGODB) is None
        await stack.start_component(MONGODB)
        client = AsyncMongoClient(stack.endpoints.mongodb_uri)
        assert await client.films.seen.find_one({"_id": "m1"}) == {"_id": "m1"}
        await client.close()
        assert find_stack(config.data_dir).components[MONGODB] == stack.pid(MONGODB)

        # A death from outside is noticed; one by our hand was not reported before it.
        os.kill(stack.pid(ENVOY), signal.SIGKILL)
        death = await asyncio.wait_for(stack.wait_for_death(), 10)
        assert (death.component, death.returncode) == (ENVOY, -signal.SIGKILL)
        assert str(death.log_path) in str(death)
        await stack.start_component(ENVOY)
        pids = {name: stack.pid(name) for name in (MONGODB, KAFKA, ENVOY)}

    assert not any(is_alive(pid) for pid in pids.values())
    assert {s.component for s in steps if s.state == "stopped"} == {MONGODB, KAFKA, ENVOY}
    assert DataDirectory(config.data_dir).running() is None

    # The next start finds the data.
    async with running(replace(config, components=frozenset({MONGODB}))) as stack:
        client = AsyncMongoClient(stack.endpoints.mongodb_uri)
        assert await client.films.seen.find_one({"_id": "m1"}) == {"_id": "m1"}
        await client.close()


async def test_external_infrastructure_is_not_started(tmp_path):
    steps = []
    config = config_for(
        tmp_path / "data",
        components=frozenset({MONGODB, KAFKA}),
        mongodb_uri="mongodb://db.example:27017/?replicaSet=rs0",
        kafka_bootstrap="kafka.example:9092",
    )
    async with running(config, steps.append) as stack:
        assert stack.endpoints.mongodb_uri == config.mongodb_uri
        assert stack.endpoints.kafka_bootstrap == config.kafka_bootstrap
        assert stack.pid(MONGODB) is None

    assert {(s.component, s.state) for s in steps} == {(MONGODB, "external"), (KAFKA, "external")}


async def test_a_port_in_use_is_named_before_anything_starts(tmp_path):
    config = config_for(tmp_path / "data")
    steps = []
    with socket.socket() as holder:
        holder.bind((config.host, config.ports.edge_admin))
        holder.listen()
        with pytest.raises(PortInUseError) as raised:
            await Stack(config, steps.append).start()

    assert steps == []
    message = str(raised.value)
    assert str(config.ports.edge_admin) in message
    assert "envoy admin" in message
    assert "--port-offset" in message
    assert "\n" not in message
    # The failed start left the directory free.
    assert DataDirectory(config.data_dir).running() is None


async def test_a_service_that_refuses_its_settings_is_quoted(tmp_path):
    supervisor = Supervisor()
    said = "configuration error: MARQUEE_LISTEN: must be host:port"
    spec = python_component(tmp_path, f"import sys; print({said!r}, file=sys.stderr); sys.exit(2)")

    with pytest.raises(ComponentError) as raised:
        await supervisor.start(spec)

    assert str(raised.value) == f"example: {said} (log: {spec.log_path})"
    assert supervisor.pid("example") is None


async def test_a_component_that_never_gets_ready_is_ended(tmp_path):
    supervisor = Supervisor()
    spec = replace(python_component(tmp_path, "import time; time.sleep(60)"), start_timeout_s=0.5)

    with pytest.raises(ComponentError, match=r"not ready after 0\.5 s"):
        await supervisor.start(spec)

    assert supervisor.pids() == {}


async def test_what_ignores_sigterm_is_killed_with_its_children(tmp_path):
    supervisor = Supervisor()
    marker = tmp_path / "pids"
    spec = replace(
        python_component(
            tmp_path,
            "import os, pathlib, signal, subprocess, sys, time\n"
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
            f"pathlib.Path({str(marker)!r}).write_text(f'{{os.getpid()}} {{child.pid}}')\n"
            "time.sleep(60)",
        ),
        ready=file_exists(marker),
    )
    await supervisor.start(spec)
    assert await until(lambda: len(marker.read_text().split()) == 2)
    pids = [int(pid) for pid in marker.read_text().split()]

    assert not await supervisor.stop("example", grace_s=0.3)

    assert await until(lambda: not any(is_alive(pid) for pid in pids))


@pytest.mark.skipif(sys.platform != "linux", reason="needs prctl")
async def test_nothing_is_left_when_the_parent_is_killed(tmp_path):
    data = tmp_path / "data"
    program = (
        "import asyncio, pathlib\n"
        "from devstack.components import StackConfig\n"
        "from devstack.ports import Ports\n"
        "from devstack.stack import Stack\n"
        "async def main():\n"
        f"    stack = Stack(StackConfig(data_dir=pathlib.Path({str(data)!r}), ports=Ports.free(),"
        " components=frozenset({'mongodb', 'kafka', 'otlp', 'envoy'})))\n"
        "    await stack.start()\n"
        "    await stack.wait_for_death()\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.to_thread(subprocess.Popen, [sys.executable, "-c", program])
    try:
        directory = DataDirectory(data)
        assert await until(lambda: parent.poll() is None and directory.running() is not None, 30)
        info = directory.running()
        children = list(info.components.values())
        assert len(children) == 3
        assert all(is_alive(pid) for pid in children)
    finally:
        parent.kill()
        parent.wait()

    assert await until(lambda: not any(is_alive(pid) for pid in children))
    # Nor does the directory stay locked.
    assert directory.running() is None
    directory.acquire()
    directory.release()


def python_component(directory, program: str) -> ComponentSpec:
    async def never() -> bool:
        return False

    return ComponentSpec(
        name="example",
        command=[sys.executable, "-c", program],
        ready=never,
        log_path=directory / "example.log",
        directory=directory,
    )


def file_exists(path) -> probes.Probe:
    async def probe() -> bool:
        return path.exists()

    return probe
