"""The channels to peers, closed at the end."""

from __future__ import annotations

from collections.abc import Sequence

import grpc


class Channels:
    """Channels that were opened when the service was wired; a component of the application."""

    def __init__(self, channels: Sequence[grpc.aio.Channel]) -> None:
        self._channels = tuple(channels)

    async def start(self) -> None:
        """Does nothing: a channel connects when it is first used."""

    async def stop(self) -> None:
        """Closes the channels."""
        for channel in self._channels:
            await channel.close()
