"""Who may call what: every RPC with every wrong caller, every way in, and with the right ones.

The matrix is printed at the end of the run, and stays in `access-matrix.txt` of its directory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import pytest
import pytest_asyncio
from support.requests import rpcs
from support.requests_access import WAYS, Column, cases, columns, tables
from support.requests_sending import Outcome, senders
from support.requests_stack import SecurityMesh
from support.requests_tables import show

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(300),
]

IN_FLIGHT = 32
Cells = dict[tuple[str, str], list[Outcome]]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def matrix(security_mesh: SecurityMesh) -> tuple[list[Column], Cells]:
    mesh = security_mesh
    all_columns = columns(mesh.issuer)
    wanted = [case for column in all_columns for rpc in rpcs() for case in cases(column, rpc)]
    async with senders(mesh.edge, mesh.services, lambda _: "") as sending:
        outcomes = await sending.send_all(wanted, IN_FLIGHT)
    found: Cells = defaultdict(list)
    for outcome in outcomes:
        found[outcome.case.rpc.path, outcome.case.name].append(outcome)
    return all_columns, dict(found)


async def test_every_cell_of_the_matrix(
    matrix: tuple[list[Column], Cells],
    record_property: Callable[[str, object], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    all_columns, found = matrix
    written = show(record_property, *tables(all_columns, found))
    (tmp_path_factory.mktemp("matrix") / "access-matrix.txt").write_text(written)
    wrong = [
        f"{column.fault_of(outcome)}: {outcome.case.way} {rpc.path} [{column.name}]"
        for rpc in rpcs()
        for column in all_columns
        for outcome in found.get((rpc.path, column.name), ())
        if column.fault_of(outcome)
    ]
    assert not wrong, f"{len(wrong)} answers:\n" + "\n".join(wrong[:60])


async def test_no_cell_was_left_out(matrix: tuple[list[Column], Cells]) -> None:
    all_columns, found = matrix
    for rpc in rpcs():
        for column in all_columns:
            ways = {outcome.case.way for outcome in found.get((rpc.path, column.name), ())}
            about_people = column.reason == "SUBJECT_MISMATCH"
            never = column.name.startswith("admin") and rpc.policy.scope == "admin"
            if not about_people and not never:
                assert ways == set(WAYS), (rpc.path, column.name)
        if rpc.policy.subject_field:
            outcomes = found[rpc.path, "another user's id"]
            assert {outcome.case.way for outcome in outcomes} == set(WAYS), rpc.path
