"""The mesh for asyncio programs; see `marquee_client.blocking`, whose shape it has."""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import grpc
from marquee.notify.v1.notification_service_pb2_grpc import NotificationServiceStub
from marquee.reco.v1.catalog_service_pb2_grpc import CatalogServiceStub
from marquee.reco.v1.interaction_service_pb2_grpc import InteractionServiceStub
from marquee.reco.v1.model_service_pb2_grpc import ModelServiceStub
from marquee.reco.v1.recommendation_service_pb2_grpc import RecommendationServiceStub
from marquee.user.v1.user_service_pb2_grpc import UserServiceStub

from marquee_client.calls import CallSpans, metadata_of, timeout_of
from marquee_client.channels import MAX_MESSAGE_BYTES, channel_options
from marquee_client.live import Arrival, Resumption
from marquee_client.paging import pages_async as pages
from marquee_client.tls import Tls
from marquee_client.tokens import AsyncToken, Tokens, tokens_for

if TYPE_CHECKING:  # they exist in the stubs only
    from marquee.notify.v1.notification_service_pb2_grpc import NotificationServiceAsyncStub

__all__ = ["Marquee", "Subscription", "connect", "pages"]


def connect(
    target: str,
    *,
    token: AsyncToken | None = None,
    tls: Tls | None = None,
    allow_plaintext_token: bool = False,
    max_message_bytes: int = MAX_MESSAGE_BYTES,
) -> Marquee:
    """Opens the mesh behind an address. The connection is made with the first call.

    Call it in the event loop that will use it.

    Args:
        target: host:port of the edge, or another target that gRPC understands.
        token: A bearer token, the path of a file with one (read again when it changes), or a
            function or coroutine function that gives one and is asked before each call. Each call
            carries it.
        tls: None: the connection is not encrypted.
        allow_plaintext_token: Lets tokens leave this machine over a connection that is not
            encrypted, where something else protects it, such as a sidecar.
        max_message_bytes: The largest message taken or sent.

    Raises:
        ValueError: A token would leave this machine in the clear.
        TokenError: A string that cannot be a token.
        OSError: A file of `tls` cannot be read.
    """
    tokens = tokens_for(
        target, token, encrypted=tls is not None, allow_plaintext=allow_plaintext_token
    )
    options = channel_options(target, tls, max_message_bytes=max_message_bytes)
    calls = _Calls(CallSpans(target), tokens)
    interceptors = [
        _UnaryUnary(calls),
        _UnaryStream(calls),
        _StreamUnary(calls),
        _StreamStream(calls),
    ]
    if tls is None:
        channel = grpc.aio.insecure_channel(target, options=options, interceptors=interceptors)
    else:
        channel = grpc.aio.secure_channel(
            target, tls.credentials(), options=options, interceptors=interceptors
        )
    return Marquee(channel, token_renewable=tokens is not None and tokens.renewable)


class Marquee:
    """The services of the mesh, called through one channel.

    Attributes:
        users: UserService.
        catalog: CatalogService.
        interactions: InteractionService.
        recommendations: RecommendationService.
        models: ModelService.
        notifications: NotificationService.
    """

    def __init__(self, channel: grpc.aio.Channel, *, token_renewable: bool = False) -> None:
        """Takes a channel as it is; `connect` makes one that brings deadlines, tokens and spans.

        Args:
            channel: Closed with this object.
            token_renewable: Whether a live stream whose token was refused may come with another.
        """
        self._channel = channel
        self._token_renewable = token_renewable
        self._subscriptions: weakref.WeakSet[Subscription] = weakref.WeakSet()
        self.users = UserServiceStub(channel)
        self.catalog = CatalogServiceStub(channel)
        self.interactions = InteractionServiceStub(channel)
        self.recommendations = RecommendationServiceStub(channel)
        self.models = ModelServiceStub(channel)
        self.notifications = NotificationServiceStub(channel)

    def subscribe(self, user_id: str, cursor: str = "") -> Subscription:
        """Follows the notifications of a user, whatever happens to the connection.

        Args:
            user_id: Whose.
            cursor: The cursor of the last notification dealt with; empty: from now on.
        """
        resumption = Resumption(user_id, cursor, token_renewable=self._token_renewable)
        subscription = Subscription(self.notifications, resumption)
        self._subscriptions.add(subscription)
        return subscription

    async def close(self) -> None:
        """Ends subscriptions and calls under way, and closes the channel."""
        for subscription in tuple(self._subscriptions):
            await subscription.aclose()
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


