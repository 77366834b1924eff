"""docs/operations.md names every setting as the code has it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic_core import PydanticUndefined

from mesh.settings import PREFIX, MeshSettings
from notify_svc.settings import NotifySettings
from reco_svc.settings import RecoSettings
from user_svc.settings import UserSettings

PAGE = Path(__file__).parents[3] / "docs" / "operations.md"
KINDS = (MeshSettings, UserSettings, RecoSettings, NotifySettings)
FIELDS = {name: field for kind in KINDS for name, field in kind.model_fields.items()}


def variable(name: str) -> str:
    return f"`{PREFIX}{name.upper()}`"


def row(name: str) -> str:
    field = FIELDS[name]
    default = field.default
    if default is PydanticUndefined:
        shown = "required"
    elif default in (None, ""):
        shown = ""
    elif isinstance(default, bool):
        shown = str(default).lower()
    else:
        shown = f"{default:g}" if isinstance(default, float) else str(default)
    about = re.sub(r"[a-z]+(_[a-z]+)+", lambda m: variable(m[0]), str(field.description))
    return f"| {variable(name)} | {shown} | {about} |"


@pytest.mark.parametrize("name", FIELDS)
def test_a_setting_stands_in_the_table(name: str) -> None:
    assert row(name) in PAGE.read_text().splitlines()


def test_the_table_names_nothing_that_is_gone() -> None:
    named = set(re.findall(r"^\| `MARQUEE_([A-Z_]+)` \|", PAGE.read_text(), flags=re.MULTILINE))
    assert {name.lower() for name in named} == set(FIELDS)
