"""A dataset's facts, gathered in a few passes, each in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fvcli import __version__
from fvcli.dataset.reader import Dataset
from fvcli.explore.linkage import THRESHOLD
from fvcli.images.memory import DEFAULT_LIMITS, Limits
from fvcli.report import extremes
from fvcli.report.embedding import Likeness, directions, embed, likeness, quantized, spread_from
from fvcli.report.facts import Duplicates, Extra, Extremes, Facts, Wall, WallNeighbors, packed
from fvcli.report.grid import Grid, arrange
from fvcli.report.groupings import by_folder, by_label, clusters
from fvcli.report.histograms import histograms
from fvcli.report.links import Links, links
from fvcli.report.pictures import Picture, Wanted, pictures, sides, sprite
from fvcli.report.rows import PageRows, choose, labels, load, spread, table
from fvcli.report.summary import failure_kinds, runs, summarize

Indices = NDArray[np.int64]

#: What the page's size is bounded by. docs/report.md repeats these.
PAGE_BYTES = 14_500_000
PAGE_ROWS = 50_000  # named and drawn on the map; a spread sample above
NAME_BYTES = 4_000_000  # of the names of all rows
WALL_PICTURES = 3_000
NEAREST = 8
LINKED_ROWS = 25_000  # near-duplicates in the page
CARDS = 60  # groups of near-duplicates with pictures of their own
CARD_PICTURES = 4
DUPLICATE_ROWS = 200_000  # searched for near-duplicates
LOWEST = 0.85  # where the page's threshold can be moved to


@dataclass(frozen=True, slots=True)
class Options:
    """seed: chooses samples and arranges the wall. threshold: the cosine of near-duplicates that the page starts with.

    with_pictures: whether to read the images again. threads: for reading, decoding and arranging them.
    """

    seed: int = 0
    threshold: float = THRESHOLD
    with_pictures: bool = True
    threads: int = 1
    limits: Limits = DEFAULT_LIMITS


class ReportObserver(Protocol):
    """Receives progress."""

    def step(self, what: str) -> None:
        """A new part of the work begins."""

    def share(self, done: float) -> None:
        """So much of the step is done, 0 to 1."""

    def reading(self, pictures: int) -> None:
        """So many pictures are about to be read; ``read`` follows for each."""

    def read(self) -> None:
        """One picture is done."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """The page's rows, those on the wall (page rows), and where everything is. nearest: None without rows."""

    rows: PageRows
    wall: Indices
    near: Likeness
    plane: NDArray[np.float32]
    grid: Grid


def gather(dataset: Dataset, folder: str, options: Options, observer: ReportObserver) -> Facts:
    """Everything the page shows of the dataset in ``folder``. Raises DatasetError where it cannot be read."""
    dataset.require_sizes()
    linkage = None
    if len(dataset) <= DUPLICATE_ROWS:
        observer.step("near-duplicates")
        linkage = links(dataset, min(LOWEST, options.threshold), LINKED_ROWS, observer.share)
    smallest, oddest = extremes.smallest_and_oddest(dataset)
    always = np.concatenate([smallest, oddest, linkage.rows if linkage else smallest])
    rows = _named(load(dataset, choose(len(dataset), always, PAGE_ROWS, options.seed)), always, options.seed)
    layout = _laid_out(dataset, rows, options, observer)
    folders = by_folder(rows)
    cluster_colors, found = clusters(rows, layout.near.coordinates, layout.wall, folders, options.seed)
    every_label = by_label(rows)
    duplicates = None if linkage is None else _duplicates(linkage, rows, options)
    extreme = Extremes(
        outliers=extremes.outliers(dataset, rows, layout.wall, layout.near),
        darkest=(),
        smallest=extremes.measured(rows, smallest, shape=False),
        shapes=extremes.measured(rows, oddest, shape=True),
    )
    failures, kinds = failure_kinds(dataset)
    facts = Facts(
        version=__version__,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        summary=summarize(dataset, folder),
        runs=runs(dataset),
        rows=table(rows),
        labels=labels(rows),
        wall=None,
        extras=(),
        nearest=_nearest(layout) if len(rows) else None,
        groupings=tuple(one for one in (folders, cluster_colors, every_label) if one is not None and len(rows)),
        clusters=found,
        duplicates=duplicates,
        duplicates_limit=DUPLICATE_ROWS,
        extremes=extreme,
        failures=failures,
        failure_kinds=kinds,
        histograms=histograms(dataset),
    )
    return _with_pictures(facts, layout, _wanted_besides(linkage, rows, extreme, options), options, observer)