class Subscription:
    """The notifications of a user as they arrive: an asynchronous iterator of `Arrival`.

    It waits for the next one for as long as it takes. A stream that ends is begun again where it
    was, after a pause; each notification is given once. Waiting may be cancelled, by
    `asyncio.timeout` for example, and taken up again: what arrives in between is not lost once
    `begin` has returned. Iteration ends after `aclose`, and with the error of
    grpc when the mesh refuses the subscription. One task at a time may iterate.
    """

    def __init__(self, stub: NotificationServiceAsyncStub, resumption: Resumption) -> None:
        """Takes where to subscribe, and from where on; use `Marquee.subscribe`."""
        self._stub = stub
        self._resumption = resumption
        self._closed = asyncio.Event()
        self._call: Any = None
        self._answered = False
        self._ahead: deque[Arrival] = deque()

    @property
    def cursor(self) -> str:
        """Where it would go on now; empty until the mesh has answered."""
        return self._resumption.cursor

    async def aclose(self) -> None:
        """Ends it."""
        self._closed.set()
        if self._call is not None:
            self._call.cancel()

    async def begin(self) -> str:
        """Waits until the mesh has answered: what happens from then on is told.

        Returns:
            The cursor; empty if it was closed before.

        Raises:
            grpc.RpcError: The mesh refuses the subscription.
            TokenError: There is no token to send.
        """
        while not (self._answered or self._closed.is_set()):
            with contextlib.suppress(StopAsyncIteration):
                arrival = await self._receive()
                if arrival is not None:
                    self._ahead.append(arrival)
        return self.cursor

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Arrival:
        """Waits for the next notification.

        Raises:
            StopAsyncIteration: It was closed.
            grpc.RpcError: The mesh refuses the subscription.
            TokenError: There is no token to send.
        """
        if self._ahead and not self._closed.is_set():
            return self._ahead.popleft()
        while True:
            arrival = await self._receive()
            if arrival is not None:
                return arrival

    async def _receive(self) -> Arrival | None:
        """Waits for the next message; returns its notification if it is a new one."""
        while not self._closed.is_set():
            failure: grpc.RpcError | None = None
            try:
                if self._call is None:
                    self._call = self._stub.Subscribe(self._resumption.request())
                async for message in self._call:
                    self._answered = True
                    return self._resumption.take(message)
            except grpc.RpcError as error:
                failure = error
            except asyncio.CancelledError:
                self._call = None  # grpc cancels the call of whoever stops waiting for it
                if self._closed.is_set() and not _cancelled():
                    break  # `aclose` did it, not somebody who cancels this task
                raise
            self._call = None
            if not self._closed.is_set():
                await self._pause(self._resumption.pause_after(failure))
        raise StopAsyncIteration

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._closed.wait()
        except TimeoutError:
            return

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()


def _cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class _Calls:
    """Gives each call its deadline, metadata and span."""

    def __init__(self, spans: CallSpans, tokens: Tokens | None) -> None:
        self._spans = spans
        self._tokens = tokens
        self._endings: set[asyncio.Future[None]] = set()

    async def make(
        self, continuation: Any, details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        """Makes the call; its span ends when the call does."""
        token = None if self._tokens is None else await self._tokens.get_async()
        method = details.method
        path = method.decode() if isinstance(method, bytes) else method
        call_span = self._spans.start(path)
        try:
            metadata = metadata_of(
                path, details.metadata, request=request, token=token, span=call_span.span
            )
            prepared = grpc.aio.ClientCallDetails(
                method=details.method,
                timeout=timeout_of(path, details.timeout),
                metadata=grpc.aio.Metadata(*metadata),
                credentials=details.credentials,
                wait_for_ready=details.wait_for_ready,
            )
            call = await continuation(prepared, request)
        except BaseException as error:
            cancelled = isinstance(error, asyncio.CancelledError)
            call_span.end(grpc.StatusCode.CANCELLED if cancelled else grpc.StatusCode.UNKNOWN)
            raise

        async def end() -> None:
            call_span.end(await call.code())

        def on_done(_: Any) -> None:
            ending = asyncio.ensure_future(end())
            self._endings.add(ending)
            ending.add_done_callback(self._endings.discard)

        call.add_done_callback(on_done)
        return call


# grpc.aio takes an interceptor for one kind of call only, whatever else it could do.
class _UnaryUnary(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, calls: _Calls) -> None:
        self._calls = calls

    async def intercept_unary_unary(
        self, continuation: Any, client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        return await self._calls.make(continuation, client_call_details, request)


class _UnaryStream(grpc.aio.UnaryStreamClientInterceptor):
    def __init__(self, calls: _Calls) -> None:
        self._calls = calls

    async def intercept_unary_stream(
        self, continuation: Any, client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        return await self._calls.make(continuation, client_call_details, request)


class _StreamUnary(grpc.aio.StreamUnaryClientInterceptor):
    def __init__(self, calls: _Calls) -> None:
        self._calls = calls

    async def intercept_stream_unary(
        self,
        continuation: Any,
        client_call_details: grpc.aio.ClientCallDetails,
        request_iterator: Any,
    ) -> Any:
        return await self._calls.make(continuation, client_call_details, request_iterator)


class _StreamStream(grpc.aio.StreamStreamClientInterceptor):
    def __init__(self, calls: _Calls) -> None:
        self._calls = calls

    async def intercept_stream_stream(
        self,
        continuation: Any,
        client_call_details: grpc.aio.ClientCallDetails,
        request_iterator: Any,
    ) -> Any:
        return await self._calls.make(continuation, client_call_details, request_iterator)
