"""The life of a service process: start in order, serve, drain on a signal, stop in reverse."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Protocol, TypeVar

import structlog
from pymongo.errors import PyMongoError

from mesh.mongo.client import NotAReplicaSetError
from mesh.server import MeshServer, Registration
from mesh.settings import MeshSettings, load_settings
from mesh.telemetry.logs import setup_logs
from mesh.telemetry.setup import setup_telemetry

_log = structlog.get_logger(__name__)
SettingsT = TypeVar("SettingsT", bound=MeshSettings)


class Component(Protocol):
    """A part of a service that runs in the background."""

    async def start(self) -> None:
        """Begins; returns once it works."""

    async def stop(self) -> None:
        """Ends, leaving nothing half done."""


class Application:
    """What `bootstrap` builds: the servicers and the components behind them.

    Attributes:
        registrations: The servicers.
        components: Started in this order before health says SERVING, stopped in reverse.
        failure: Set by a component that cannot go on; the process then drains and exits with 1.
        draining: Set when long-lived streams must end, since the server is about to.
    """

    def __init__(
        self,
        registrations: Sequence[Registration],
        components: Sequence[Component],
        *,
        failure: asyncio.Event | None = None,
        draining: asyncio.Event | None = None,
    ) -> None:
        self.registrations = tuple(registrations)
        self.components = tuple(components)
        self.failure = failure or asyncio.Event()
        self.draining = draining or asyncio.Event()


async def serve(settings: MeshSettings, application: Application) -> int:
    """Runs an application until SIGTERM, SIGINT or its own failure.

    Returns:
        The exit status: 0 after a signal, 1 after a failure.
    """
    loop = asyncio.get_running_loop()
    signalled = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signalled.set)
    server = MeshServer(settings, application.registrations, draining=application.draining)
    async with AsyncExitStack() as stack:
        for component in application.components:
            await component.start()
            stack.push_async_callback(component.stop)
        await server.start()
        stack.push_async_callback(server.drain)
        await server.set_serving(True)
        _log.info("serving", listen=settings.listen)
        waits = [asyncio.create_task(event.wait()) for event in (signalled, application.failure)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        _log.info("draining")
    _log.info("stopped")
    return 1 if application.failure.is_set() else 0


def run_service(
    name: str,
    settings_type: type[SettingsT],
    bootstrap: Callable[[SettingsT], Awaitable[Application]],
) -> None:
    """The `__main__` of a service.

    Args:
        name: service.name in traces and logs, for example `marquee-user`.
        settings_type: What to read from the environment.
        bootstrap: Wires the application; it must stop what it opened if it fails.

    Raises:
        SystemExit: Always, with the exit status. 2: a wrong setting or an unusable database.
    """
    settings = load_settings(settings_type)
    setup_logs(name, settings.log_level)
    telemetry = setup_telemetry(
        name,
        settings.instance_id,
        traces_endpoint=settings.otlp_endpoint,
        metrics_endpoint=settings.otlp_metrics_endpoint,
    )

    async def main() -> int:
        return await serve(settings, await bootstrap(settings))

    try:
        status = asyncio.run(main())
    except NotAReplicaSetError as error:
        print(f"configuration error: {error}", file=sys.stderr)
        status = 2
    except PyMongoError as error:
        print(f"MongoDB at {_without_secrets(settings.mongodb_uri)}: {error}", file=sys.stderr)
        status = 2
    except OSError as error:
        print(f"configuration error: {error}", file=sys.stderr)
        status = 2
    finally:
        telemetry.shutdown()
    raise SystemExit(status)


def _without_secrets(uri: str) -> str:
    scheme, _, rest = uri.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
