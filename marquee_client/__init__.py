"""The Python client of Marquee: typed stubs with deadlines, retries, tokens and trace context.

    with marquee_client.connect("127.0.0.1:8080", token=Path("ada.jwt")) as marquee:
        with marquee_client.errors.readable():
            marquee.users.GetUser(GetUserRequest(user_id="ada"))

`marquee_client.aio` is the same for asyncio.
"""

from marquee_client import aio, errors
from marquee_client.blocking import Marquee, Subscription, connect
from marquee_client.errors import CallFailed
from marquee_client.live import Arrival
from marquee_client.paging import pages
from marquee_client.tls import Tls
from marquee_client.tokens import TokenError

__all__ = [
    "Arrival",
    "CallFailed",
    "Marquee",
    "Subscription",
    "Tls",
    "TokenError",
    "aio",
    "connect",
    "errors",
    "pages",
]
