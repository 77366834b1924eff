"""What can go wrong between a service and Kafka, and which of it passes by itself."""

from __future__ import annotations

from kafka.errors import (
    InvalidRecordError,
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)
from pymongo.errors import ConnectionFailure, ExecutionTimeout, PyMongoError, WTimeoutError

_RECORD_IS_WRONG = (
    InvalidRecordError,
    InvalidTopicError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)


class BrokerUnavailableError(ConnectionError):
    """No broker answered at the bootstrap address."""


class TopicSetupError(Exception):
    """The broker answered, but refused to create a topic."""


class NotSentError(Exception):
    """A record was held back because an earlier one of the batch failed; send both again."""


class PoisonRecord(Exception):
    """Raised by a handler for a record that no further attempt can help.

    Attributes:
        reason: Why, for the person who reads the dead letter.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class RetryLater(Exception):
    """Raised by a handler when the record is sound but its time has not come."""


def default_is_transient(error: BaseException) -> bool:
    """Tells trouble of the infrastructure, which passes, from trouble with the record.

    Transient are lost or refused connections and timeouts of MongoDB (also a transaction that lost
    against another one), every error of Kafka but those that blame the record, and OSError, which
    includes TimeoutError.
    """
    if isinstance(error, RetryLater | OSError | ConnectionFailure | WTimeoutError):
        return True
    if isinstance(error, PyMongoError):
        return (
            isinstance(error, ExecutionTimeout)
            or error.timeout
            or error.has_error_label("TransientTransactionError")
        )
    return isinstance(error, KafkaError) and not isinstance(error, _RECORD_IS_WRONG)
