"""Settings of the user service."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from mesh.settings import MeshSettings


class UserSettings(MeshSettings):
    """What the user service needs to know beside `MeshSettings`."""

    reco_target: Annotated[
        str, Field(description="host:port of the recommendation service, which exports ask")
    ]
    notify_target: Annotated[
        str, Field(description="host:port of the notification service, which exports ask")
    ]

    @field_validator("reco_target", "notify_target")
    @classmethod
    def _targets_name_a_port(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        if not (host and port.isascii() and port.isdigit() and int(port) < 65_536):
            raise ValueError("must be host:port, for example marquee-reco:50051")
        return value
