"""The validation of JSON from files against type hints."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import pytest

from gpunet.formats import parse_json, read_as


@dataclass(frozen=True)
class Point:
    x: float
    y: float = 0.0


class Optional(TypedDict, total=False):
    note: str


class Drawing(Optional):
    points: tuple[Point, ...]
    kind: Literal["open", "closed"]
    size: tuple[int, int] | None
    tags: Sequence[str]
    extra: dict[str, float | None]


DRAWING: dict[str, Any] = {
    "points": [{"x": 1}, {"x": 1.5, "y": -2}],
    "kind": "open",
    "size": [3, 4],
    "tags": ["a"],
    "extra": {"z": None, "w": 1.5},
}


def test_dataclasses_and_tuples_are_built():
    read = read_as(Drawing, DRAWING)
    assert read["points"] == (Point(1), Point(1.5, -2))
    assert read["size"] == (3, 4)
    assert read["tags"] == ["a"]
    assert read["extra"] == {"z": None, "w": 1.5}
    assert "note" not in read
    assert read_as(Drawing, {**DRAWING, "size": None, "note": "n"})["size"] is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"points": {}}, "points must be a list, got {}"),
        ({"points": [{"y": 1}]}, "points[0] lacks 'x'"),
        ({"points": [{"x": 1}, {"x": "1"}]}, "points[1].x must be a number, got '1'"),
        ({"points": [{"x": True}]}, "points[0].x must be a number, got True"),
        ({"points": [{"x": 10**400}]}, "points[0].x must be a number, got 1000"),
        ({"points": [{"x": 1, "z": 1}]}, "points[0] has 'z', unknown to this version of gpunet"),
        ({"kind": "shut"}, "kind must be 'open' or 'closed', got 'shut'"),
        ({"size": [1]}, "size must have 2 elements, got 1"),
        ({"size": [1, 2.0]}, "size[1] must be a whole number, got 2.0"),
        ({"tags": "abc"}, "tags must be a list, got 'abc'"),
        ({"extra": {"z": []}}, "extra['z'] must be a number, got []"),
        ({"note": 3}, "note must be text, got 3"),
        ({"colour": "red"}, "it has 'colour', unknown to this version of gpunet"),
    ],
)
def test_mismatches_are_refused_with_their_position(change, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        read_as(Drawing, {**DRAWING, **change})


def test_json_that_is_nested_too_deeply_is_refused():
    for text in ("[" * 100_000 + "]" * 100_000, '{"a":' * 100_000):
        with pytest.raises(ValueError, match="nested too deeply"):
            parse_json(text)


@pytest.mark.parametrize("text", ["", "{", "nul", b"\xff\xfe{", '{"a": 1,}'])
def test_invalid_json_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)
