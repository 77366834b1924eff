"""Settings of the notification service."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mesh.settings import MeshSettings


class NotifySettings(MeshSettings):
    """What the notification service needs to know beside `MeshSettings`."""

    heartbeat_seconds: Annotated[
        float, Field(gt=0, le=300, description="pause after which an idle stream shows it is alive")
    ] = 15.0
    sweep_seconds: Annotated[
        float, Field(gt=0, le=60, description="how soon a stream learns of other replicas' news")
    ] = 1.0
