"""Output that reads well on a terminal and in a log file."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

_LOG_WIDTH = 120
_LINE_EVERY_S = 10.0
_LINE_EVERY_SHARE = 0.25

Advance = Callable[[float], None]
"""Tells a progress display that so much more is done."""


def make_console() -> Console:
    """Returns the console on standard output.

    Without a terminal it writes plain text, 120 columns wide unless COLUMNS says otherwise.
    """
    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(highlight=False, width=_LOG_WIDTH)
    return console


@contextmanager
def progress(console: Console, label: str, total: float, unit: str = "") -> Iterator[Advance]:
    """Shows how far something is: a bar on a terminal, now and then a line elsewhere.

    Args:
        console: Where to show it.
        label: What is being done.
        total: How much there is to do.
        unit: What `total` counts; empty: only the share is shown.
    """
    if console.is_terminal:
        with _bar(console, label, total, unit) as advance:
            yield advance
    else:
        yield _Lines(console, label, total, unit).advance


@contextmanager
def _bar(console: Console, label: str, total: float, unit: str) -> Iterator[Advance]:
    counted = (MofNCompleteColumn(), TextColumn(unit)) if unit else ()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        *counted,
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(label, total=total)
        yield lambda amount: bar.advance(task, amount)


class _Lines:
    def __init__(self, console: Console, label: str, total: float, unit: str) -> None:
        self._console = console
        self._label = label
        self._total = total
        self._unit = unit
        self._done = 0.0
        self._shown = 0.0
        self._begin = self._shown_at = time.monotonic()

    def advance(self, amount: float) -> None:
        self._done += amount
        now = time.monotonic()
        ended = self._done >= self._total > self._shown
        grown = self._done - self._shown >= _LINE_EVERY_SHARE * self._total
        if ended or grown or now - self._shown_at >= _LINE_EVERY_S:
            self._shown, self._shown_at = self._done, now
            self._print(now - self._begin)

    def _print(self, seconds: float) -> None:
        share = self._done / self._total if self._total else 1.0
        counted = f"  {self._done:,.0f} of {self._total:,.0f} {self._unit}" if self._unit else ""
        self._console.print(
            f"{self._label}  {share:4.0%}{counted}  {seconds:.1f} s", markup=False, soft_wrap=True
        )
