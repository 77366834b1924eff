"""The life of a service process: start in order, serve, drain on a signal, stop in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Protocol, TypeVar

import structlog
from pymongo.errors import ConnectionFailure, PyMongoError

from mesh.auth.jwks import KeysError
from mesh.mongo.client import NotAReplicaSetError
from mesh.server import MeshServer, Registration
from mesh.settings import MeshSettings, load_settings
from mesh.telemetry.logs import setup_logs
from mesh.telemetry.setup import setup_telemetry

_log = structlog.get_logger(__name__)
SettingsT = TypeVar("SettingsT", bound=MeshSettings)
ResultT = TypeVar("ResultT")
_STOP_SECONDS = 10.0


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
        failure: Set by a component, or the server, that cannot go on; the process then drains and
            exits with 1.
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


async def serve(
    settings: MeshSettings, application: Application, *, signalled: asyncio.Event | None = None
) -> int:
    """Runs an application until SIGTERM, SIGINT or its own failure.

    Args:
        settings: Address, limits, and how long to drain.
        application: What to run.
        signalled: Ends it when set; None: SIGTERM and SIGINT do.

    Returns:
        The exit status: 0 after a signal, 1 after a failure.
    """
    end = (signalled or _set_by_signals(), application.failure)
    server = MeshServer(
        settings,
        application.registrations,
        draining=application.draining,
        failure=application.failure,
    )
    async with AsyncExitStack() as stack:
        if await _unless_set(_start(server, application, stack), *end):
            _log.info("serving", listen=settings.listen)
            await _unless_set(asyncio.Event().wait(), *end)
        _log.info("draining")
    _log.info("stopped")
    return 1 if application.failure.is_set() else 0


async def _start(server: MeshServer, application: Application, stack: AsyncExitStack) -> bool:
    for component in application.components:
        await component.start()
        stack.push_async_callback(_stop, component)
    await server.start()
    stack.push_async_callback(server.drain)
    await server.set_serving(True)
    return True


async def _stop(component: Component) -> None:
    """Stops a component; one that fails or hangs keeps the others from nothing."""
    name = type(component).__name__
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await component.stop()
    except TimeoutError:
        _log.error("component does not stop", component=name, seconds=_STOP_SECONDS)
    except Exception:
        _log.exception("component failed to stop", component=name)


def _set_by_signals() -> asyncio.Event:
    signalled = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signalled.set)
    return signalled


async def _unless_set(work: Awaitable[ResultT], *events: asyncio.Event) -> ResultT | None:
    """Does some work, but leaves it when an event is set.

    Returns:
        What the work returned, or None if it was left.
    """
    task = asyncio.ensure_future(work)
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait([task, *waits], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
    finally:
        for future in (task, *waits):
            future.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return None


def run_service(
    name: str,
    settings_type: type[SettingsT],
    bootstrap: Callable[[SettingsT], Awaitable[Application]],
) -> None:
    """The `__main__` of a service.

    Args:
        name: service.name in traces and logs, for example `marquee-user`.
        settings_type: What to read from the environment.
        bootstrap: Wires the application; it must stop what it opened if it fails or is cancelled.

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
        signalled = _set_by_signals()
        application = await _unless_set(bootstrap(settings), signalled)
        return 0 if application is None else await serve(settings, application, signalled=signalled)

    try:
        status = asyncio.run(main())
    except NotAReplicaSetError as error:
        print(f"configuration error: {error}", file=sys.stderr)
        status = 2
    except PyMongoError as error:
        trouble = "does not answer" if isinstance(error, ConnectionFailure) else "refuses"
        print(
            f"MongoDB at {_address(settings.mongodb_uri)} {trouble}: {_brief(error)} "
            "(MARQUEE_MONGODB_URI)",
            file=sys.stderr,
        )
        status = 2
    except (OSError, KeysError) as error:
        print(f"configuration error: {error}", file=sys.stderr)
        status = 2
    finally:
        telemetry.shutdown()
    raise SystemExit(status)


def _address(uri: str) -> str:
    """Returns a connection string without the parts that may be secret."""
    scheme, _, rest = uri.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"


def _brief(error: PyMongoError) -> str:
    """Returns what pymongo says on one line, without its settings and its view of the topology."""
    text = str(error).partition(", Timeout:")[0].partition(" (configured timeouts")[0]
    return " ".join(text.split())
