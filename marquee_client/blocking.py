"""The mesh for programs that wait for each answer."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections import deque
from types import TracebackType
from typing import Any, NamedTuple, Self

import grpc
from marquee.notify.v1.notification_service_pb2_grpc import NotificationServiceStub
from marquee.reco.v1.catalog_service_pb2_grpc import CatalogServiceStub
from marquee.reco.v1.interaction_service_pb2_grpc import InteractionServiceStub
from marquee.reco.v1.model_service_pb2_grpc import ModelServiceStub
from marquee.reco.v1.recommendation_service_pb2_grpc import RecommendationServiceStub
from marquee.user.v1.user_service_pb2_grpc import UserServiceStub

from marquee_client.calls import CallSpan, CallSpans, MetadataEntry, metadata_of, timeout_of
from marquee_client.channels import MAX_MESSAGE_BYTES, channel_options
from marquee_client.live import Arrival, Resumption
from marquee_client.tls import Tls
from marquee_client.tokens import Token, Tokens, tokens_for


def connect(
    target: str,
    *,
    token: Token | None = None,
    tls: Tls | None = None,
    allow_plaintext_token: bool = False,
    max_message_bytes: int = MAX_MESSAGE_BYTES,
) -> Marquee:
    """Opens the mesh behind an address. The connection is made with the first call.

    Args:
        target: host:port of the edge, or another target that gRPC understands.
        token: A bearer token, the path of a file with one (read again when it changes), or a
            function that gives one and is asked before each call. Each call carries it.
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
    if tls is None:
        channel = grpc.insecure_channel(target, options=options)
    else:
        channel = grpc.secure_channel(target, tls.credentials(), options=options)
    return Marquee(channel, target=target, tokens=tokens)


