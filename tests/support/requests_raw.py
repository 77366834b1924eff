"""HTTP/2 and HTTP/1.1 as no library speaks it: odd headers, frames and paths, on raw sockets."""

from __future__ import annotations

import asyncio
import base64
import functools
import gzip
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
from google.rpc import error_details_pb2, status_pb2
from support.requests import Rpc

PATIENCE_S: Final = 8.0
"""After so long without an answer a peer is silent."""

CLOSED: Final = "closed"
RESET: Final = "reset"
SILENT: Final = "silent"

Header = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Oddity:
    """An odd call over HTTP/2.

    Attributes:
        name: What is odd.
        headers: In place of the usual ones of the same names; a value of None takes one away.
        more: Added after all others, as they are.
        body: What is sent; None: the usual request.
        ends: Whether the stream is ended after it.
        trailers: Sent at the end.
        may_wait: Whether silence is a proper answer, since the call is not whole yet.
    """

    name: str
    headers: dict[bytes, bytes | None] = field(default_factory=dict)
    more: Sequence[Header] = ()
    body: bytes | None = None
    ends: bool = True
    trailers: Sequence[Header] = ()
    may_wait: bool = False

    @property
    def ends_the_server(self) -> bool:
        """Whether grpc's server ends of it; see `mesh.lasting_server`."""
        path = self.headers.get(b":path")
        return path is not None and b"\xff" in path


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes:
        status: The HTTP status, or `closed`, `reset`, `silent`.
        grpc_status: The number as text; empty: there was none.
        message: `grpc-message`, or the reason of a reset.
        reason: ErrorInfo's, or empty.
    """

    status: str
    grpc_status: str = ""
    message: str = ""
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.status} grpc {self.grpc_status or '-'} {self.reason} {self.message[:120]!r}"


def frame(message: bytes, *, flag: int = 0, length: int | None = None) -> bytes:
    """Puts gRPC's five bytes before a message."""
    return struct.pack(">BI", flag, len(message) if length is None else length) + message


