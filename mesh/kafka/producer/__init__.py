"""Publishing to Kafka: every record's fate is known, and a key's order survives failure.

- `publisher`: what services use.
- `session`: one KafkaProducer from its making to its end.
- `chunks`: how a batch is split.
"""

from mesh.kafka.producer.publisher import EventPublisher

__all__ = ["EventPublisher"]
