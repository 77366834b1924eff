"""The servicer: message in, use case, message out."""

from user_svc.rpc.users import UserServicer

__all__ = ["UserServicer"]
