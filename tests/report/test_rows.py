"""Rows on a page, and their names."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from fvcli.records import ImageRef
from fvcli.report.names import readable
from fvcli.report.rows import PageRows, choose, spread, table


@pytest.mark.parametrize(("count", "wanted"), [(10, 3), (50_000, 3000), (3001, 3000), (7, 7), (5, 9)])
def test_a_spread_sample_has_one_of_each_stretch(count: int, wanted: int) -> None:
    chosen = spread(count, wanted, seed=1)
    assert len(chosen) == min(count, wanted)
    assert (np.diff(chosen) > 0).all()
    assert 0 <= chosen[0] <= chosen[-1] < count
    if count > wanted:
        stretches = (chosen + 0.5) * wanted / count
        assert np.abs(stretches - np.arange(wanted) - 0.5).max() <= 1


def test_another_seed_gives_another_sample() -> None:
    assert spread(1000, 50, 1).tolist() == spread(1000, 50, 1).tolist()
    assert spread(1000, 50, 1).tolist() != spread(1000, 50, 2).tolist()


def test_a_choice_keeps_what_it_must() -> None:
    always = np.array([999, 3, 4, 3])
    chosen = choose(1000, always, 100, seed=0)
    assert len(chosen) == 100
    assert (np.diff(chosen) > 0).all()
    assert {3, 4, 999} <= set(chosen.tolist())
    assert choose(50, always[1:], 100, seed=0).tolist() == list(range(50))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a b.jpg", "a b.jpg"),
        ("née 写真 🌼 👩‍🔬.jpg", "née 写真 🌼 👩‍🔬.jpg"),
        ("line\nbreak\x00\x1b[31m", "line\\x0abreak\\x00\\x1b[31m"),
        ("turned\u202egpj", "turned\\u202egpj"),
        ("lone\udcff", "lone\\udcff"),
        ("wide\u3000space\u00a0", "wide\\u3000space\\xa0"),
        ("lines\u2028and\u2029paragraphs", "lines\\u2028and\\u2029paragraphs"),
    ],
)
def test_names_hide_nothing(name: str, shown: str) -> None:
    assert readable(name) == shown


@pytest.mark.parametrize("name", ["x" * 161, "\n" * 100, "🌼" * 5000])
def test_long_names_lose_their_middle(name: str) -> None:
    shown = readable("begin" + name + "end")
    assert len(shown) == 160
    assert shown.startswith("begin")
    assert shown.endswith("end")
    assert "…" in shown


def rows_of(refs: list[ImageRef], sizes: list[list[int]]) -> PageRows:
    """Rows with these places and [width, height, bytes]."""
    count = len(refs)
    return PageRows(
        np.arange(count), tuple(refs), ("",) * count, np.array(sizes), ("JPEG",) * count, ((),) * count, ((),) * count
    )


def test_of_a_group_the_largest_image_comes_first_then_the_largest_file_then_the_first_row() -> None:
    refs = [ImageRef("photos", f"{number}.jpg") for number in range(5)]
    rows = rows_of(refs, [[10, 10, 900], [40, 30, 100], [30, 40, 100], [30, 40, 200], [11, 10, 5]])
    assert rows.best_first([0, 1, 2, 3, 4]) == [3, 1, 2, 4, 0]
    assert rows.best_first([4, 0]) == [4, 0]


def test_a_name_that_is_shown_otherwise_comes_as_it_is_too() -> None:
    raw = b"caf\xe9.jpg"
    refs = [ImageRef("photos", "a.jpg"), ImageRef("photos", "b\n.jpg"), ImageRef("photos", "caf\ufffd.jpg", raw)]
    found = table(rows_of(refs, [[1, 1, 1]] * 3))
    assert found.exact == {1: "photos/b\n.jpg"}
    assert {place: base64.b64decode(name) for place, name in found.raw.items()} == {2: b"photos/" + raw}
