"""A channel whose certificates can be replaced."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any

import grpc

from mesh.tls.credentials import channel_credentials
from mesh.tls.files import Material
from mesh.tls.watch import CertificateWatch

MultiCallable = Callable[..., Any]


class ReloadingChannel(grpc.aio.Channel):
    """Opens a new channel when its certificates change; calls under way stay on the old one.

    gRPC in Python has no channel credentials that can be replaced. The old channel is closed once
    its last call has ended.
    """

    def __init__(
        self,
        watch: CertificateWatch,
        open_with: Callable[[grpc.ChannelCredentials], grpc.aio.Channel],
    ) -> None:
        """Opens the first channel, on the running event loop.

        Args:
            watch: Followed until the channel is closed.
            open_with: Opens a channel.
        """
        self._watch = watch
        self._open_with = open_with
        self._current = _Generation(open_with(channel_credentials(watch.material)))
        self._old: set[_Generation] = set()
        self._endings: set[asyncio.Task[None]] = set()
        watch.start(self._replace)

    def multi_callable(self, kind: str, method: str, *args: Any, **kwargs: Any) -> MultiCallable:
        """Makes what a stub calls; each call takes the channel that is current then."""
        made_by: _Generation | None = None
        make_call: MultiCallable

        def call(*call_args: Any, **call_kwargs: Any) -> Any:
            nonlocal made_by, make_call
            generation = self._current
            if made_by is not generation:
                make_call = getattr(generation.channel, kind)(method, *args, **kwargs)
                made_by = generation
            started = make_call(*call_args, **call_kwargs)
            generation.calls += 1
            started.add_done_callback(lambda _: self._ended(generation))
            return started

        return call

    # Generated stubs pass a private argument, `_registered_method`, which the stubs of the types
    # do not know.
    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:
        """Makes a callable for a unary RPC."""
        return self.multi_callable("unary_unary", *args, **kwargs)

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        """Makes a callable for an RPC that answers with a stream."""
        return self.multi_callable("unary_stream", *args, **kwargs)

    def stream_unary(self, *args: Any, **kwargs: Any) -> Any:
        """Makes a callable for an RPC that is asked by a stream."""
        return self.multi_callable("stream_unary", *args, **kwargs)

    def stream_stream(self, *args: Any, **kwargs: Any) -> Any:
        """Makes a callable for an RPC of two streams."""
        return self.multi_callable("stream_stream", *args, **kwargs)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Returns the state of the current channel."""
        return self._current.channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Waits until the state of the current channel is another."""
        await self._current.channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Waits until the current channel is connected."""
        await self._current.channel.channel_ready()

    async def close(self, grace: float | None = None) -> None:
        """Ends all calls and closes.

        Args:
            grace: How long calls under way may take, in seconds.
        """
        self._watch.stop()
        generations = [self._current, *self._old]
        self._old.clear()
        await asyncio.gather(
            *(generation.channel.close(grace) for generation in generations), *self._endings
        )

    async def __aenter__(self) -> ReloadingChannel:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.close()

    def _replace(self, material: Material) -> None:
        old = self._current
        self._current = _Generation(self._open_with(channel_credentials(material)))
        self._old.add(old)
        self._close_if_idle(old)

    def _ended(self, generation: _Generation) -> None:
        generation.calls -= 1
        self._close_if_idle(generation)

    def _close_if_idle(self, generation: _Generation) -> None:
        if generation in self._old and not generation.calls:
            self._old.discard(generation)
            ending = asyncio.ensure_future(generation.channel.close())
            self._endings.add(ending)
            ending.add_done_callback(self._endings.discard)


class _Generation:
    """A channel and how many of its calls are under way."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.calls = 0