async def call(
    address: str, rpc: Rpc, oddity: Oddity, *, message: bytes, authorization: str
) -> Answer:
    """Makes one odd call on a connection of its own.

    Args:
        address: host:port.
        rpc: Whom to call.
        oddity: How.
        message: The encoded request where the oddity brings no body.
        authorization: The header of that name; empty: none.
    """
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    connection = h2.connection.H2Connection(
        h2.config.H2Configuration(
            client_side=True,
            header_encoding=None,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
            validate_inbound_headers=False,
        )
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            # Huffman coding of long headers takes hpack minutes.
            connection.encoder.encode = functools.partial(connection.encoder.encode, huffman=False)
            connection.initiate_connection()
            connection.send_headers(1, _headers(rpc, oddity, address, authorization))
            writer.write(connection.data_to_send())
            body = frame(message) if oddity.body is None else oddity.body
            return await _exchange(reader, writer, connection, body, oddity, lasts=rpc.lasts)
    except TimeoutError:
        return Answer(SILENT)
    except (OSError, asyncio.IncompleteReadError):
        return Answer(CLOSED)
    finally:
        writer.close()


async def speak(address: str, content: bytes, *, patience_s: float = PATIENCE_S) -> Answer:
    """Sends bytes to a port and reads the status line that comes back, if any."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        async with asyncio.timeout(patience_s):
            writer.write(content)
            line = await reader.readline()
    except TimeoutError:
        return Answer(SILENT)
    except OSError:
        return Answer(CLOSED)
    finally:
        writer.close()
    words = line.split(b" ", 2)
    if line.startswith(b"HTTP/1") and len(words) > 1:
        return Answer(words[1].decode("ascii", "replace"))
    return Answer(CLOSED, message=repr(line[:40]))


def oddities() -> Iterator[Oddity]:
    """Every odd call, the same ones each time."""
    yield Oddity("in order")
    yield from _deadlines()
    yield from _types()
    yield from _paths()
    yield from _other_headers()
    yield from _floods()
    yield from _bodies()


def conversations(rpc: Rpc) -> Iterator[tuple[str, bytes]]:
    """Odd requests over HTTP/1.1, each with a name."""
    path = rpc.path.encode()
    json_post = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" % path
    yield "in order", json_post + b"Content-Length: 2\r\n\r\n{}"
    yield "no host", b"POST %s HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}" % path
    yield "two hosts", json_post + b"Host: y\r\nContent-Length: 2\r\n\r\n{}"
    yield "HTTP/1.0", b"POST %s HTTP/1.0\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}" % path
    yield "HTTP/0.9", b"GET /\r\n"
    yield "HTTP/3.0", b"POST %s HTTP/3.0\r\nHost: x\r\n\r\n" % path
    yield "no request line", b"\r\n\r\n\r\n"
    yield "nonsense", b"\x00\x01\x02\xff" * 50 + b"\r\n\r\n"
    yield "TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)
    yield "a preface cut off", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nxxxxxxxxxxxxxxxxxxxx"
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    for name, frames in _frames():
        yield f"HTTP/2: {name}", preface + frames
    targets = (b"*", b"http://x%s" % path, b"//", b"/\x00", b"/%00", b"/..", b"\\", b"/" * 9000)
    for target in targets:
        yield f"target {target[:12]!r}", b"POST %s HTTP/1.1\r\nHost: x\r\n\r\n" % target
    yield "CONNECT", b"CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n"
    yield "upgrade", json_post + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n"
    yield "websocket", json_post + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    for name, header in (
        ("both lengths", b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n"),
        ("two lengths", b"Content-Length: 2\r\nContent-Length: 3\r\n"),
        ("a negative length", b"Content-Length: -2\r\n"),
        ("a length in words", b"Content-Length: two\r\n"),
        ("a length too great", b"Content-Length: 99999999999999999999999\r\n"),
        ("a coding nobody knows", b"Transfer-Encoding: odd\r\n"),
        ("chunked twice", b"Transfer-Encoding: chunked, chunked\r\n"),
        ("not really chunked", b"Transfer-Encoding: \x0bchunked\r\n"),
        ("a folded header", b"X-A: a\r\n b\r\nContent-Length: 2\r\n"),
        ("a NUL", b"X-A: a\x00b\r\nContent-Length: 2\r\n"),
        ("a bare CR", b"X-A: a\rb\r\nContent-Length: 2\r\n"),
        ("a space before the colon", b"X-A : b\r\nContent-Length: 2\r\n"),
        ("no colon", b"X-A\r\nContent-Length: 2\r\n"),
        ("a name with an underscore", b"X_A: b\r\nContent-Length: 2\r\n"),
        ("bytes over 127", b"X-A: \xff\xfe\r\nContent-Length: 2\r\n"),
        ("many headers", b"X-A: b\r\n" * 500 + b"Content-Length: 2\r\n"),
        ("long headers", b"X-A: %s\r\n" % (b"b" * 100_000) + b"Content-Length: 2\r\n"),
        ("expectation", b"Expect: miracles\r\nContent-Length: 2\r\n"),
    ):
        yield name, json_post + header + b"\r\n{}"
    chunked = json_post + b"Transfer-Encoding: chunked\r\n\r\n"
    yield "a chunk with a bad size", chunked + b"zz\r\n{}\r\n0\r\n\r\n"
    yield "a chunk of enormous size", chunked + b"ffffffffffffffff\r\n{}"
    yield "a negative chunk", chunked + b"-2\r\n{}\r\n0\r\n\r\n"
    yield "long chunk extensions", chunked + b"2;" + b"a" * 20_000 + b"\r\n{}\r\n0\r\n\r\n"
    yield "odd trailers", chunked + b"2\r\n{}\r\n0\r\nContent-Length: 7\r\n\r\n"
    grpc_post = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/grpc\r\n" % path
    yield "gRPC over HTTP/1.1", grpc_post + b"TE: trailers\r\nContent-Length: 5\r\n\r\n" + bytes(5)
    web = b"POST %s HTTP/1.1\r\nHost: x\r\nX-Grpc-Web: 1\r\n" % path
    web += b"Content-Type: application/grpc-web"
    yield "grpc-web, half a frame", web + b"\r\nContent-Length: 3\r\n\r\n" + bytes(3)
    yield "grpc-web, a frame too long", web + b"\r\nContent-Length: 5\r\n\r\n\x00\xff\xff\xff\xff"
    yield "grpc-web-text, no base64", web + b"-text\r\nContent-Length: 4\r\n\r\n!!!!"


def _headers(rpc: Rpc, oddity: Oddity, address: str, authorization: str) -> list[Header]:
    usual: dict[bytes, bytes] = {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": rpc.path.encode(),
        b":authority": address.encode(),
        b"te": b"trailers",
        b"content-type": b"application/grpc",
    }
    if authorization:
        usual[b"authorization"] = authorization.encode()
    merged = usual | oddity.headers
    if (path := oddity.headers.get(b":path")) is not None:
        merged[b":path"] = path.replace(b"{path}", rpc.path.encode())
    return [*((name, value) for name, value in merged.items() if value is not None), *oddity.more]


async def _exchange(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    connection: h2.connection.H2Connection,
    body: bytes,
    oddity: Oddity,
    *,
    lasts: bool,
) -> Answer:
    headers: dict[bytes, bytes] = {}
    unsent = body
    done_sending = False
    while True:
        if not done_sending:
            window = min(
                connection.local_flow_control_window(1), connection.max_outbound_frame_size
            )
            while unsent and window > 0:
                connection.send_data(1, unsent[:window])
                unsent = unsent[window:]
                window = min(
                    connection.local_flow_control_window(1), connection.max_outbound_frame_size
                )
            if not unsent:
                done_sending = True
                if oddity.trailers:
                    connection.send_headers(1, oddity.trailers, end_stream=True)
                elif oddity.ends:
                    connection.end_stream(1)
        writer.write(connection.data_to_send())
        data = await reader.read(65536)
        if not data:
            return _answer(headers, Answer(CLOSED))
        try:
            events = connection.receive_data(data)
        except h2.exceptions.ProtocolError as error:
            return _answer(headers, Answer(CLOSED, message=repr(error)))
        for event in events:
            if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
                headers |= {bytes(name): bytes(value) for name, value in event.headers}
            elif isinstance(event, h2.events.DataReceived):
                if lasts:
                    return _answer(headers, Answer(CLOSED, message="the first of a stream"))
                connection.acknowledge_received_data(event.flow_controlled_length, 1)
            elif isinstance(event, h2.events.StreamEnded):
                return _answer(headers, Answer(CLOSED))
            elif isinstance(event, h2.events.StreamReset):
                return _answer(headers, Answer(RESET, message=str(event.error_code)))
            elif isinstance(event, h2.events.ConnectionTerminated):
                return _answer(headers, Answer(CLOSED, message=str(event.error_code)))


def _answer(headers: dict[bytes, bytes], otherwise: Answer) -> Answer:
    if b":status" not in headers:
        return otherwise
    reason = ""
    if details := headers.get(b"grpc-status-details-bin"):
        padded = details + b"=" * (-len(details) % 4)
        status = status_pb2.Status.FromString(base64.b64decode(padded))
        for detail in status.details:
            info = error_details_pb2.ErrorInfo()
            if detail.Unpack(info):
                reason = info.reason
    return Answer(
        headers[b":status"].decode(),
        headers.get(b"grpc-status", b"").decode(),
        headers.get(b"grpc-message", b"").decode("utf-8", "replace") or otherwise.message,
        reason,
    )


def _deadlines() -> Iterator[Oddity]:
    for value in (
        b"", b"0", b"1", b"S", b"0n", b"-1S", b"+1S", b"1.5S", b"1x", b"1s", b" 1S", b"1S ", b"1 S",
        b"99999999H", b"999999999S", b"18446744073709551616H", b"nonsense", b"1S,1S", b"\xff",
        b"1" * 5000 + b"S",
    ):  # fmt: skip
        yield Oddity(f"grpc-timeout: {value[:24]!r}", {b"grpc-timeout": value})
    yield Oddity("grpc-timeout twice", {b"grpc-timeout": b"1S"}, more=[(b"grpc-timeout", b"x")])
    soon = {b"grpc-timeout": b"300m"}
    yield Oddity("a body that never ends", soon, body=b"\x00", ends=False, may_wait=True)


def _types() -> Iterator[Oddity]:
    for value in (
        None, b"", b"application/grpc+proto", b"application/grpc+json", b"application/grpc+\xff",
        b"application/grpcx", b"application/grpc;charset=utf-16", b"application/grpc-web",
        b"application/grpc-web-text", b"APPLICATION/GRPC", b"text/html", b"application/json", b"/",
    ):  # fmt: skip
        yield Oddity(f"content-type: {value!r}", {b"content-type": value})
    for value in (None, b"", b"gzip", b"trailers, gzip", b"\xff"):
        yield Oddity(f"te: {value!r}", {b"te": value})
    for value in (b"gzip", b"snappy", b"identity", b"", b"\xff", b"gzip,gzip"):
        yield Oddity(f"grpc-encoding: {value!r}", {b"grpc-encoding": value})
        yield Oddity(f"grpc-accept-encoding: {value!r}", {b"grpc-accept-encoding": value})
    for value in (b"GET", b"PUT", b"OPTIONS", b"HEAD", b"CONNECT", b"post", b"B R", b"", b"\xff"):
        yield Oddity(f":method {value!r}", {b":method": value})
    for value in (b"https", b"ftp", b"", b"\xff"):
        yield Oddity(f":scheme {value!r}", {b":scheme": value})
    for value in (None, b"", b"a b", b"x:99999", b"user@x", b"\xff", b"[::1", b"a" * 5000):
        yield Oddity(f":authority {value and value[:12]!r}", {b":authority": value})


def _paths() -> Iterator[Oddity]:
    for value in (
        None, b"", b"/", b"//", b"*", b"{path}/", b"{path}//", b"/{path}", b"{path}?",
        b"{path}?a=b",
        b"{path}#a", b"{path}%20", b"{path};a", b"{path}/../x", b"/%2e%2e{path}", b"{path}%2f",
        b"{path}%00", b"{path}\x00", b"{path}\xff", b"{path} ", b"\\{path}", b"/a/..{path}",
        b"/marquee.user.v1.UserService/", b"/marquee.user.v1.UserService/Nothing",
        b"/marquee.user.v1/GetUser", b"/grpc.health.v1.Health/Nothing", b"/" + b"a" * 20_000,
        b"http://x{path}", b"{path}{path}",
    ):  # fmt: skip
        shown = value if value is None or len(value) < 60 else value[:20]
        yield Oddity(f":path {shown!r}", {b":path": value})


def _other_headers() -> Iterator[Oddity]:
    for name, value in (
        (b"x-data-bin", b"!!!!"), (b"x-data-bin", b"a"), (b"x-data-bin", b"\xff\xfe"),
        (b"x-data-bin", b"AAAA,AAAA"), (b"grpc-trace-bin", b"%%%"), (b"grpc-tags-bin", b"!"),
        (b"grpc-status-details-bin", b"!"), (b"grpc-previous-rpc-attempts", b"x"),
        (b"grpc-retry-pushback-ms", b"x"), (b"grpc-status", b"13"), (b"grpc-message", b"%zz"),
        (b"lb-token", b"\xff"), (b"user-agent", b""), (b"user-agent", b"\xff" * 500),
        (b"host", b"other"), (b"host", b"\xff"), (b"content-length", b"3"),
        (b"content-length", b"x"), (b"connection", b"close"), (b"transfer-encoding", b"chunked"),
        (b"keep-alive", b"1"), (b"upgrade", b"h2c"), (b"cookie", b"a=b; c"), (b"X-Upper", b"a"),
        (b"x_underscore", b"a"), (b"", b"a"), (b"x y", b"a"), (b"x-\xff", b"a"),
        (b"x-nul", b"a\x00b"),
        (b"x-lines", b"a\r\nb: c"), (b"x-tab", b"\t"), (b":odd", b"a"), (b":path", b"/other"),
        (b":status", b"200"), (b"traceparent", b"nonsense"), (b"traceparent", b"00-" + b"0" * 200),
        (b"tracestate", b"=" * 600), (b"baggage", b"a=b," * 200), (b"x-request-id", b"\xff" * 100),
        (b"x-forwarded-for", b"127.0.0.1, " * 30), (b"x-forwarded-proto", b"gopher"),
        (b"x-envoy-original-path", b"/x"), (b"x-envoy-max-retries", b"99999999"),
        (b"x-envoy-retry-on", b"5xx"), (b"x-envoy-upstream-rq-timeout-ms", b"1"),
        (b"x-envoy-expected-rq-timeout-ms", b"1"), (b"x-envoy-decorator-operation", b"\xff"),
        (b"x-envoy-internal", b"true"), (b"x-envoy-force-trace", b"1"),
        (b"x-marquee-reflection-scope", b"mesh"), (b"x-grpc-web", b"1"), (b"early-data", b"1"),
    ):  # fmt: skip
        yield Oddity(f"{name.decode('latin1')}: {value[:20]!r}", more=[(name, value)])


def _floods() -> Iterator[Oddity]:
    for count in (80, 101, 1000):
        flood = [(b"x-%d" % number, b"a") for number in range(count)]
        yield Oddity(f"{count} headers", more=flood)
    yield Oddity("one header 100 times", more=[(b"x-same", b"a")] * 100)
    for size in (7_000, 17_000, 70_000, 200_000):
        yield Oddity(f"a header of {size} bytes", more=[(b"x-long", b"a" * size)])
    yield Oddity("a name of 20000 bytes", more=[(b"x-" + b"a" * 20_000, b"a")])
    yield Oddity("4000 bytes of -bin", more=[(b"x-data-bin", b"A" * 4000)])


def _bodies() -> Iterator[Oddity]:
    bomb = gzip.compress(bytes(64 << 20), 1)
    for name, body, headers in (
        ("no message", b"", {}),
        ("half a head", b"\x00\x00", {}),
        ("less than promised", frame(b"abc", length=100), {}),
        ("a message of 4 GiB promised", frame(b"abc", length=2**32 - 1), {}),
        ("a message of 2 GiB promised", frame(b"abc", length=2**31), {}),
        ("two messages", frame(b"") * 2, {}),
        ("a thousand messages", frame(b"") * 1000, {}),
        ("something after the message", frame(b"") + b"abc", {}),
        ("compressed without an encoding", frame(b"abc", flag=1), {}),
        ("an unknown flag", frame(b"abc", flag=2), {}),
        ("all flags", frame(b"abc", flag=255), {}),
        ("not really compressed", frame(b"abc", flag=1), {b"grpc-encoding": b"gzip"}),
        ("compressed", frame(gzip.compress(b""), flag=1), {b"grpc-encoding": b"gzip"}),
        ("cut while compressed", frame(bomb[:500], flag=1), {b"grpc-encoding": b"gzip"}),
        ("64 MiB compressed", frame(bomb, flag=1), {b"grpc-encoding": b"gzip"}),
        ("text", b"GET / HTTP/1.1\r\n\r\n", {}),
    ):
        yield Oddity(name, dict(headers), body=body)
    yield Oddity("trailers of a caller", trailers=[(b"grpc-status", b"0")])
    yield Oddity("odd trailers of a caller", trailers=[(b"x-data-bin", b"!"), (b":path", b"/")])


def _frames() -> Iterator[tuple[str, bytes]]:
    def h2_frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        size = struct.pack(">I", len(payload))[1:]
        return size + struct.pack(">BBI", kind, flags, stream) + payload

    settings = h2_frame(4, 0, 0, b"")
    yield "no settings", h2_frame(0, 1, 1, b"abc")
    yield "settings of a bad size", h2_frame(4, 0, 0, b"abc")
    yield "many settings", settings * 2000
    yield "many pings", settings + h2_frame(6, 0, 0, bytes(8)) * 2000
    yield "an unknown frame", settings + h2_frame(200, 255, 77, b"abc")
    yield "data of no stream", settings + h2_frame(0, 0, 0, b"abc")
    yield "data of an idle stream", settings + h2_frame(0, 1, 99, b"abc")
    yield "headers that are no HPACK", settings + h2_frame(1, 5, 1, b"\xff" * 40)
    yield "an index beyond the table", settings + h2_frame(1, 5, 1, b"\xff\xff\xff\xff\x0f")
    yield "headers without an end", settings + h2_frame(1, 0, 1, b"\x82") + h2_frame(0, 0, 1, b"")
    yield (
        "endless continuations",
        settings + h2_frame(1, 0, 1, b"\x82") + (h2_frame(9, 0, 1, b"\x82" * 200) * 2000),
    )
    yield "an even stream", settings + h2_frame(1, 5, 2, b"\x82\x86\x84")
    yield "windows that overflow", settings + h2_frame(8, 0, 0, b"\x7f\xff\xff\xff") * 3
    yield "a window of nothing", settings + h2_frame(8, 0, 0, bytes(4))
    yield "a frame too long", settings + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01" + bytes(100)
    yield "a table of 4 GiB", h2_frame(4, 0, 0, b"\x00\x01\xff\xff\xff\xff")
    yield "windows of 4 GiB", h2_frame(4, 0, 0, b"\x00\x04\xff\xff\xff\xff")
    yield "padding longer than the frame", settings + h2_frame(0, 8, 1, b"\xff")
    opened = b"".join(
        h2_frame(1, 5, stream, b"\x83\x86\x84") + h2_frame(3, 0, stream, b"\x00\x00\x00\x08")
        for stream in range(1, 4000, 2)
    )
    yield "streams opened and reset", settings + opened


# Codes that grpc's core answers by itself to what is no gRPC, beneath all of the mesh. The protocol
# asks for INTERNAL in some of these cases; the words tell them from a failure of ours.
_CORE_WORDS: Final = (
    "Error parsing '",
    "Compression bit set but no encoding configured",
    "Decompression failed",
    "Illegal header key",
    "Metadata keys cannot be zero length",
)
# A call in order is accepted, or is about somebody who is not there, or who is there already.
_IN_ORDER: Final = ("0", "5", "6", "9")


def problem(answer: Answer, oddity: Oddity, rpc: Rpc) -> str:
    """What is wrong with an answer; empty when nothing is.

    Args:
        answer: What came back.
        oddity: What was sent.
        rpc: To whom.
    """
    if oddity.name == "in order":
        fine = answer.grpc_status in _IN_ORDER or (rpc.lasts and answer.status == "200")
        return "" if fine else "refuses a call in order"
    if answer.status == SILENT:
        return "" if oddity.may_wait else "does not answer"
    if answer.grpc_status in ("2", "13", "15"):
        return "" if any(word in answer.message for word in _CORE_WORDS) else "answers INTERNAL"
    if answer.grpc_status == "14" or answer.status in ("500", "502", "503"):
        return "answers UNAVAILABLE"
    return ""
