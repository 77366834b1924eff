"""kafka-python's network client, held by us."""

from __future__ import annotations

from typing import Any

from kafka.cluster import ClusterMetadata
from kafka.net.compat import KafkaNetClient


class ClientHolder:
    """Builds the network client of one producer, consumer or admin client and keeps hold of it.

    Pass an instance as the option `kafka_client`. It is there for three reasons:

    - kafka-python 3.0 does not hand `allow_auto_create_topics` on to the part that asks for
      metadata, so that a broker which lost its memory would be given our topics back with a
      partition count of its own; here the wish is switched off for good.
    - A constructor that cannot bootstrap leaves its I/O thread behind; `close` ends it.
    - The cluster's metadata (does a topic exist, which id does it have) is readable without
      blocking.
    """

    def __init__(self) -> None:
        self._client: KafkaNetClient | None = None

    def __call__(self, **configs: Any) -> KafkaNetClient:
        """Builds the client; called by kafka-python."""
        client = KafkaNetClient(**configs)
        client.cluster.config["allow_auto_create_topics"] = False
        self._client = client
        return client

    @property
    def cluster(self) -> ClusterMetadata:
        """What the client knows about brokers and topics.

        Raises:
            RuntimeError: kafka-python has not built the client yet.
        """
        if self._client is None:
            raise RuntimeError("the Kafka client is not built yet")
        return self._client.cluster

    def close(self) -> None:
        """Ends connections and the I/O thread, if there are any."""
        if self._client is not None:
            self._client.close()
