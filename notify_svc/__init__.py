"""The notification service: plan, inbox, live stream."""
