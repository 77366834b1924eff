"""gRPC reflection: each service tells of itself, and of the whole mesh when the edge asks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection

from mesh import contracts

SCOPE_HEADER = "x-marquee-reflection-scope"


class MeshReflection(reflection.aio.ReflectionServicer):  # type: ignore[misc]  # untyped base
    """Lists this process's services, or, with `x-marquee-reflection-scope: mesh`, all of them.

    The edge sets that header, since behind it every service of the mesh can be called.
    """

    def __init__(self, service_names: Sequence[str]) -> None:
        own = (reflection.SERVICE_NAME, health.SERVICE_NAME)
        super().__init__([*service_names, *own])
        self._mesh = reflection.aio.ReflectionServicer([*contracts.services(), *own])

    async def ServerReflectionInfo(  # noqa: N802  # the RPC's name
        self, request_iterator: AsyncIterator[Any], context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[Any]:
        """Answers reflection requests; see grpc_reflection."""
        scope = dict(context.invocation_metadata() or ()).get(SCOPE_HEADER)
        answer = (
            self._mesh.ServerReflectionInfo if scope == "mesh" else super().ServerReflectionInfo
        )
        async for response in answer(request_iterator, context):
            yield response
