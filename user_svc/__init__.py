"""The user service: people and their preferences."""
