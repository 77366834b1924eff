"""Steps that follow one another, each timed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from cli.views.text import cell, plain_table, seconds


@dataclass(frozen=True, slots=True)
class Step:
    """A step that was begun."""

    name: str
    happened: bool
    seconds: float


class Timeline:
    """Announces steps as they begin and remembers how they went.

    Args:
        console: Where to announce them.
        planned: The names of all steps, in order.
    """

    def __init__(self, console: Console, planned: Sequence[str]) -> None:
        self._console = console
        self._planned = tuple(planned)
        self._steps: list[Step] = []

    @property
    def complete(self) -> bool:
        """Whether every planned step happened."""
        return [step.name for step in self._steps if step.happened] == list(self._planned)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Times a step; it happened if its block ends without an exception.

        Raises:
            ValueError: It is not the next of the planned steps.
        """
        number = len(self._steps)
        if self._planned[number : number + 1] != (name,):
            raise ValueError(f"{name!r} is not step {number + 1} of the plan")
        self._console.print()
        self._console.print(cell(f"{number + 1}/{len(self._planned)}  {name}", "bold"))
        begin = time.monotonic()
        happened = False
        try:
            yield
            happened = True
        finally:
            self._steps.append(Step(name, happened, time.monotonic() - begin))

    def table(self) -> Table:
        """All steps with their seconds; those never begun as well."""
        table = plain_table()
        table.add_column("#", justify="right")
        table.add_column("step", overflow="fold")
        table.add_column("", justify="left")
        table.add_column("seconds", justify="right")
        for number, step in enumerate(self._steps, start=1):
            fate = cell("happened", "green") if step.happened else cell("failed", "bold red")
            table.add_row(str(number), cell(step.name), fate, seconds(step.seconds))
        for number, name in enumerate(self._planned[len(self._steps) :], len(self._steps) + 1):
            table.add_row(str(number), cell(name), cell("not reached", "dim"), "")
        table.add_section()
        total = sum(step.seconds for step in self._steps)
        table.add_row("", "all", "", seconds(total), style="bold")
        return table
