"""A small HTTP server for tests, which answers what it is told to and remembers what it was asked.

with HttpServer(lambda request: Answer(json=issuer.jwks())) as server:
    …  # server.url, server.requests
    server.answer = lambda request: Answer(500)
"""

from __future__ import annotations

import json as json_module
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        """The fields of a form."""
        return {name: values[0] for name, values in parse_qs(self.body.decode()).items()}


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered, after `delay` seconds."""

    status: int = 200
    body: bytes = b""
    json: Any = None
    delay: float = 0.0


class HttpServer:
    """Serves on a port of its own while its context lasts.

    Attributes:
        answer: Makes the answers; may be replaced at any time.
        requests: What was asked so far.
    """

    def __init__(self, answer: Callable[[Request], Answer], *, port: int = 0) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self._port = port
        self._server: ThreadingHTTPServer | None = None
        self._ended = threading.Event()

    @property
    def url(self) -> str:
        """The address, without a path."""
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> HttpServer:
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), self._handler())
        self._server.daemon_threads = True
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        assert self._server is not None
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(self.command, self.path, headers, body)
                server.requests.append(request)
                answer = server.answer(request)
                server._ended.wait(answer.delay)
                content = (
                    answer.body if answer.json is None else json_module.dumps(answer.json).encode()
                )
                try:
                    self.send_response(answer.status)
                    self.send_header("content-length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)
                except OSError:
                    self.close_connection = True  # who asked has gone

            do_POST = do_GET  # noqa: N815 - http.server's name

            def log_message(self, *_: object) -> None:
                """Tests are quiet."""

        return Handler
