"""What can be done with users, over ports that the adapters fill."""
