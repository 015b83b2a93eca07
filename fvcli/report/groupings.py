"""Partitions of the page's rows that color the wall and the map: folders, clusters, labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fvcli.records import Float32Array
from fvcli.report.facts import Cluster, ColorGroup, Grouping, packed
from fvcli.report.names import readable
from fvcli.report.rows import PageRows

Indices = NDArray[np.int64]

KINDS = 12  # colors that can be told apart
_TYPICAL = 6
_FEWEST = 16  # pictures that clusters are worth looking for in
_MOSTLY = 0.6  # share of a cluster in one folder that is worth saying


def by_folder(rows: PageRows) -> Grouping:
    """The folders at the first level where there are several; the largest have a kind each, the rest share one."""
    paths = [ref.name.split("/")[:-1] for ref in rows.refs]
    depth, deepest = 0, max(map(len, paths), default=0)
    while depth < deepest and len({tuple(path[: depth + 1]) for path in paths}) < 2:
        depth += 1
    names = ["/".join(path[: depth + 1]) or "(no folder)" for path in paths]
    return _grouping("folder", names, "other folders")


def by_label(rows: PageRows) -> Grouping | None:
    """The best label of every row; None where the dataset has none."""
    if not any(rows.labels):
        return None
    return _grouping("label", [found[0] if found else "(none)" for found in rows.labels], "other labels")


def clusters(
    rows: PageRows, coordinates: Float32Array, wall: Indices, folders: Grouping, seed: int
) -> tuple[Grouping | None, tuple[Cluster, ...]]:
    """K-means over the pictures on the wall, the largest cluster first, and every row in the nearest one.

    coordinates: float32 [rows, d]. wall: page rows of the pictures on the wall.
    """
    if len(wall) < _FEWEST or not coordinates[wall].var(0).any():
        return None, ()
    from sklearn.cluster import KMeans

    count = int(np.clip(round(len(wall) ** 0.5 / 2.5), 2, KINDS))
    model = KMeans(count, n_init=4, random_state=seed).fit(coordinates[wall])
    centers = model.cluster_centers_.astype(np.float32)
    nearest = np.concatenate([_nearest(part, centers) for part in np.array_split(coordinates, len(rows) // 4096 + 1)])
    order = np.argsort(-np.bincount(nearest, minlength=count), kind="stable")
    of = np.argsort(order)[nearest]
    names = _names(rows, of, count)
    found = tuple(
        Cluster(
            name=name,
            count=int((of == number).sum()),
            typical=_typical(rows, coordinates, wall[of[wall] == number], centers[order[number]]),
            folder=_folder(rows, np.flatnonzero(of == number), folders),
        )
        for number, name in enumerate(names)
    )
    return Grouping("cluster", tuple(ColorGroup(one.name, one.count) for one in found), packed(of, "u1")), found


def _grouping(name: str, names: Sequence[str], rest: str) -> Grouping:
    counts = Counter(names)
    common = [one for one, _ in sorted(counts.items(), key=lambda kind: (-kind[1], kind[0]))]
    if len(common) > KINDS:
        common = common[: KINDS - 1]
    places = {one: number for number, one in enumerate(common)}
    of = np.array([places.get(one, len(common)) for one in names], np.int64)
    kinds = [ColorGroup(readable(one), counts[one]) for one in common]
    if len(counts) > len(common):
        kinds.append(ColorGroup(rest, len(names) - sum(kind.count for kind in kinds)))
    return Grouping(name, tuple(kinds), packed(of, "u1"))  # type: ignore[arg-type]


def _nearest(points: Float32Array, centers: Float32Array) -> Indices:
    distances = (centers**2).sum(1) - 2 * points @ centers.T
    result: Indices = distances.argmin(1)
    return result


def _typical(rows: PageRows, coordinates: Float32Array, members: Indices, center: Float32Array) -> tuple[int, ...]:
    """Page rows that lie most in the center's direction, one per content."""
    lengths = np.maximum(np.linalg.norm(coordinates[members], axis=1), 1e-12)
    order = members[np.argsort(-(coordinates[members] @ center) / lengths, kind="stable")]
    chosen: dict[str, int] = {}
    for row in order.tolist():
        chosen.setdefault(rows.hashes[row], row)
        if len(chosen) == _TYPICAL:
            break
    return tuple(chosen.values())


def _names(rows: PageRows, of: Indices, count: int) -> list[str]:
    """The two labels that are more frequent in a cluster than anywhere else; numbers where there are no labels.

    Of a label with synonyms ("tiger, Panthera tigris") the first is taken.
    """
    plain = [f"Cluster {number + 1}" for number in range(count)]
    if not any(rows.labels):
        return plain
    everywhere = Counter(found[0] for found in rows.labels if found)
    names = []
    for number in range(count):
        here = Counter(rows.labels[row][0] for row in np.flatnonzero(of == number).tolist() if rows.labels[row])
        size = max(1, here.total())
        lift = {name: many / size - everywhere[name] / len(rows) for name, many in here.items()}
        best = sorted(lift, key=lambda name: (-lift[name], name))[:2]
        names.append(", ".join(readable(name.split(",")[0], 40) for name in best) or plain[number])
    return [name if names.count(name) == 1 else f"{name} ({number + 1})" for number, name in enumerate(names)]


def _folder(rows: PageRows, members: Indices, folders: Grouping) -> str:
    """The folder that holds most of a cluster, "" where none does or all rows are in one."""
    if len(folders.kinds) < 2 or not len(members):
        return ""
    names = Counter(rows.refs[row].name.rpartition("/")[0] for row in members.tolist())
    name, many = min(names.items(), key=lambda one: (-one[1], one[0]))
    return readable(name) if many >= _MOSTLY * len(members) else ""
