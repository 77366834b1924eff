from __future__ import annotations

import json

import pytest
from marquee_envoy.yaml import to_yaml


def test_trees_are_written_as_blocks():
    tree = {"a": {"b": [1, True, None, {"c": "x", "d": [[], {}]}]}, "@type": "t"}

    assert to_yaml(tree) == (
        "a:\n"
        "  b:\n"
        "    - 1\n"
        "    - true\n"
        "    - null\n"
        '    - c: "x"\n'
        "      d:\n"
        "        - []\n"
        "        - {}\n"
        '"@type": "t"\n'
    )


def test_programs_stay_readable():
    assert to_yaml({"code": "if a then\n\n  b()\nend\n"}) == (
        "code: |2\n  if a then\n\n    b()\n  end\n"
    )


@pytest.mark.parametrize(
    "value",
    [
        'x"}\nadmin: {}',
        "a: b",
        "- x",
        "# x",
        "'",
        "%",
        "\x7f",
        "\u2028",
        "\x85",
        "no",
        "1",
        "",
        "\n",
        "x\n\n",
    ],
)
def test_a_value_cannot_leave_its_place(value):
    # What YAML is written is JSON, but for blocks, on one line.
    (line,) = to_yaml({"key": value}).splitlines()
    assert line.isascii() or line.isprintable()
    assert json.loads(line.removeprefix("key: ")) == value


@pytest.mark.parametrize("key", ["on", "no", "null", "@type", "a b", "1", ""])
def test_keys_that_yaml_would_read_otherwise_are_quoted(key):
    assert to_yaml({key: 1}) == f"{json.dumps(key)}: 1\n"
