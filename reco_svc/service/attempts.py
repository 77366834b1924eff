"""Writing what other writers may be creating at the same moment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from mesh.errors import Aborted
from mesh.mongo.client import Session
from reco_svc.domain import CreatedMeanwhile
from reco_svc.ports import Transactions

ATTEMPTS = 5
ResultT = TypeVar("ResultT")


async def write_again_if_raced(
    outbox: Transactions, callback: Callable[[Session], Awaitable[ResultT]]
) -> ResultT:
    """Runs a callback in a transaction, again when another writer has created what it was about to.

    Args:
        outbox: Runs the transaction.
        callback: Looks for what is there, then writes; it may run several times.

    Raises:
        Aborted: Others were faster again and again.
    """
    for _ in range(ATTEMPTS):
        try:
            return await outbox.transaction(callback)
        except CreatedMeanwhile:
            continue
    raise lost_again_and_again()


def lost_again_and_again() -> Aborted:
    """Makes the error of a write that other writers were faster with at every attempt."""
    return Aborted("WRITE_CONFLICT", "the same data is being written elsewhere; try again")
