"""All that is wrong with a request is told at once."""

from __future__ import annotations

import pytest
from google.protobuf import field_mask_pb2
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import InvalidArgument
from mesh.ids import is_id, new_id
from mesh.validation import Violations


def wrong(check: Violations) -> list[str]:
    return [violation.field for violation in check.found]


def test_nothing_wrong_raises_nothing() -> None:
    check = Violations()
    check.id("user_id", "u-1.2_3~4")
    check.text("name", "Ann", minimum=1, maximum=200)
    check.count("rows", 3, minimum=1, maximum=3)
    check.language("locale", "en-GB")
    check.raise_if_any()


def test_violations_are_collected() -> None:
    check = Violations()
    check.id("user_id", "")
    check.text("name", "x" * 201, maximum=200)
    check.limit("page_size", -1, default=1, maximum=2)
    with pytest.raises(InvalidArgument) as caught:
        check.raise_if_any()
    assert [v.field for v in caught.value.violations] == ["user_id", "name", "page_size"]
    assert "user_id: must not be empty" in caught.value.message


@pytest.mark.parametrize(
    "value", ["", "a b", "a/b", "ä", "a" * 129, "a\n", "\0", "a$", "a:b", "٣", "{}"]
)
def test_wrong_ids(value: str) -> None:
    assert not is_id(value)
    check = Violations()
    check.id("id", value)
    assert wrong(check) == ["id"]


def test_an_optional_id_may_be_empty_but_not_wrong() -> None:
    check = Violations()
    check.id("a", "", optional=True)
    check.id("b", "/", optional=True)
    assert wrong(check) == ["b"]


def test_generated_ids_are_ids_and_differ() -> None:
    ids = [new_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(is_id(value) for value in ids)
    assert {len(value) for value in ids} == {26}


@pytest.mark.parametrize(
    ("value", "minimum", "valid"),
    [("", 0, True), ("", 1, False), ("ab", 0, True), ("abc", 0, False), ("\0", 0, False)],
)
def test_texts(value: str, minimum: int, valid: bool) -> None:
    check = Violations()
    check.text("t", value, minimum=minimum, maximum=2)
    assert wrong(check) == ([] if valid else ["t"])


@pytest.mark.parametrize(("size", "valid"), [(0, False), (1, True), (3, True), (4, False)])
def test_counts(size: int, valid: bool) -> None:
    check = Violations()
    check.count("rows", size, minimum=1, maximum=3)
    assert wrong(check) == ([] if valid else ["rows"])


@given(st.integers(-(2**31), 2**31 - 1))
def test_limits(value: int) -> None:
    check = Violations()
    limit = check.limit("page_size", value, default=100, maximum=1000)
    if 0 <= value <= 1000:
        assert limit == (value or 100)
        check.raise_if_any()
    else:
        assert wrong(check) == ["page_size"]


@pytest.mark.parametrize("tag", ["en", "en-GB", "zh-Hant-TW", "de-1996", "sl-rozaj-biske"])
def test_languages(tag: str) -> None:
    check = Violations()
    check.language("locale", tag)
    check.raise_if_any()


@pytest.mark.parametrize("tag", ["", "e", "english!", "en_GB", "en-", "-en", "en-" + "x" * 40])
def test_wrong_languages(tag: str) -> None:
    check = Violations()
    check.language("locale", tag)
    assert wrong(check) == ["locale"]


@pytest.mark.parametrize(
    ("paths", "expected"),
    [([], {"a", "b"}), (["*"], {"a", "b"}), (["a"], {"a"}), (["b", "a", "b"], {"a", "b"})],
)
def test_masks(paths: list[str], expected: set[str]) -> None:
    check = Violations()
    assert check.mask("update_mask", field_mask_pb2.FieldMask(paths=paths), ["a", "b"]) == expected
    check.raise_if_any()


def test_a_mask_of_other_fields_is_wrong() -> None:
    check = Violations()
    check.mask("update_mask", field_mask_pb2.FieldMask(paths=["a", "id", "*"]), ["a", "b"])
    assert wrong(check) == ["update_mask", "update_mask"]
    assert "'id' cannot be updated; allowed are a, b" in check.found[1].description


def test_of_very_many_violations_the_first_are_kept() -> None:
    check = Violations()
    for number in range(100_000):
        check.add(f"rows[{number}]", "is wrong")
    assert wrong(check)[:2] == ["rows[0]", "rows[1]"]
    assert len(check.found) <= 1000


def test_a_mask_of_very_many_paths_is_wrong_at_once() -> None:
    check = Violations()
    check.mask("update_mask", field_mask_pb2.FieldMask(paths=["a"] * 100_000), ["a", "b"])
    assert wrong(check) == ["update_mask"]


def test_violations_raised_within_are_gathered() -> None:
    inner = Violations()
    inner.add("inner", "is wrong")
    check = Violations()
    check.add("outer", "is wrong")
    with check.gather():
        inner.raise_if_any()
    assert wrong(check) == ["outer", "inner"]
