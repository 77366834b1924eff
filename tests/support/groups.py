"""Tests of one group run in one worker process, where `xdist_group` is a module's mark.

pytest-xdist 3.8 does this by itself, but writes the group where pytest 9.2 no longer looks for it,
and then spreads the tests without a word: each worker would start every stack.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from xdist.scheduler.loadscope import LoadScopeScheduling

_MARK = re.compile(r"xdist_group\(\"(\w+)\"\)")


class GroupScheduling(LoadScopeScheduling):
    """Gives the tests of one group to one worker, and each other test to any."""

    def _split_scope(self, nodeid: str) -> str:
        return _group_of(self.config.rootpath / nodeid.partition("::")[0]) or nodeid


def pytest_xdist_make_scheduler(config: Any, log: Any) -> GroupScheduling | None:
    """Takes the place of `--dist loadgroup`; a hook of pytest-xdist for a conftest to import."""
    return GroupScheduling(config, log) if config.getvalue("dist") == "loadgroup" else None


@cache
def _group_of(file: Path) -> str:
    found = _MARK.search(file.read_text(encoding="utf-8"))
    return found.group(1) if found else ""
