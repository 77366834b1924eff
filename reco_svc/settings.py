"""Settings of the recommendation service."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mesh.settings import MeshSettings


class RecoSettings(MeshSettings):
    """What the recommendation service needs to know beyond `MeshSettings`."""

    refresh_size: Annotated[
        int, Field(ge=1, le=100, description="length of the list people are told of")
    ] = 10
    refresh_new: Annotated[
        int,
        Field(ge=1, le=100, description="how many movies of that list must be new to tell"),
    ] = 3
    refresh_debounce_seconds: Annotated[
        float,
        Field(ge=0, le=60, description="how long to wait for further interactions of a person"),
    ] = 0.25
    popularity_half_life_days: Annotated[
        float, Field(gt=0, description="age at which an interaction counts half in Trending")
    ] = 30.0
