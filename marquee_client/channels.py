"""The settings of a channel to the mesh."""

from __future__ import annotations

from marquee_policy import service_config_json

from marquee_client.targets import stays_on_this_machine
from marquee_client.tls import Tls

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
"""The largest message that the mesh takes and sends."""

Option = tuple[str, str | int]

# The services bear a ping every 20 s; other gRPC servers and proxies may not, so ping seldom.
_KEEPALIVE_MS = 60_000
_KEEPALIVE_ANSWER_MS = 20_000


def channel_options(
    target: str, tls: Tls | None, *, max_message_bytes: int = MAX_MESSAGE_BYTES
) -> list[Option]:
    """Returns the options of a channel.

    The service config of the contracts makes gRPC retry, on UNAVAILABLE, the calls that are safe
    to repeat. A connection that carries calls is pinged, so that a live stream notices a peer that
    vanished without a word.

    Args:
        target: Where to.
        tls: None: not encrypted.
        max_message_bytes: The largest message taken or sent.
    """
    options: list[Option] = [
        ("grpc.service_config", service_config_json()),
        ("grpc.enable_retries", 1),
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.max_reconnect_backoff_ms", 5_000),
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", _KEEPALIVE_ANSWER_MS),
        ("grpc.keepalive_permit_without_calls", 0),
        ("grpc.http2.max_pings_without_data", 0),  # a live stream may be silent for long
    ]
    if tls is not None and tls.server_name:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    if stays_on_this_machine(target):
        # A proxy of the environment would take what is meant for this machine elsewhere.
        options.append(("grpc.enable_http_proxy", 0))
    return options
