"""One mesh for all tests: the embedded stack, filled with three quarters of MovieLens-100K."""

from __future__ import annotations

from collections.abc import AsyncIterator
from io import StringIO
from typing import Any

import pytest
import pytest_asyncio
from rich.console import Console
from support.requests_stack import security_mesh  # noqa: F401  # a fixture
from support.requests_tables import pytest_terminal_summary  # noqa: F401  # a hook
from support.running import RunningMesh
from xdist.scheduler import LoadScopeScheduling

from cli.address import edge_of
from cli.commands.load import load_dataset
from cli.commands.train import train_and_promote
from cli.datasets.opening import open_dataset
from cli.evaluation import Split, split
from cli.mesh_client import connect
from devstack.components import StackConfig
from devstack.ports import Ports
from devstack.stack import Stack

SEED = 0


# Files whose tests share a stack, which takes long to fill. By name, since pytest 9.2 does not take
# up the groups that xdist's own marks make (pytest-xdist 3.8).
STACKS = {
    "test_edge_calls.py": "running",
    "test_quality.py": "running",
    "test_survival.py": "running",
    "test_trace.py": "running",
    "test_access_matrix.py": "security_mesh",
    "test_fuzz.py": "security_mesh",
}


class _ByStack(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0].rpartition("/")[2]
        return STACKS.get(file, file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Gives the tests of one stack to one worker."""
    return _ByStack(config, log)


@pytest.fixture(scope="session")
def movielens() -> Split:
    return split(open_dataset("ml-100k"), SEED)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def running(
    movielens: Split, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningMesh]:
    directory = tmp_path_factory.mktemp("mesh") / "data"
    stack = Stack(StackConfig(data_dir=directory, ports=Ports.free()))
    await stack.start()
    try:
        async with connect(edge_of(stack)) as mesh:
            console = Console(file=StringIO())
            report = await load_dataset(mesh, movielens.training, console)
            assert report.refused == 0
            assert report.counts["ACCEPTED"] == len(movielens.training.ratings)
            await train_and_promote(mesh, console, seed=SEED, holdout=0.25)
            yield RunningMesh(stack, mesh, movielens)
    finally:
        await stack.stop()
