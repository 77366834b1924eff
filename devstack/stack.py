"""The embedded stack: every component of the mesh on this machine, started and ended together."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from devstack import probes
from devstack.components import (
    ENVOY,
    KAFKA,
    MONGODB,
    OTLP,
    SERVICES,
    StackConfig,
    caller_tls,
    ensure_installed,
    service_of,
    spec_of,
)
from devstack.edge import drain_envoy
from devstack.errors import ComponentError, DevstackError
from devstack.identities import Identities
from devstack.issuer import Issuer
from devstack.otlp import OtlpReceiver, TraceStore
from devstack.ports import ensure_free
from devstack.state import CallerTls, DataDirectory, Endpoints, StackInfo
from devstack.supervisor import Death, Supervisor


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One step of a component on its way up or down."""

    component: str
    state: Literal["starting", "ready", "external", "stopping", "stopped", "killed"]
    seconds: float = 0.0
    """How long the step took, for `ready`, `stopped` and `killed` (it ignored SIGTERM)."""


ProgressCallback = Callable[[Progress], None]


class Stack:
    """Runs the components of a `StackConfig`; call everything from one event loop.

    Use it in the main thread: the kernel ends the components when the thread that started them
    goes away, so nothing is left behind even when this process is killed.
    """

    def __init__(self, config: StackConfig, on_progress: ProgressCallback | None = None) -> None:
        self.config = config
        self.directory = DataDirectory(config.data_dir)
        self._report: ProgressCallback = on_progress or (lambda _: None)
        self._supervisor = Supervisor()
        self._identities = Identities(self.directory, tls=config.tls)
        self._receiver: OtlpReceiver | None = None
        self._started_at = 0.0

    @property
    def endpoints(self) -> Endpoints:
        """Where the parts of the stack can be reached."""
        return self.config.endpoints

    @property
    def traces(self) -> TraceStore:
        """The traces collected since the stack was started.

        Raises:
            RuntimeError: The stack has no trace receiver, or has not been started.
        """
        if self._receiver is None:
            raise RuntimeError("this stack does not collect traces")
        return self._receiver.store

    @property
    def issuer(self) -> Issuer:
        """Signs the tokens that this stack accepts."""
        return self._identities.issuer

    @property
    def info(self) -> StackInfo:
        """What other commands are told of this stack."""
        return StackInfo(
            pid=os.getpid(),
            started_at=self._started_at,
            endpoints=self.endpoints,
            components=self._supervisor.pids(),
            spans_path=str(self.directory.spans) if self._receiver else "",
            tls=self._caller_tls(),
        )

    def pid(self, name: str) -> int | None:
        """The process id of a component or a replica, or None when it does not run here."""
        return self._supervisor.pid(name)

    async def start(self) -> None:
        """Starts every component and waits until all of them are healthy.

        What was started is ended again when this fails or is cancelled.

        Raises:
            PortInUseError: Somebody else holds one of the ports; nothing was started.
            MissingPackageError: A wheel is not installed; nothing was started.
            AlreadyRunningError: The data directory belongs to a running stack.
            ComponentError: A component exited or did not become healthy.
        """
        config = self.config
        ensure_installed(config)
        self.directory.acquire(fresh=config.fresh)
        try:
            ensure_free(config.ports, self._instances(config.started), config.host)
            self._set_logs_aside()
            self._started_at = time.time()
            self._identities.start()
            await self._start_all()
            self._describe()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Ends every component, those that others depend on last; harmless when none runs."""
        await self._stop_each([ENVOY])
        await self._stop_each(self._instances(SERVICES))
        await self._stop_each([KAFKA, MONGODB])
        if self._receiver is not None:
            await self._receiver.stop()
        await self._identities.stop()
        self.directory.release()

    # Below, a component with several replicas means all of them, and `reco-1` one of them.

    async def kill(self, name: str) -> None:
        """Ends a component with SIGKILL, as a fault would; `wait_for_death` does not report it."""
        await asyncio.gather(*(self._supervisor.kill(each) for each in self._instances([name])))

    async def stop_component(self, name: str) -> None:
        """Ends a component gracefully; `wait_for_death` does not report it."""
        await self._stop_each(self._instances([name]))

    async def start_component(self, name: str) -> None:
        """Starts a component that does not run and waits until it is healthy.

        For a service that also means: until the edge sends calls to it again.
        """
        instances = self._instances([name])
        await self._start_each(instances)
        await self._until_edge_sees(instances)
        self._describe()

    async def restart(self, name: str) -> None:
        """Ends a component gracefully and starts it again."""
        await self.stop_component(name)
        await self.start_component(name)

    async def rolling_restart(self, service: str) -> None:
        """Restarts the replicas of a service one after another.

        The next one is touched only when the edge sends calls to all of them again.

        Raises:
            ComponentError: A replica did not become healthy; those after it still run.
        """
        instances = self._instances([service])
        for name in instances:
            await self._until_edge_sees(instances)
            await self.restart(name)
        await self._until_edge_sees(instances)

    async def wait_for_death(self) -> Death:
        """Waits until a component ends although nobody asked it to."""
        return await self._supervisor.wait_for_death()

    async def _start_all(self) -> None:
        started = self.config.started
        for name in (MONGODB, KAFKA):
            if name in self.config.components and name not in started:
                self._report(Progress(component=name, state="external"))
        if OTLP in started:
            await self._start_receiver()
        await self._start_each(name for name in (MONGODB, KAFKA) if name in started)
        # Envoy checks the services' health itself, so it can come up beside them.
        services = self._instances(name for name in SERVICES if name in started)
        await self._start_each([*services, *({ENVOY} & set(started))])
        await self._until_edge_sees(services)

    def _instances(self, names: Iterable[str]) -> list[str]:
        return [instance for name in names for instance in self.config.instances(name)]

    async def _start_each(self, names: Iterable[str]) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for name in names:
                    group.create_task(self._start_one(name))
        except* DevstackError as failed:
            # The first failure is the cause; a group of them would not fit into one line.
            raise failed.exceptions[0] from None

    async def _start_one(self, name: str) -> None:
        self._report(Progress(component=name, state="starting"))
        began = time.monotonic()
        await self._supervisor.start(spec_of(name, self.config, self.directory))
        took = time.monotonic() - began
        self._report(Progress(component=name, state="ready", seconds=took))

    async def _stop_each(self, names: Iterable[str]) -> None:
        running = [name for name in names if self._supervisor.pid(name) is not None]
        await asyncio.gather(*(self._stop_one(name) for name in running))

    async def _stop_one(self, name: str) -> None:
        self._report(Progress(component=name, state="stopping"))
        began = time.monotonic()
        if name == ENVOY:
            await drain_envoy(self.endpoints.edge_admin)
        gracefully = await self._supervisor.stop(name, self.config.stop_grace_s)
        took = time.monotonic() - began
        state: Literal["stopped", "killed"] = "stopped" if gracefully else "killed"
        self._report(Progress(component=name, state=state, seconds=took))

    async def _start_receiver(self) -> None:
        self._report(Progress(component=OTLP, state="starting"))
        address = f"{self.config.host}:{self.config.ports.otlp}"
        self._receiver = OtlpReceiver(address, self.directory.spans)
        await self._receiver.start()
        self._report(Progress(component=OTLP, state="ready"))

    async def _until_edge_sees(self, instances: list[str]) -> None:
        services = [name for name in instances if service_of(name) in SERVICES]
        if self._supervisor.pid(ENVOY) is None or not services:
            return
        config = self.config
        addresses = [f"{config.host}:{config.ports.of(name)}" for name in services]
        seen = probes.envoy_sees(self.endpoints.edge_admin, addresses)
        try:
            async with asyncio.timeout(self.config.start_timeout_s):
                await probes.until(seen)
        except TimeoutError:
            raise ComponentError(
                ENVOY,
                f"it does not see {', '.join(services)} as healthy",
                self.directory.log_of(ENVOY),
            ) from None

    def _describe(self) -> None:
        self.directory.write(self.info)

    def _caller_tls(self) -> CallerTls | None:
        files = caller_tls(self.config, self.directory)
        if files is None:
            return None
        return CallerTls(
            ca=str(files.authorities),
            certificate=str(files.certificate),
            key=str(files.key),
            asked_at_edge=self.config.mtls,
        )

    def _set_logs_aside(self) -> None:
        for log in self.directory.logs.glob("*.log"):
            log.replace(log.with_suffix(".log.1"))
