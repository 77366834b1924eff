"""Turns exceptions into statuses; what nobody expected is logged and answered as INTERNAL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import structlog
from grpc_status import rpc_status

from mesh.errors import Code, MeshError
from mesh.interceptors.base import ServerCall
from mesh.status import to_status

_log = structlog.get_logger(__name__)


class ErrorLayer:
    """Aborts the call with the status of the exception that its handler raised."""

    @asynccontextmanager
    async def around(self, call: ServerCall) -> AsyncIterator[None]:
        """Wraps one call; see `mesh.interceptors.base`."""
        try:
            yield
        except grpc.aio.AbortError:
            raise
        except Exception as error:
            status = to_status(error)
            if status.code == Code.INTERNAL:
                _log.exception("rpc failed", rpc_method=call.method)
            elif status.code == Code.UNAVAILABLE and not isinstance(error, MeshError):
                # Its text may quote data; its type says what is away.
                _log.warning("rpc unavailable", rpc_method=call.method, error=type(error).__name__)
            try:
                await call.context.abort_with_status(rpc_status.to_status(status))
            except grpc.aio.AbortError:
                raise
            except grpc.aio.BaseError as gone:
                # The caller's deadline is often the same as ours, and then passes first.
                raise asyncio.CancelledError("the caller has gone") from gone
