"""The recommendation service: catalogue, interactions, models, index, answers."""
