"""Lists, page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Protocol, TypeVar


class _Page(Protocol):
    @property
    def next_page_token(self) -> str: ...


RequestT = TypeVar("RequestT")
PageT = TypeVar("PageT", bound=_Page)


def pages(method: Callable[[RequestT], PageT], request: RequestT) -> Iterator[PageT]:
    """Asks for one page after the other, as they are needed.

    Args:
        method: A list method of a stub, for example `marquee.catalog.ListMovies`.
        request: What to ask for; its page_token says where to begin. It is not changed.

    Yields:
        The replies; the last one has no next_page_token.
    """
    asked = _copy(request)
    while True:
        page = method(asked)
        yield page
        if not page.next_page_token:
            return
        asked.page_token = page.next_page_token


async def pages_async(
    method: Callable[[RequestT], Awaitable[PageT]], request: RequestT
) -> AsyncIterator[PageT]:
    """Asks for one page after the other, as they are needed; see `pages`."""
    asked = _copy(request)
    while True:
        page = await method(asked)
        yield page
        if not page.next_page_token:
            return
        asked.page_token = page.next_page_token


def _copy(request: Any) -> Any:
    copied = type(request)()
    copied.CopyFrom(request)
    return copied
