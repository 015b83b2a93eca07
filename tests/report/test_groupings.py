"""The folders that color the wall."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fvcli.records import ImageRef
from fvcli.report.groupings import by_folder, by_label, clusters
from fvcli.report.rows import PageRows
from tests.helpers.pages import unpacked


def rows_in(*folders: str) -> PageRows:
    """A row per folder's name, in this order."""
    refs = tuple(ImageRef("photos", f"{folder}/{number}.jpg") for number, folder in enumerate(folders))
    count = len(refs)
    sizes = np.ones((count, 3), np.int64)
    return PageRows(np.arange(count), refs, ("",) * count, sizes, ("JPEG",) * count, ((),) * count, ((),) * count)


@pytest.mark.parametrize(("folders", "others"), [(12, 0), (13, 2), (20, 9)])
def test_there_are_as_many_kinds_as_colors_and_the_last_holds_the_rest(folders: int, others: int) -> None:
    names = [f"{number:02d}" for number in range(folders) for _ in range(1 + (number == 3))]
    found = by_folder(rows_in(*names))
    assert len(found.kinds) == 12
    assert (found.kinds[0].name, found.kinds[0].count) == ("photos/03", 2)
    assert [kind.count for kind in found.kinds if kind.name == "other folders"] == [others][: others > 0]
    of = unpacked(found.of, "u1").tolist()
    assert np.bincount(of).tolist() == [kind.count for kind in found.kinds]
    assert {of[place] for place, name in enumerate(names) if name == "03"} == {0}


def test_the_level_is_the_first_with_several_folders() -> None:
    found = by_folder(rows_in("2024/a/x", "2024/a/y", "2024/b"))
    assert [(kind.name, kind.count) for kind in found.kinds] == [("photos/2024/a", 2), ("photos/2024/b", 1)]


def in_clusters(count: int = 60) -> tuple[PageRows, np.ndarray]:
    """Rows in three heaps of 10, 20 and 30, far apart, each in a folder of its own and with a label of its own."""
    heap = np.repeat([0, 1, 2], [count // 6, count // 3, count // 2])
    refs = tuple(ImageRef("photos", f"{'abc'[place]}/{number}.jpg") for number, place in enumerate(heap.tolist()))
    labels = tuple((("tiger, Panthera tigris", "car", "tree")[place],) for place in heap.tolist())
    hashes = tuple(f"{number // 2:064x}" for number in range(count))  # two rows of each content
    rows = PageRows(
        np.arange(count), refs, hashes, np.ones((count, 3), np.int64), ("JPEG",) * count, labels, ((0.5,),) * count
    )
    noise = np.random.default_rng(1).standard_normal((count, 4)) * 0.01
    return rows, (np.eye(3, 4)[heap] * 5 + noise).astype(np.float32)


def test_clusters_are_the_heaps_the_largest_first_named_by_what_only_they_have() -> None:
    rows, coordinates = in_clusters()
    wall = np.arange(60)
    grouping, found = clusters(rows, coordinates, wall, by_folder(rows), seed=0)
    assert grouping is not None
    of = np.array(unpacked(grouping.of, "u1").tolist())
    heaps = [set(of[:10]), set(of[10:30]), set(of[30:])]
    assert all(not (one & other) for one in heaps for other in heaps if one is not other)
    assert [cluster.count for cluster in found] == sorted((cluster.count for cluster in found), reverse=True)
    assert [kind.count for kind in grouping.kinds] == [cluster.count for cluster in found] == np.bincount(of).tolist()
    (tigers,) = (number for number, cluster in enumerate(found) if cluster.name.startswith("tiger"))
    assert heaps[0] == {tigers}
    assert (found[tigers].name, found[tigers].count, found[tigers].folder) == ("tiger", 10, "photos/a")
    assert 1 <= len(found[tigers].typical) <= 5, "one row of each content"
    assert all(of[row] == tigers for row in found[tigers].typical)


def test_few_pictures_or_all_alike_are_in_no_clusters() -> None:
    rows, coordinates = in_clusters()
    folders = by_folder(rows)
    assert clusters(rows, coordinates, np.arange(15), folders, seed=0) == (None, ())
    assert clusters(rows, np.ones_like(coordinates), np.arange(60), folders, seed=0) == (None, ())


def test_labels_group_rows_and_rows_without_one_are_told() -> None:
    rows, _ = in_clusters()
    found = by_label(replace(rows, labels=(*rows.labels[:-2], (), ())))
    assert found is not None
    assert [(kind.name, kind.count) for kind in found.kinds] == [
        ("tree", 28), ("car", 20), ("tiger, Panthera tigris", 10), ("(none)", 2),
    ]  # fmt: skip
    assert by_label(replace(rows, labels=((),) * 60)) is None
