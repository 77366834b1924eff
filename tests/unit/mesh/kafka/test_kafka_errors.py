import kafka.errors as kafka_errors
import pymongo.errors as mongo_errors
import pytest

from mesh.kafka.backoff import Backoff
from mesh.kafka.errors import BrokerUnavailableError, RetryLater, default_is_transient


def labelled(label):
    error = mongo_errors.OperationFailure("write conflict", 112)
    error._add_error_label(label)
    return error


@pytest.mark.parametrize(
    "error",
    [
        RetryLater("soon"),
        ConnectionResetError(),
        TimeoutError(),
        OSError(28, "no space left on device"),
        BrokerUnavailableError("no broker"),
        mongo_errors.AutoReconnect(),
        mongo_errors.NetworkTimeout(),
        mongo_errors.NotPrimaryError(),
        mongo_errors.ConnectionFailure(),
        mongo_errors.ServerSelectionTimeoutError(),
        mongo_errors.WaitQueueTimeoutError(),
        mongo_errors.ExecutionTimeout("exceeded time limit", 50),
        mongo_errors.WTimeoutError("waiting for replication"),
        labelled("TransientTransactionError"),
        kafka_errors.KafkaTimeoutError(),
        kafka_errors.KafkaConnectionError(),
        kafka_errors.NodeNotReadyError(),
        kafka_errors.NotLeaderForPartitionError(),
        kafka_errors.UnknownError(),
        kafka_errors.TopicAuthorizationFailedError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_trouble_of_the_infrastructure_passes(error):
    assert default_is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("bad"),
        KeyError("title"),
        AssertionError(),
        RuntimeError(),
        mongo_errors.DuplicateKeyError("E11000"),
        mongo_errors.DocumentTooLarge("17 MB"),
        mongo_errors.WriteError("document failed validation", 121),
        labelled("SomethingElse"),
        kafka_errors.MessageSizeTooLargeError(),
        kafka_errors.RecordListTooLargeError(),
        kafka_errors.InvalidTopicError(),
        kafka_errors.InvalidRecordError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_trouble_with_the_record_stays(error):
    assert not default_is_transient(error)


def test_waits_grow_up_to_the_longest_and_vary():
    backoff = Backoff(first=0.1, longest=2.0)
    ceilings = [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    for failures, ceiling in enumerate(ceilings, start=1):
        draws = {backoff.seconds(failures) for _ in range(50)}
        assert all(ceiling / 2 <= draw <= ceiling for draw in draws)
        assert len(draws) > 1
    assert backoff.seconds(10_000) <= 2.0
