"""The notification service's MongoDB: what it keeps, and how it is read and written."""

from notify_svc.store.collections import DATABASE, SPECS
from notify_svc.store.notifications import MongoNotifications

__all__ = ["DATABASE", "SPECS", "MongoNotifications"]
