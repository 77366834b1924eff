import pytest
from pymongo.errors import AutoReconnect, DuplicateKeyError, OperationFailure

from mesh.errors import Aborted, DeadlineExceeded, NotFound, ResourceExhausted, Unavailable
from mesh.kafka.errors import RetryLater
from mesh.messaging import is_transient


@pytest.mark.parametrize(
    "error",
    [
        Unavailable("AWAY", "away"),
        Aborted("CONFLICT", "conflict"),
        DeadlineExceeded(1),
        ResourceExhausted("FULL", "full", retry_after=1),
        RetryLater(),
        AutoReconnect("away"),
        TimeoutError(),
    ],
)
def test_trouble_that_passes(error: Exception) -> None:
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [NotFound("user", "ada"), DuplicateKeyError("twice"), OperationFailure("no"), KeyError("bug")],
)
def test_trouble_that_stays(error: Exception) -> None:
    assert not is_transient(error)
