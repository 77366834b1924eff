"""One interceptor that runs layers around every handler, unary or streaming."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing
from dataclasses import dataclass
from typing import Any, Protocol

import grpc

_INFRASTRUCTURE = ("/grpc.health.", "/grpc.reflection.")


@dataclass(frozen=True, slots=True)
class ServerCall:
    """An incoming call, as the layers see it.

    Attributes:
        method: Full path, `/marquee.user.v1.UserService/GetUser`.
        metadata: The caller's metadata; of a repeated key the last value, binary keys left out.
        context: grpc's context.
    """

    method: str
    metadata: Mapping[str, str]
    context: grpc.aio.ServicerContext[Any, Any]


class Layer(Protocol):
    """Something that happens around a call."""

    def around(self, call: ServerCall) -> AbstractAsyncContextManager[None]:
        """Returns a context that the handler runs in; an exception passes through it."""


class LayeredInterceptor(grpc.aio.ServerInterceptor):
    """Runs every handler of the mesh inside the layers; health and reflection are left alone."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        """Takes the layers, outermost first."""
        self._layers = tuple(layers)

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wraps the handler that grpc found."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method.startswith(_INFRASTRUCTURE):
            return handler
        metadata = {
            key: value
            for key, value in handler_call_details.invocation_metadata or ()
            if isinstance(value, str)
        }
        return self._wrap(handler, method, metadata)

    def _wrap(
        self, handler: Any, method: str, metadata: Mapping[str, str]
    ) -> grpc.RpcMethodHandler[Any, Any]:
        layers = self._layers

        async def unary(request: Any, context: Any) -> Any:
            call = ServerCall(method, metadata, context)
            async with AsyncExitStack() as stack:
                for layer in layers:
                    await stack.enter_async_context(layer.around(call))
                return await inner(request, context)

        async def streaming(request: Any, context: Any) -> AsyncIterator[Any]:
            call = ServerCall(method, metadata, context)
            async with AsyncExitStack() as stack:
                for layer in layers:
                    await stack.enter_async_context(layer.around(call))
                # A caller who goes away leaves the generator suspended: close it here and now.
                async with aclosing(inner(request, context)) as responses:
                    async for response in responses:
                        yield response

        codec = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        if handler.unary_unary:
            inner = handler.unary_unary
            return grpc.unary_unary_rpc_method_handler(unary, **codec)
        if handler.unary_stream:
            inner = handler.unary_stream
            return grpc.unary_stream_rpc_method_handler(streaming, **codec)
        if handler.stream_unary:
            inner = handler.stream_unary
            return grpc.stream_unary_rpc_method_handler(unary, **codec)
        inner = handler.stream_stream
        return grpc.stream_stream_rpc_method_handler(streaming, **codec)
