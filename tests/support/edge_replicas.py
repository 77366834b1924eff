"""Replicas of a service that behave as they are told, to stand behind an edge.

with Replica() as one, Replica() as two:
    edge = make_edge(upstreams=...one.endpoint, two.endpoint...)
    one.fails = grpc.StatusCode.UNAVAILABLE
    one.health(serving=False)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from marquee_envoy.config import Endpoint


class Replica(grpc.GenericRpcHandler):
    """Answers every unary call with an empty message, or fails it.

    Attributes:
        fails: The status of all answers; None: they are OK.
        lasts_s: How long a call takes.
        metadata: The metadata of each call so far.
    """

    def __init__(self, credentials: grpc.ServerCredentials | None = None) -> None:
        """Takes what it shows of itself; None: it speaks plain text."""
        self.fails: grpc.StatusCode | None = None
        self.lasts_s = 0.0
        self.metadata: list[dict[str, str]] = []
        self._lock = threading.Lock()
        self._health = health.HealthServicer()
        self._server = grpc.server(
            ThreadPoolExecutor(64), options=[("grpc.so_reuseport", 0)], handlers=[self]
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        listen = "127.0.0.1:0"
        port = (
            self._server.add_secure_port(listen, credentials)
            if credentials
            else self._server.add_insecure_port(listen)
        )
        self.endpoint = Endpoint("127.0.0.1", port)
        self.health(serving=True)

    @property
    def calls(self) -> int:
        """How many calls have come so far, health checks aside."""
        return len(self.metadata)

    def health(self, *, serving: bool) -> None:
        """Says whether it wants calls."""
        status = health_pb2.HealthCheckResponse
        self._health.set("", status.SERVING if serving else status.NOT_SERVING)

    def service(self, details: Any) -> Any:
        """Handles any path but those of health checks."""
        if details.method.startswith("/grpc.health."):
            return None
        return grpc.unary_unary_rpc_method_handler(self._answer)

    def _answer(self, _request: bytes, context: grpc.ServicerContext) -> bytes:
        with self._lock:
            self.metadata.append(dict(context.invocation_metadata()))
        time.sleep(self.lasts_s)
        if self.fails is not None:
            context.abort(self.fails, "as told")
        return b""

    def __enter__(self) -> Replica:
        self._server.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.stop(grace=0).wait()


def until(condition: Callable[[], bool], within_s: float, what: str) -> None:
    """Waits until a condition holds.

    Raises:
        AssertionError: It does not in time.
    """
    give_up_at = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > give_up_at:
            raise AssertionError(what)
        time.sleep(0.05)
