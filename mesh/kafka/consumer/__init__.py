"""Consuming from Kafka: in order per key, at least once, nothing lost on the way.

- `runtime`: what services use.
- `poller`: the thread that owns the KafkaConsumer.
- `session`: one KafkaConsumer from its making to its end; `factory`, `rebalance`: its parts.
- `origins`: notices that the broker has lost its memory.
- `lanes`: the asyncio side, one lane per key; retries and dead letters.
- `offsets`: which offsets are finished, and how far a commit may go.
"""

from mesh.kafka.consumer.offsets import PartitionLag
from mesh.kafka.consumer.options import ConsumerOptions
from mesh.kafka.consumer.runtime import ConsumerRuntime

__all__ = ["ConsumerOptions", "ConsumerRuntime", "PartitionLag"]
