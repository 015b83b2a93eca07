"""JSON values with one thing changed, for readers that must not be surprised."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

WRONG: tuple[Any, ...] = (None, True, -1, 0.5, 10**30, "", "../x", [], {}, [[]], {"a": 1}, "\ud800")


def changed(values: Any, wrong: tuple[Any, ...] = WRONG) -> Iterator[tuple[str, Any]]:
    """(what was changed, the values): each field replaced by each of ``wrong``, each field dropped, each object with a
    field too many."""
    for place in _places(values):
        name = ".".join(map(str, place)) or "everything"
        for other in wrong:
            yield f"{name} = {other!r}", _with(values, place, other)
        if place:
            yield f"without {name}", _with(values, place, None, drop=True)
        if isinstance(_at(values, place), dict):
            yield f"{name} with more", _with(values, (*place, "surprise"), 1)


def nested(depth: int = 100_000) -> bytes:
    """An array in an array in an array."""
    return b"[" * depth + b"]" * depth


def _places(values: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield place
    items = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, value in items:
        yield from _places(value, (*place, key))


def _at(values: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        values = values[key]
    return values


def _with(values: Any, place: tuple[Any, ...], other: Any, drop: bool = False) -> Any:
    if not place:
        return other
    result = copy.deepcopy(values)
    parent = _at(result, place[:-1])
    if drop:
        del parent[place[-1]]
    else:
        parent[place[-1]] = other
    return result
