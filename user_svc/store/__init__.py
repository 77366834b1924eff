"""The user service's MongoDB: what it keeps, and how it is read and written."""

from user_svc.store.accounts import MongoAccounts
from user_svc.store.collections import DATABASE, SPECS

__all__ = ["DATABASE", "SPECS", "MongoAccounts"]
