"""The mesh that the whole-mesh tests share."""

from __future__ import annotations

from dataclasses import dataclass

from cli.datasets.records import Dataset
from cli.evaluation import Split
from cli.mesh_client import Mesh
from cli.scopes import ALL
from devstack.stack import Stack


@dataclass(frozen=True, slots=True)
class RunningMesh:
    """The stack, its edge, and what it was filled with."""

    stack: Stack
    mesh: Mesh
    parts: Split

    @property
    def token(self) -> str:
        """A token for everything, good for an hour."""
        return self.stack.issuer.mint("service:tests", ALL, 3600)

    @property
    def dataset(self) -> Dataset:
        return self.parts.training
