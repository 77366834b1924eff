"""The data directory: what a running stack leaves there for other commands, and who owns it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from devstack.errors import AlreadyRunningError, DevstackError

DEFAULT_DIRECTORY = Path(".marquee")
_LOCK_PATIENCE_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Where the parts of a stack can be reached; addresses are `host:port`."""

    edge: str
    edge_admin: str
    user: str
    reco: str
    notify: str
    mongodb_uri: str
    kafka_bootstrap: str
    otlp: str
    """URL of the trace receiver, empty when tracing is off."""
    replicas: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The addresses of all processes of each service, by its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerTls:
    """How a stack with TLS is called; paths of files in PEM form."""

    ca: str
    """Its authority, to be trusted."""
    certificate: str
    """What may be shown to those who ask for a certificate, with its key."""
    key: str
    asked_at_edge: bool
    """Whether the edge asks for one, too; the services always do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StackInfo:
    """What `stack.json` says about a running stack."""

    pid: int
    started_at: float
    """Seconds since the epoch."""
    endpoints: Endpoints
    components: dict[str, int]
    """Process ids of the components that run as processes of this stack."""
    spans_path: str
    """The file to which the trace receiver appends, empty when tracing is off."""
    tls: CallerTls | None = None
    """What callers need to call it by TLS; None: it speaks plain text."""


class DataDirectory:
    """One directory that holds everything a stack keeps, owned by one stack at a time.

    The lock is an advisory lock on a file, so the kernel drops it when the owner dies, however
    it dies.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock_fd: int | None = None

    @property
    def logs(self) -> Path:
        """Where the components' output goes."""
        return self.path / "logs"

    @property
    def spans(self) -> Path:
        """The file of collected spans, one OTLP JSON export per line."""
        return self.path / "traces" / "spans.jsonl"

    @property
    def auth(self) -> Path:
        """What the development issuer keeps."""
        return self.path / "auth"

    @property
    def tokens(self) -> Path:
        """The directory of the services' own tokens."""
        return self.auth / "tokens"

    @property
    def tls(self) -> Path:
        """What the development authority keeps."""
        return self.path / "tls"

    @property
    def info_path(self) -> Path:
        """The description of the running stack."""
        return self.path / "stack.json"

    @property
    def _lock_path(self) -> Path:
        return self.path / "marquee.lock"

    def log_of(self, component: str) -> Path:
        """The log file of a component."""
        return self.logs / f"{component}.log"

    def acquire(self, *, fresh: bool = False) -> None:
        """Takes the directory for this process, making it if need be.

        Args:
            fresh: Drop what an earlier stack left there.

        Raises:
            AlreadyRunningError: A running stack owns the directory.
            DevstackError: The directory cannot be made or written.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._refuse_what_is_not_ours()
            with suppress(PermissionError):  # a volume that is somebody else's, lent to us
                self.path.chmod(0o700)  # databases, logs and spans are for this user only
            fd = os.open(self._lock_path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise DevstackError(
                f"cannot use {self.path} as the data directory ({error.strerror}): "
                "choose another with --data-dir"
            ) from error
        if not _lock(fd, fcntl.LOCK_EX):
            os.close(fd)
            info = self.read()
            raise AlreadyRunningError(self.path, info.pid if info else None)
        self._lock_fd = fd
        if fresh:
            self._drop()
        self.info_path.unlink(missing_ok=True)
        self.logs.mkdir(exist_ok=True)
        self.spans.parent.mkdir(exist_ok=True)

    def release(self) -> None:
        """Gives the directory up; harmless when it is not held."""
        if self._lock_fd is None:
            return
        self.info_path.unlink(missing_ok=True)
        os.close(self._lock_fd)
        self._lock_fd = None

    def write(self, info: StackInfo) -> None:
        """Describes the running stack to other commands."""
        draft = self.info_path.with_suffix(".json.new")
        draft.write_text(json.dumps(asdict(info), indent=2) + "\n", encoding="utf-8")
        draft.replace(self.info_path)

    def read(self) -> StackInfo | None:
        """The description a stack left here, whether or not it still runs."""
        try:
            raw = json.loads(self.info_path.read_text(encoding="utf-8"))
            endpoints = _endpoints(raw.pop("endpoints"))
            tls = raw.pop("tls")
            return StackInfo(endpoints=endpoints, tls=tls and CallerTls(**tls), **raw)
        except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def running(self) -> StackInfo | None:
        """The description of the stack that runs here now, or None."""
        info = self.read()
        return info if info is not None and self._is_locked() else None

    def _is_locked(self) -> bool:
        if self._lock_fd is not None:
            return True
        try:
            fd = os.open(self._lock_path, os.O_RDWR)
        except OSError:
            return False
        try:
            return not _lock(fd, fcntl.LOCK_SH, patience_s=0.0)
        finally:
            os.close(fd)

    def _refuse_what_is_not_ours(self) -> None:
        # `fresh` removes everything here, so a directory with somebody's files is never adopted.
        if not self._lock_path.exists() and any(self.path.iterdir()):
            raise DevstackError(
                f"{self.path} holds files that are not a stack's: "
                "choose an empty or new directory with --data-dir"
            )

    def _drop(self) -> None:
        for entry in self.path.iterdir():
            if entry == self._lock_path:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()


def find_stack(directory: Path = DEFAULT_DIRECTORY) -> StackInfo:
    """The stack that runs in a data directory, for commands that talk to it.

    Raises:
        DevstackError: None runs there.
    """
    info = DataDirectory(directory).running()
    if info is None:
        raise DevstackError(
            f"no stack is running in {directory.absolute()}: start one with `marquee up`, "
            "or name its directory with --data-dir"
        )
    return info


def _endpoints(raw: dict[str, Any]) -> Endpoints:
    replicas = {name: tuple(addresses) for name, addresses in raw.pop("replicas").items()}
    return Endpoints(**raw, replicas=replicas)


def _lock(fd: int, kind: int, patience_s: float = _LOCK_PATIENCE_S) -> bool:
    # A command that looks whether a stack runs holds the lock for an instant: try a few times.
    give_up_at = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(fd, kind | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            if time.monotonic() >= give_up_at:
                return False
            time.sleep(0.02)
        else:
            return True
