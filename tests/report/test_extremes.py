"""Rows that stand out among the others."""

from __future__ import annotations

import numpy as np

from fvcli.report.extremes import darkest


def test_the_eight_darkest_pictures_are_shown_the_darkest_first() -> None:
    rows = np.arange(100, 130)
    lightness = [None if row % 10 == 3 else (row * 37 % 101) / 101 for row in rows.tolist()]
    dark = sorted((value, row) for value, row in zip(lightness, rows.tolist(), strict=True) if value is not None)
    assert [(each.value, each.row) for each in darkest(rows, lightness)] == dark[:8]
    assert [each.row for each in darkest(rows[:4], [0.5, None, 0.1, 0.9])] == [102, 100, 103]
