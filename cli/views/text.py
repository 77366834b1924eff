"""Cells of tables."""

from __future__ import annotations

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text


def cell(value: str, style: str = "") -> Text:
    """Returns a text as it is: no markup is read, and what could steer the terminal is replaced."""
    return Text("".join(c if c.isprintable() else "\ufffd" for c in value), style=style)


def plain_table() -> Table:
    """Returns an empty table in the house's style."""
    return Table(box=box.SIMPLE_HEAD)


def titled(title: str, table: Table) -> Group:
    """Puts a line above a table, as long as it needs to be."""
    return Group(Text(), cell(title, "bold"), table)


def seconds(value: float) -> str:
    """Returns a duration."""
    return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"