class Marquee:
    """The services of the mesh, called through one channel; threads may share it.

    Calls go through the stubs as generated: `marquee.users.GetUser(request, timeout=…)`. Without a
    timeout a call gets the default of its contract. Errors are those of grpc;
    `marquee_client.errors` reads them.

    Attributes:
        users: UserService.
        catalog: CatalogService.
        interactions: InteractionService.
        recommendations: RecommendationService.
        models: ModelService.
        notifications: NotificationService.
    """

    def __init__(
        self, channel: grpc.Channel, *, target: str = "", tokens: Tokens | None = None
    ) -> None:
        """Takes a channel; use `connect` unless it is of a special kind.

        Args:
            channel: Closed with this object.
            target: What spans say of where calls go.
            tokens: Gives each call its token.
        """
        self._channel = channel
        self._tokens = tokens
        self._subscriptions: weakref.WeakSet[Subscription] = weakref.WeakSet()
        calls = grpc.intercept_channel(channel, _Calls(CallSpans(target), tokens))
        self.users = UserServiceStub(calls)
        self.catalog = CatalogServiceStub(calls)
        self.interactions = InteractionServiceStub(calls)
        self.recommendations = RecommendationServiceStub(calls)
        self.models = ModelServiceStub(calls)
        self.notifications = NotificationServiceStub(calls)

    def subscribe(self, user_id: str, cursor: str = "") -> Subscription:
        """Follows the notifications of a user, whatever happens to the connection.

        Args:
            user_id: Whose.
            cursor: The cursor of the last notification dealt with; empty: from now on.
        """
        renewable = self._tokens is not None and self._tokens.renewable
        resumption = Resumption(user_id, cursor, token_renewable=renewable)
        subscription = Subscription(self.notifications, resumption)
        self._subscriptions.add(subscription)
        return subscription

    def close(self) -> None:
        """Ends subscriptions and calls under way, and closes the channel."""
        for subscription in tuple(self._subscriptions):
            subscription.close()
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Subscription:
    """The notifications of a user as they arrive: an iterator of `Arrival`.

    It waits for the next one for as long as it takes. A stream that ends is begun again where it
    was, after a pause; each notification is given once. Iteration ends after `close`, and with the
    error of grpc when the mesh refuses the subscription.
    """

    def __init__(self, stub: NotificationServiceStub, resumption: Resumption) -> None:
        """Takes where to subscribe, and from where on; use `Marquee.subscribe`."""
        self._stub = stub
        self._resumption = resumption
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._call: Any = None
        self._answered = False
        self._ahead: deque[Arrival] = deque()

    @property
    def cursor(self) -> str:
        """Where it would go on now; empty until the mesh has answered."""
        return self._resumption.cursor

    def close(self) -> None:
        """Ends it, from any thread."""
        with self._lock:
            self._closed.set()
            if self._call is not None:
                self._call.cancel()

    def begin(self) -> str:
        """Waits until the mesh has answered: what happens from then on is told.

        Returns:
            The cursor; empty if it was closed before.

        Raises:
            grpc.RpcError: The mesh refuses the subscription.
            TokenError: There is no token to send.
        """
        while not (self._answered or self._closed.is_set()):
            with contextlib.suppress(StopIteration):
                arrival = self._receive()
                if arrival is not None:
                    self._ahead.append(arrival)
        return self.cursor

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Arrival:
        """Waits for the next notification.

        Raises:
            StopIteration: It was closed.
            grpc.RpcError: The mesh refuses the subscription.
            TokenError: There is no token to send.
        """
        if self._ahead and not self._closed.is_set():
            return self._ahead.popleft()
        while True:
            arrival = self._receive()
            if arrival is not None:
                return arrival

    def _receive(self) -> Arrival | None:
        """Waits for the next message; returns its notification if it is a new one."""
        while self._begun():
            failure: grpc.RpcError | None = None
            try:
                for message in self._call:
                    self._answered = True
                    return self._resumption.take(message)
            except grpc.RpcError as error:
                failure = error
            self._call = None
            if not self._closed.is_set():
                self._closed.wait(self._resumption.pause_after(failure))
        raise StopIteration

    def _begun(self) -> bool:
        with self._lock:
            if self._closed.is_set():
                return False
            if self._call is None:
                self._call = self._stub.Subscribe(self._resumption.request())
            return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Details(NamedTuple):
    """How a call is made, as interceptors hand it on."""

    method: str
    timeout: float | None
    metadata: list[MetadataEntry]
    credentials: Any
    wait_for_ready: bool | None
    compression: Any


class _Calls(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Gives each call its deadline, metadata and span."""

    def __init__(self, spans: CallSpans, tokens: Tokens | None) -> None:
        self._spans = spans
        self._tokens = tokens

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        return self._for_one_reply(continuation, details, request)

    def intercept_stream_unary(self, continuation: Any, details: Any, requests: Any) -> Any:
        return self._for_one_reply(continuation, details, requests)

    def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        return self._for_a_stream(continuation, details, request)

    def intercept_stream_stream(self, continuation: Any, details: Any, requests: Any) -> Any:
        return self._for_a_stream(continuation, details, requests)

    def _for_one_reply(self, continuation: Any, details: Any, request: Any) -> Any:
        call, span = self._make(continuation, details, request)
        call.add_done_callback(lambda ended: span.end(ended.code()))
        return call

    def _for_a_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        call, span = self._make(continuation, details, request)
        if not call.add_callback(lambda: span.end(call.code())):
            span.end(call.code())  # it has ended already
        return call

    def _make(self, continuation: Any, details: Any, request: Any) -> tuple[Any, CallSpan]:
        token = None if self._tokens is None else self._tokens.get()
        path = details.method
        span = self._spans.start(path)
        try:
            prepared = _Details(
                method=path,
                timeout=timeout_of(path, details.timeout),
                metadata=metadata_of(
                    path, details.metadata, request=request, token=token, span=span.span
                ),
                credentials=details.credentials,
                wait_for_ready=details.wait_for_ready,
                compression=details.compression,
            )
            return continuation(prepared, request), span
        except BaseException:
            span.end(grpc.StatusCode.UNKNOWN)
            raise
