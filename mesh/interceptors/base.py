"""One interceptor that runs layers around every handler, unary or streaming."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import grpc

from mesh.errors import DeadlineExceeded, FieldViolation, InvalidArgument, Unimplemented

# Whole names of services, and by the slash no others that begin like them: what is served under
# them needs no token.
_INFRASTRUCTURE = (
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1alpha.ServerReflection/",
)
_MESSAGE_SECONDS = 30.0
ResultT = TypeVar("ResultT")
_Handler = Any  # grpc.RpcMethodHandler, which is generic in its stubs only


@dataclass(frozen=True, slots=True)
class ServerCall:
    """An incoming call, as the layers see it.

    Attributes:
        method: Full path, `/marquee.user.v1.UserService/GetUser`.
        metadata: The caller's metadata; of a repeated key the last value, binary keys left out.
        context: grpc's context.
        checks: Called with each message of the request before the handler sees it; a layer that
            judges requests adds to it.
    """

    method: str
    metadata: Mapping[str, str]
    context: grpc.aio.ServicerContext[Any, Any]
    checks: list[Callable[[Any], None]] = field(default_factory=list)


class Layer(Protocol):
    """Something that happens around a call."""

    def around(self, call: ServerCall) -> AbstractAsyncContextManager[None]:
        """Returns a context that the handler runs in; an exception passes through it."""


class LayeredInterceptor(grpc.aio.ServerInterceptor):
    """Runs every handler inside layers.

    A whole call, the sending of a stream included, is one coroutine in one task: what a layer sets
    in context variables holds throughout, a timeout also ends a call that waits for a caller who
    does not read, and whatever ends the call passes through every layer before the task is done.
    """

    def __init__(self, layers: Sequence[Layer], *, infrastructure: Sequence[Layer] = ()) -> None:
        """Takes the layers, outermost first.

        Args:
            layers: For the RPCs of the mesh.
            infrastructure: For health and reflection, and around the refusal of unknown methods.
        """
        self._layers = tuple(layers)
        self._infrastructure = tuple(infrastructure)
        self._wrapped: dict[str, _Handler] = {}
        # One for all: the names of what does not exist are the callers' to choose.
        self._unknown = _wrap(
            grpc.stream_stream_rpc_method_handler(_refuse_unknown), "unknown", self._infrastructure
        )

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler:
        """Wraps the handler that grpc found, once per method."""
        method = handler_call_details.method
        wrapped = self._wrapped.get(method)
        if wrapped is None:
            handler = await continuation(handler_call_details)
            if handler is None:
                return self._unknown
            foreign = method.startswith(_INFRASTRUCTURE)
            wrapped = _wrap(handler, method, self._infrastructure if foreign else self._layers)
            self._wrapped[method] = wrapped
        return wrapped


async def _refuse_unknown(requests: Any, context: Any) -> None:
    raise Unimplemented("NO_SUCH_METHOD", "nothing is served at this path")


def _wrap(handler: Any, method: str, layers: Sequence[Layer]) -> _Handler:
    inner = (
        handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    )

    async def received(requests: AsyncIterator[Any], call: ServerCall) -> Any:
        if handler.request_streaming:
            return _stream_of_messages(requests, call)
        return _message(await _only_message(call.context), call)

    async def unary(requests: AsyncIterator[Any], context: Any) -> Any:
        call = ServerCall(method, _text_metadata(context), context)

        async def answer() -> Any:
            return await inner(await received(requests, call), context)

        return await _inside(layers, call, answer)

    async def streaming(requests: AsyncIterator[Any], context: Any) -> None:
        call = ServerCall(method, _text_metadata(context), context)

        async def answer() -> None:
            try:
                answers = inner(await received(requests, call), context)
                if not hasattr(answers, "__aiter__"):
                    await answers  # a handler that writes to the context itself
                    return
                async with aclosing(answers) as responses:
                    async for response in responses:
                        await context.write(response)
            except (grpc.aio.AbortError, grpc.aio.UsageError):
                raise
            except grpc.aio.BaseError as error:
                # What grpc raises from a write when nobody reads any more.
                raise asyncio.CancelledError("the caller has gone") from error

        await _inside(layers, call, answer)

    # All as if requests were streams. On the wire it is the same; but grpc would wait for a single
    # message before it calls anybody, so that who sends none, and shows no token, would hold one of
    # the calls that it serves at once for ever.
    make = (
        grpc.stream_stream_rpc_method_handler
        if handler.response_streaming
        else grpc.stream_unary_rpc_method_handler
    )
    return make(
        _forgetting(streaming if handler.response_streaming else unary),
        request_deserializer=_tolerant(handler.request_deserializer),
        response_serializer=handler.response_serializer,
    )


async def _inside(
    layers: Sequence[Layer], call: ServerCall, work: Callable[[], Awaitable[ResultT]]
) -> ResultT:
    """Does some work inside layers, the first one outermost."""
    # Not in an AsyncExitStack: where a layer replaces an exception by another, the stack's frame
    # and the traceback refer to each other, and keep what `_forgetting` lets go.
    if not layers:
        return await work()
    async with layers[0].around(call):
        return await _inside(layers[1:], call, work)


def _forgetting(
    work: Callable[[AsyncIterator[Any], Any], Awaitable[Any]],
) -> Callable[[AsyncIterator[Any], Any], Awaitable[Any]]:
    """Lets an abort out without what it came by.

    grpc keeps it with the call, and by its traceback the call would keep itself and all local
    variables on the way, a request of many megabytes among them, until the garbage collector comes
    by. Not a context manager, since contextlib puts the traceback back.
    """

    async def forgetful(requests: AsyncIterator[Any], context: Any) -> Any:
        try:
            return await work(requests, context)
        except grpc.aio.AbortError as error:
            del requests  # this frame stays, and the iterator holds what it read last
            error.__context__ = error.__cause__ = None
            raise error.with_traceback(None)  # noqa: B904  # the cause is to be forgotten

    return forgetful


def _text_metadata(context: Any) -> dict[str, str]:
    return {
        key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)
    }


class _Unreadable:
    """Stands for a request that is no message of its type, until the layers are in place."""


def _tolerant(deserializer: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    # grpc would answer UNKNOWN with the text of the exception, past every layer.
    if deserializer is None:
        return None

    def deserialize(raw: bytes) -> Any:
        try:
            return deserializer(raw)
        except Exception:  # protobuf promises no certain type
            return _Unreadable()

    return deserialize


def _message(request: Any, call: ServerCall) -> Any:
    if isinstance(request, _Unreadable):
        raise InvalidArgument(
            [FieldViolation("request", "is not an encoded message of the type this RPC takes")]
        )
    for check in call.checks:
        check(request)
    return request


async def _only_message(context: grpc.aio.ServicerContext[Any, Any]) -> Any:
    """Waits for the message of a request that is no stream.

    Raises:
        DeadlineExceeded: It does not come.
        InvalidArgument: The request ends without one.
    """
    try:
        async with asyncio.timeout(_MESSAGE_SECONDS):
            request = await context.read()  # the iterator would hold the message, too
    except TimeoutError:
        raise DeadlineExceeded(_MESSAGE_SECONDS) from None
    if request is grpc.aio.EOF:
        raise InvalidArgument([FieldViolation("request", "has no message")])
    return request


async def _stream_of_messages(requests: AsyncIterator[Any], call: ServerCall) -> AsyncIterator[Any]:
    async for request in requests:
        yield _message(request, call)
