"""gRPC reflection: each service tells of itself, and of the whole mesh when the edge asks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
from google.protobuf import descriptor, descriptor_pool
from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection

from mesh import contracts

SCOPE_HEADER = "x-marquee-reflection-scope"


class _SymbolPool:
    """The default pool, which also finds the file of a method or a field by its full name.

    Protobuf's own looks for neither, though reflection names both as symbols.
    """

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> descriptor.FileDescriptor:  # noqa: N802  # the pool's name
        """Returns the file that declares a symbol.

        Raises:
            KeyError: No file does.
        """
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            owner, _, member = symbol.rpartition(".")
            file = self._pool.FindFileContainingSymbol(owner)
            name = owner.removeprefix(f"{file.package}.")
            service = file.services_by_name.get(name)
            message = file.message_types_by_name.get(name)
            if (service is not None and member in service.methods_by_name) or (
                message is not None and member in message.fields_by_name
            ):
                return file
            raise


class MeshReflection(reflection.aio.ReflectionServicer):  # type: ignore[misc]  # untyped base
    """Lists this process's services, or, with `x-marquee-reflection-scope: mesh`, all of them.

    The edge sets that header, since behind it every service of the mesh can be called.
    """

    def __init__(self, service_names: Sequence[str]) -> None:
        own = (reflection.SERVICE_NAME, health.SERVICE_NAME)
        super().__init__([*service_names, *own], pool=_SymbolPool())
        self._mesh = reflection.aio.ReflectionServicer(
            [*contracts.services(), *own], pool=_SymbolPool()
        )

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
