"""Tables that a test run prints at its end, wherever its tests ran."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from io import StringIO
from typing import Any, Final

import pytest
from rich.console import Console
from rich.table import Table
from support.requests_sending import JSON, Outcome

_PROPERTY: Final = "printed at the end"
_WIDTH: Final = 180


def show(record_property: Callable[[str, object], None], *tables: Table) -> str:
    """Has tables printed at the end of the run, also when a worker process ran the test.

    Returns:
        What will be printed.
    """
    out = StringIO()
    for table in tables:
        Console(file=out, width=_WIDTH).print(table)
    record_property(_PROPERTY, out.getvalue())
    return out.getvalue()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Prints what tests gave to `show`; a hook of pytest for a conftest to import."""
    for reports in terminalreporter.stats.values():
        for report in reports:
            if not isinstance(report, pytest.TestReport):
                continue
            for name, value in report.user_properties:
                if name == _PROPERTY and report.when == "call":
                    terminalreporter.write_line(f"\n{report.nodeid}\n{value}")


def codes_table(outcomes: Sequence[Outcome]) -> Table:
    """How many requests each RPC got, what they were answered, and how long the slowest took."""
    by_rpc: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        by_rpc[outcome.case.rpc.name].append(outcome)
    table = Table(title=f"{len(outcomes)} odd requests")
    for column in ("RPC", "gRPC", "JSON", "slowest"):
        table.add_column(column, overflow="fold")
    table.add_column("sent", justify="right")
    for name, found in sorted(by_rpc.items()):
        table.add_row(
            name,
            _counts(o.code for o in found if o.case.way != JSON),
            _counts(o.code for o in found if o.case.way == JSON),
            f"{max(o.seconds for o in found):.1f} s",
            str(len(found)),
        )
    return table


def _counts(codes: Iterable[str]) -> str:
    return " ".join(f"{code}:{count}" for code, count in sorted(Counter(codes).items()))


def memory_table(memory: Sequence[Mapping[str, float]], growth: float, large: float) -> Table:
    """What each process held in MiB, and by how much it may have grown.

    Args:
        memory: Warm, after the corpus, after a round of large messages, after another one.
        growth: The bound between the first two.
        large: The bound between the last two.
    """
    table = Table(title="Resident memory in MiB")
    columns = ("warm", f"after the corpus (at most +{growth:g})")
    columns += ("after large messages", f"and again (at most +{large:g})")
    table.add_column("process")
    for column in columns:
        table.add_column(column, justify="right")
    for name in memory[0]:
        table.add_row(name, *(f"{held[name]:.0f}" for held in memory))
    return table
