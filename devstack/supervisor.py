"""Starts, watches and ends components that run as child processes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from devstack.errors import ComponentError
from devstack.probes import Probe, until
from devstack.process import ChildProcess


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentSpec:
    """How one component is run."""

    name: str
    command: Sequence[str]
    ready: Probe
    log_path: Path
    directory: Path
    """The working directory of the process."""
    environment: Mapping[str, str] = field(default_factory=dict)
    start_timeout_s: float = 30.0
    stop_grace_s: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """A component that ended although nobody asked it to."""

    component: str
    returncode: int
    """The exit status, negative for a signal."""
    last_line: str
    """The last line of its log, perhaps empty."""
    log_path: Path

    def __str__(self) -> str:
        said = f": {self.last_line}" if self.last_line else ""
        return f"{self.component} {_how_it_ended(self.returncode)}{said} (log: {self.log_path})"


class Supervisor:
    """Holds the running components by name.

    A death is reported by `wait_for_death` unless this supervisor caused it.
    """

    def __init__(self) -> None:
        self._running: dict[str, ChildProcess] = {}
        self._watchers: dict[str, asyncio.Task[None]] = {}
        self._deaths: asyncio.Queue[Death] = asyncio.Queue()

    def pid(self, name: str) -> int | None:
        """The process id of a running component, or None."""
        child = self._running.get(name)
        return child.pid if child else None

    def pids(self) -> dict[str, int]:
        """The process id of every running component."""
        return {name: child.pid for name, child in self._running.items()}

    async def start(self, spec: ComponentSpec) -> None:
        """Starts a component and waits until it is ready.

        Raises:
            ComponentError: It exited, or was not ready in time; in both cases it is gone.
            ValueError: A component of that name is running.
        """
        if spec.name in self._running:
            raise ValueError(f"{spec.name} is already running")
        child = await ChildProcess.spawn(
            spec.command,
            environment=spec.environment,
            log_path=spec.log_path,
            directory=spec.directory,
        )
        self._running[spec.name] = child
        try:
            await self._until_ready(spec, child)
        except BaseException:
            await self.kill(spec.name)
            raise
        self._watchers[spec.name] = asyncio.create_task(
            self._watch(spec.name, child), name=f"watch {spec.name}"
        )

    async def stop(self, name: str, grace_s: float) -> bool:
        """Ends a component with SIGTERM, then SIGKILL; does nothing when it is not running.

        Returns:
            Whether SIGTERM was enough.
        """
        child = await self._let_go(name)
        return child is None or await child.stop(grace_s) != -signal.SIGKILL

    async def kill(self, name: str) -> None:
        """Ends a component with SIGKILL; does nothing when it is not running."""
        child = await self._let_go(name)
        if child is not None:
            await child.kill()

    async def wait_for_death(self) -> Death:
        """Waits until a component ends without having been told to."""
        return await self._deaths.get()

    async def _let_go(self, name: str) -> ChildProcess | None:
        watcher = self._watchers.pop(name, None)
        if watcher is not None:
            watcher.cancel()
            with suppress(asyncio.CancelledError):
                await watcher
        return self._running.pop(name, None)

    async def _watch(self, name: str, child: ChildProcess) -> None:
        returncode = await child.wait()
        self._running.pop(name, None)
        self._watchers.pop(name, None)
        await child.kill()  # its worker processes, if it left any
        self._deaths.put_nowait(
            Death(
                component=name,
                returncode=returncode,
                last_line=child.last_line(),
                log_path=child.log_path,
            )
        )

    async def _until_ready(self, spec: ComponentSpec, child: ChildProcess) -> None:
        exited = asyncio.create_task(child.wait())
        ready = asyncio.create_task(until(spec.ready))
        try:
            done, _ = await asyncio.wait(
                {exited, ready},
                timeout=spec.start_timeout_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            for task in (exited, ready):
                task.cancel()
            await asyncio.gather(exited, ready, return_exceptions=True)
        if exited in done:
            said = child.last_line() or _how_it_ended(exited.result())
            raise ComponentError(spec.name, said, spec.log_path)
        if ready in done:
            ready.result()
            return
        said = f"; its last line: {line}" if (line := child.last_line()) else ""
        raise ComponentError(
            spec.name, f"not ready after {spec.start_timeout_s:g} s{said}", spec.log_path
        )


def _how_it_ended(returncode: int) -> str:
    if returncode >= 0:
        return f"exited with status {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = f"signal {-returncode}"
    return f"was ended by {name}"
