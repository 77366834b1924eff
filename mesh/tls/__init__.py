"""TLS of servers and of channels to peers, with certificates that are reloaded when they change."""
