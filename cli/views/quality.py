"""How good a model is."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Group

from cli.views.text import cell, plain_table, titled


def quality_table(
    measures: Mapping[str, tuple[float, float | None]], title: str, model: str = "model"
) -> Group:
    """Measures of a model beside those of popularity.

    Args:
        measures: By name, for example "ndcg@10": the model's and, if known, popularity's.
        title: What was measured on what.
        model: The heading of the model's column.
    """
    table = plain_table()
    table.add_column("measure")
    table.add_column(model, justify="right")
    table.add_column("popularity", justify="right")
    for name, (value, popular) in measures.items():
        table.add_row(cell(name), f"{value:.4f}", "" if popular is None else f"{popular:.4f}")
    return titled(title, table)
