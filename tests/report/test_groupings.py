"""The folders that color the wall."""

from __future__ import annotations

import numpy as np
import pytest

from fvcli.records import ImageRef
from fvcli.report.groupings import KINDS, by_folder
from fvcli.report.rows import PageRows
from tests.helpers.pages import unpacked


def rows_in(*folders: str) -> PageRows:
    """A row per folder's name, in this order."""
    refs = tuple(ImageRef("photos", f"{folder}/{number}.jpg") for number, folder in enumerate(folders))
    count = len(refs)
    sizes = np.ones((count, 3), np.int64)
    return PageRows(np.arange(count), refs, ("",) * count, sizes, ("JPEG",) * count, ((),) * count, ((),) * count)


@pytest.mark.parametrize(("folders", "others"), [(KINDS, 0), (KINDS + 1, 2), (KINDS + 8, 9)])
def test_there_are_as_many_kinds_as_colors_and_the_last_holds_the_rest(folders: int, others: int) -> None:
    names = [f"{number:02d}" for number in range(folders) for _ in range(1 + (number == 3))]
    found = by_folder(rows_in(*names))
    assert len(found.kinds) == KINDS
    assert (found.kinds[0].name, found.kinds[0].count) == ("photos/03", 2)
    assert [kind.count for kind in found.kinds if kind.name == "other folders"] == [others][: others > 0]
    of = unpacked(found.of, "u1").tolist()
    assert np.bincount(of).tolist() == [kind.count for kind in found.kinds]
    assert {of[place] for place, name in enumerate(names) if name == "03"} == {0}


def test_the_level_is_the_first_with_several_folders() -> None:
    found = by_folder(rows_in("2024/a/x", "2024/a/y", "2024/b"))
    assert [(kind.name, kind.count) for kind in found.kinds] == [("photos/2024/a", 2), ("photos/2024/b", 1)]
