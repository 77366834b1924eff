"""How a live stream goes on after whatever ended it; sync and aio share it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import grpc
from marquee.notify.v1 import notification_service_pb2 as pb

from marquee_client.errors import details

# Other failures may pass: a replica that leaves, a network that is away, a budget used up.
_FINAL: Final = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 30.0
_HEALTHY_AFTER_S = 10.0


@dataclass(frozen=True, slots=True)
class Arrival:
    """A notification that arrived.

    Attributes:
        notification: What arrived.
        cursor: Where to go on after it. Keep it once the notification is dealt with.
    """

    notification: pb.Notification
    cursor: str


class Resumption:
    """Where a subscription stands, and when it tries again.

    Attributes:
        cursor: Where it goes on.
    """

    def __init__(
        self,
        user_id: str,
        cursor: str,
        *,
        token_renewable: bool,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.cursor = cursor
        self._user_id = user_id
        self._token_renewable = token_renewable
        self._clock = clock
        self._jitter = jitter
        self._told = 0
        self._failures = 0
        self._refused = False
        self._began = 0.0

    def request(self) -> pb.SubscribeRequest:
        """Begins a stream where the last one ended."""
        self._began = self._clock()
        return pb.SubscribeRequest(user_id=self._user_id, cursor=self.cursor)

    def take(self, message: pb.SubscribeResponse) -> Arrival | None:
        """Takes in a message.

        Returns:
            The notification, or None for a sign of life and for what has been told before.
        """
        self._refused = False
        if message.cursor:
            self.cursor = message.cursor
        if not message.HasField("notification"):
            return None
        self._failures = 0
        # Sequence numbers grow by one, so a replica that repeats itself is noticed.
        if message.notification.sequence <= self._told:
            return None
        self._told = message.notification.sequence
        return Arrival(message.notification, message.cursor)

    def pause_after(self, failure: grpc.RpcError | None) -> float:
        """Returns how many seconds to wait before the next stream.

        Args:
            failure: What ended the last one; None: the server ended it in good order.

        Raises:
            grpc.RpcError: The failure is final. A refused token is, unless it can be renewed; then
                the second refusal in a row is.
        """
        asked_for = 0.0
        if failure is not None:
            said = details(failure)
            asked_for = said.retry_delay or 0.0
            if said.code in _FINAL:
                raise failure
            if said.code is grpc.StatusCode.UNAUTHENTICATED:
                if self._refused or not self._token_renewable:
                    raise failure
                self._refused = True
        if self._clock() - self._began >= _HEALTHY_AFTER_S:
            self._failures = 0
        longest = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0**self._failures)
        self._failures = min(self._failures + 1, 16)
        # Everybody whose replica left at the same moment must not come back at the same moment.
        return max(self._jitter(longest / 2, longest), asked_for)
