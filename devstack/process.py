"""One child process: its own process group, its output in a file, its death observable."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from devstack import guard
from devstack.logs import readable

_TAIL_BYTES = 16_384


class ChildProcess:
    """A running child; `ChildProcess.spawn` makes one.

    The child leads a session of its own, so Ctrl-C in the terminal reaches only the parent,
    which then takes its children down in order. It is killed by the kernel when the thread that
    spawned it ends, however that happens; so spawn from the main thread.
    """

    def __init__(self, process: asyncio.subprocess.Process, log_path: Path, log_start: int) -> None:
        self._process = process
        self._log_start = log_start
        self.log_path = log_path

    @classmethod
    async def spawn(
        cls,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        log_path: Path,
        directory: Path,
    ) -> ChildProcess:
        """Starts a command.

        Args:
            command: The program and its arguments; no shell is involved.
            environment: Added to this process's own environment.
            log_path: Receives standard output and standard error, appended.
            directory: The working directory of the child.
        """
        with log_path.open("ab") as log:
            log_start = log.tell()
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                "-S",
                guard.__file__,
                str(os.getpid()),
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=directory,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        return cls(process, log_path, log_start)

    @property
    def pid(self) -> int:
        """The process id, which is also the id of the child's process group."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit status, negative for a signal, or None while the child runs."""
        return self._process.returncode

    async def wait(self) -> int:
        """Waits until the child has ended and returns its status."""
        return await self._process.wait()

    async def stop(self, grace_s: float) -> int:
        """Asks the child to end, and ends it when it has not done so after `grace_s` seconds."""
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace_s):
                return await self._process.wait()
        except TimeoutError:
            return await self.kill()
        finally:
            self._end_stragglers()

    async def kill(self) -> int:
        """Ends the child and everything in its process group at once (SIGKILL)."""
        self._end_stragglers()
        return await self._process.wait()

    def last_line(self) -> str:
        """The last line that the child has written since it was started, for people; or nothing."""
        try:
            with self.log_path.open("rb") as log:
                size = log.seek(0, os.SEEK_END)
                log.seek(max(self._log_start, size - _TAIL_BYTES))
                text = log.read().decode("utf-8", errors="replace")
        except OSError:
            return ""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return readable(lines[-1]) if lines else ""

    def _signal(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            self._process.send_signal(number)

    def _end_stragglers(self) -> None:
        # Also when the child itself has gone: its worker processes share its group.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
