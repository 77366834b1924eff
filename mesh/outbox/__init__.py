"""The transactional outbox: a change of state and its events are committed together, or neither."""
