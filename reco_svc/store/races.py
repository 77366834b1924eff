"""Telling apart what another writer was faster with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pymongo.errors import BulkWriteError, DuplicateKeyError

from reco_svc.domain import CreatedMeanwhile

_DUPLICATE_KEY = 11000


@contextmanager
def creating() -> Iterator[None]:
    """Runs writes that create documents.

    A duplicate key aborts the transaction it happens in, and pymongo does not try that again.

    Raises:
        CreatedMeanwhile: A document of that id, or one that excludes it, is there already.
    """
    try:
        yield
    except DuplicateKeyError as error:
        raise CreatedMeanwhile from error
    except BulkWriteError as error:
        if not only_duplicates(error):
            raise
        raise CreatedMeanwhile from error


def only_duplicates(error: BulkWriteError) -> bool:
    """Tells whether duplicate keys are all that went wrong."""
    failures = error.details["writeErrors"]
    return bool(failures) and all(failure["code"] == _DUPLICATE_KEY for failure in failures)
