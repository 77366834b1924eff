"""Trees of plain values as YAML that people can read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

Tree = dict[str, Any]
"""A message of Envoy's configuration in its JSON form."""

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\Z")
_UNPRINTABLE = re.compile(r"[\x7f-\x9f\u2028\u2029\ufeff]")
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})


def to_yaml(tree: Tree) -> str:
    """Writes a tree of dictionaries, lists, strings, numbers, booleans and None.

    Strings of several lines become blocks, so that programs inside stay readable; all others
    are quoted as JSON does, which YAML reads the same, so that no value can end its place.
    """
    return "\n".join(_lines(tree)) + "\n"


def _lines(value: Any) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _entry(f"{_key(key)}:", inner)
    elif isinstance(value, list) and value:
        for inner in value:
            yield from _item(inner)
    else:
        yield _scalar(value)


def _entry(head: str, value: Any) -> Iterator[str]:
    if isinstance(value, dict | list) and value:
        yield head
        yield from (f"  {line}" for line in _lines(value))
    elif isinstance(value, str) and _can_be_a_block(value):
        yield f"{head} |2"
        yield from (f"  {line}" if line else "" for line in value.removesuffix("\n").split("\n"))
    else:
        yield f"{head} {_scalar(value)}"


def _item(value: Any) -> Iterator[str]:
    lines = _lines(value)
    yield f"- {next(lines)}"
    yield from (f"  {line}" if line else "" for line in lines)


def _key(key: str) -> str:
    return key if _PLAIN.match(key) and key.lower() not in _WORDS else _scalar(key)


def _scalar(value: Any) -> str:
    # YAML takes some characters for line breaks that JSON leaves as they are.
    return _UNPRINTABLE.sub(
        lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False)
    )


def _can_be_a_block(text: str) -> bool:
    # A block ends in exactly one line break and holds printable text only.
    return (
        "\n" in text[:-1]
        and text.endswith("\n")
        and not text.endswith("\n\n")
        and all(character.isprintable() or character == "\n" for character in text)
    )