def _named(rows: PageRows, always: Indices, seed: int) -> PageRows:
    """The rows whose names fit into the page: all, or a spread sample that keeps those of ``always``."""
    size = sum(len(ref.path.encode("utf-8", "backslashreplace")) + 3 for ref in rows.refs)
    if size <= NAME_BYTES:
        return rows
    kept = choose(len(rows), np.searchsorted(rows.numbers, always), len(rows) * NAME_BYTES // size, seed)
    return rows.take(kept)


def _laid_out(dataset: Dataset, rows: PageRows, options: Options, observer: ReportObserver) -> _Layout:
    wall = spread(len(rows), WALL_PICTURES, options.seed)
    if not len(rows):
        nothing = np.empty((0, 0), np.float32)
        near = Likeness(nothing.astype(np.int64), nothing, nothing)
        return _Layout(rows, wall, near, np.empty((0, 2), np.float32), arrange(np.empty((0, 2), np.float32)))
    observer.step("nearest neighbors")
    near = likeness(dataset, rows.numbers, wall, NEAREST)
    observer.step(f"arranging {len(wall):,} pictures by similarity")
    plane = embed(directions(dataset.take(rows.numbers[wall])), options.seed, options.threads)
    observer.step("filling the wall")
    return _Layout(rows, wall, near, spread_from(plane, wall, near), arrange(plane))


def _nearest(layout: _Layout) -> WallNeighbors:
    points, aspect = quantized(layout.plane)
    return WallNeighbors(
        k=layout.near.places.shape[1],
        places=packed(layout.near.places, "u2"),
        scores=packed(np.rint((layout.near.scores.astype(np.float64) + 1) * 32767), "u2"),
        points=packed(points, "u2"),
        aspect=aspect,
    )


def _duplicates(linkage: Links, rows: PageRows, options: Options) -> Duplicates:
    places = np.searchsorted(rows.numbers, linkage.pairs)
    inside = np.minimum(places, max(0, len(rows) - 1))
    known: NDArray[np.bool_] = (rows.numbers[inside] == linkage.pairs).all(axis=1)
    order = np.argsort(-linkage.scores[known], kind="stable")
    pairs, scores = places[known][order], linkage.scores[known][order]
    own = np.searchsorted(rows.numbers, linkage.rows)
    contents = [(row, content) for row, content in zip(own.tolist(), linkage.contents.tolist(), strict=True)]
    return Duplicates(
        threshold=options.threshold,
        lowest=min(LOWEST, options.threshold),
        links=tuple((a, b, round(score, 5)) for (a, b), score in zip(pairs.tolist(), scores.tolist(), strict=True)),
        contents=tuple((row, content) for row, content in contents if row < len(rows)),
        left_out=linkage.left_out + int((~known).sum()),
    )


def _wanted_besides(linkage: Links | None, rows: PageRows, extreme: Extremes, options: Options) -> list[int]:
    """Page rows that sections show, the most useful picture first; each once."""
    wanted: list[int] = []
    if linkage is not None:
        own = np.searchsorted(rows.numbers, linkage.rows)
        groups = [rows.best_first(own[group].tolist()) for group in linkage.groups(options.threshold)]
        groups.sort(key=lambda group: -sum(int(rows.sizes[row, 2]) for row in group[1:]))
        for group in groups[:CARDS]:
            contents = {rows.hashes[row]: row for row in reversed(group)}
            wanted += sorted(contents.values(), key=group.index)[:CARD_PICTURES]
    for section in (extreme.outliers, extreme.smallest, extreme.shapes):
        wanted += [one.row for one in section]
        wanted += [one.near for one in section if one.near is not None]
    return list(dict.fromkeys(wanted))


def _with_pictures(
    facts: Facts, layout: _Layout, besides: Sequence[int], options: Options, observer: ReportObserver
) -> Facts:
    """The facts with the wall, its sprite, and as many previews as the page has room for."""
    wall = layout.wall.tolist()
    order = list(dict.fromkeys([*besides, *wall]))
    room = PAGE_BYTES - len(facts.to_json().encode("utf-8", "backslashreplace"))
    size = sides(len(order), room)
    found: Iterable[Picture] = (Picture("off") for _ in order)
    if options.with_pictures:
        observer.reading(len(order))
        files = [Wanted(layout.rows.refs[row], layout.rows.hashes[row]) for row in order]
        found = pictures(files, size, options.threads, options.limits, observer.read)
    by_row = dict(zip(order, found, strict=True))
    uri, across = "", 1
    if any(by_row[row].tile is not None for row in wall):
        uri, across = sprite([by_row[row].tile for row in wall], size.tile)
    previews = _that_fit(by_row, room - len(uri))
    lightness = [by_row[row].lightness for row in wall]
    grid = layout.grid
    on_wall = set(wall)
    return replace(
        facts,
        wall=Wall(
            rows=packed(layout.wall, "u4"),
            cells=packed(grid.cells, "u2"),
            columns=grid.columns,
            lines=grid.lines,
            all=facts.summary.rows == len(wall),
            sprite=uri,
            side=size.tile,
            across=across,
            states=tuple(by_row[row].state for row in wall),
            previews=tuple(previews[row] for row in wall),
        )
        if wall
        else None,
        extras=tuple(
            Extra(row, "left out" if by_row[row].preview and not previews[row] else by_row[row].state, previews[row])
            for row in besides
            if row not in on_wall
        ),
        extremes=replace(facts.extremes, darkest=extremes.darkest(layout.wall, lightness)),
    )


def _that_fit(by_row: dict[int, Picture], room: int) -> dict[int, str]:
    """The previews in order until they fill ``room`` bytes, and "" from there on."""
    previews = {}
    for row, picture in by_row.items():
        room -= len(picture.preview) + 3
        previews[row] = picture.preview if room >= 0 else ""
    return previews
