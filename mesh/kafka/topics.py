"""The topics of the mesh, and their creation."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

import structlog
from kafka import KafkaAdminClient
from kafka.errors import (
    KafkaError,
    KafkaTimeoutError,
    NoError,
    RetriableError,
    TopicAlreadyExistsError,
    for_code,
)

from mesh.kafka.client import ClientHolder
from mesh.kafka.errors import BrokerUnavailableError, TopicSetupError

_log = structlog.get_logger(__name__)

USER_EVENTS: Final = "marquee.user.events"
INTERACTION_EVENTS: Final = "marquee.interaction.events"
CATALOG_EVENTS: Final = "marquee.catalog.events"
MODEL_EVENTS: Final = "marquee.model.events"
RECOMMENDATION_EVENTS: Final = "marquee.recommendation.events"
NOTIFICATION_REQUESTS: Final = "marquee.notification.requests"
DEAD_LETTERS: Final = "marquee.dlq"

DEFAULT_PARTITIONS: Final = 6
_COMPACTED: Final[Mapping[str, str]] = MappingProxyType({"cleanup.policy": "compact"})


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """What a topic should be like when it is created.

    Attributes:
        name: The topic.
        partitions: How many partitions; at most this many consumers of a group share the work.
        config: Topic settings of the broker; one that does not know a setting ignores it.
    """

    name: str
    partitions: int = DEFAULT_PARTITIONS
    config: Mapping[str, str] = field(default_factory=dict)


TOPICS: Final[tuple[TopicSpec, ...]] = (
    # Each event of these two is a full snapshot, so the newest per key rebuilds a read model.
    TopicSpec(USER_EVENTS, config=_COMPACTED),
    TopicSpec(CATALOG_EVENTS, config=_COMPACTED),
    TopicSpec(INTERACTION_EVENTS),
    TopicSpec(MODEL_EVENTS),
    TopicSpec(RECOMMENDATION_EVENTS),
    TopicSpec(NOTIFICATION_REQUESTS),
    TopicSpec(DEAD_LETTERS),
)


_BY_NAME: Final[Mapping[str, TopicSpec]] = MappingProxyType({spec.name: spec for spec in TOPICS})


def spec_of(name: str) -> TopicSpec:
    """Returns what a topic should be like; one that is not of the mesh gets the defaults."""
    return _BY_NAME.get(name) or TopicSpec(name)


async def ensure_topics(
    bootstrap: str, specs: Sequence[TopicSpec] = TOPICS, *, timeout_seconds: float = 10.0
) -> None:
    """Creates the topics that do not exist yet; those that do are left as they are.

    Args:
        bootstrap: Kafka bootstrap servers, `host:port[,…]`.
        specs: The topics to have.
        timeout_seconds: How long to look for a broker, and then to wait for the topics.

    Raises:
        BrokerUnavailableError: No broker answered in time.
        TopicSetupError: The broker refused a topic; the message names each and says why.
    """
    await asyncio.to_thread(ensure_topics_blocking, bootstrap, specs, timeout_seconds)


def ensure_topics_blocking(
    bootstrap: str, specs: Sequence[TopicSpec], timeout_seconds: float
) -> None:
    """Does what `ensure_topics` does, in the calling thread."""
    if not specs:
        return
    timeout_ms = int(timeout_seconds * 1000)
    names = [spec.name for spec in specs]
    try:
        with closing(_connect(bootstrap, timeout_ms)) as admin:
            found = admin.describe_topics(names)
            known = {topic["name"] for topic in found if not topic["error_code"]}
            missing = [spec for spec in specs if spec.name not in known]
            if missing:
                _create(admin, missing, timeout_ms)
                admin.wait_for_topics(names, timeout_ms=timeout_ms)
                found = admin.describe_topics(names)
            _report_differences(specs, found)
    except RetriableError as error:
        raise BrokerUnavailableError(f"Kafka at {bootstrap} did not finish: {error}") from error
    except KafkaError as error:
        raise TopicSetupError(f"Kafka at {bootstrap} refused: {error}") from error


def _connect(bootstrap: str, timeout_ms: int) -> KafkaAdminClient:
    holder = ClientHolder()
    try:
        return KafkaAdminClient(
            bootstrap_servers=bootstrap.split(","),
            client_id="marquee-topics",
            bootstrap_timeout_ms=timeout_ms,
            request_timeout_ms=timeout_ms,
            reconnect_backoff_max_ms=500,
            kafka_client=holder,
        )
    except KafkaTimeoutError as error:
        holder.close()
        raise BrokerUnavailableError(
            f"no Kafka broker answers at {bootstrap} within {timeout_ms / 1000:g} s"
        ) from error
    except BaseException:
        holder.close()
        raise


def _create(admin: KafkaAdminClient, specs: Iterable[TopicSpec], timeout_ms: int) -> None:
    answer = admin.create_topics(
        {
            spec.name: {"num_partitions": spec.partitions, "configs": dict(spec.config)}
            for spec in specs
        },
        timeout_ms=timeout_ms,
        raise_errors=False,
    )
    refused = [
        f"{topic['name']}: {topic.get('error_message') or for_code(topic['error_code']).__name__}"
        for topic in answer["topics"]
        if for_code(topic["error_code"]) not in {NoError, TopicAlreadyExistsError}
    ]
    if refused:
        raise TopicSetupError("Kafka refused to create topics: " + "; ".join(refused))


def _report_differences(specs: Iterable[TopicSpec], found: Iterable[dict[str, Any]]) -> None:
    partitions = {topic["name"]: len(topic["partitions"]) for topic in found}
    for spec in specs:
        if partitions.get(spec.name) != spec.partitions:
            _log.warning(
                "topic has another number of partitions",
                topic=spec.name,
                wanted=spec.partitions,
                found=partitions.get(spec.name),
            )
