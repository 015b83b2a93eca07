"""A dataset's facts, gathered in a few passes, each in bounded memory."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa

from fvcli import __version__
from fvcli.dataset.reader import Dataset
from fvcli.explore.linkage import Group as Duplicate
from fvcli.explore.linkage import near_duplicates
from fvcli.explore.neighbors import nearest
from fvcli.images.estimate import DEFAULT_LIMITS, Limits
from fvcli.records import ImageInfo, ImageRef
from fvcli.report.facts import (
    Duplicates,
    Facts,
    FailedInput,
    FailureKind,
    Group,
    Item,
    Map,
    Neighbour,
    NeighbourRow,
    Run,
    Summary,
    embeddable,
)
from fvcli.report.histograms import histograms
from fvcli.report.names import MESSAGE_CHARACTERS, readable
from fvcli.report.pictures import Picture, Wanted, pictures
from fvcli.report.projection import Indices, project, quantised, spread_out

#: What the page's size is bounded by. docs/report.md repeats these.
MAP_POINTS = 50_000  # drawn; a random sample above
MAP_NAMED = 3_000  # of them can be pointed at
SAMPLE_ROWS = 12
NEIGHBOURS = 8
DUPLICATE_GROUPS = 40
GROUP_ITEMS = 8
DUPLICATE_ROWS = 200_000  # compared with each other; the time grows with the square
FAILURE_KINDS = 30
FAILURES = 600  # named, over all kinds
ITEM_BYTES = 11_500_000  # of all names and pictures together, as they stand in the page
RUNS = 10
ROOTS = 20

_MAP_SIDE, _ROW_SIDE = 128, 192  # pixels of a picture's longer side


@dataclass(frozen=True, slots=True)
class Options:
    """seed: chooses the sample. threshold: the cosine from which two rows are near-duplicates.

    with_pictures: whether to read the images again. threads: for reading and decoding them.
    """

    seed: int = 0
    threshold: float = 0.98
    with_pictures: bool = True
    threads: int = 1
    limits: Limits = DEFAULT_LIMITS


class Observer(Protocol):
    """Is told what goes on."""

    def step(self, what: str) -> None:
        """A new part of the work begins."""

    def reading(self, pictures: int) -> None:
        """So many pictures are about to be read; ``read`` follows for each."""

    def read(self) -> None:
        """One picture is done."""


class _Items:
    """The rows that the page names, each once, in the order in which their pictures matter."""

    def __init__(self) -> None:
        self._places: dict[int, int] = {}
        self.sides: list[int] = []

    def add(self, row: int, side: int) -> int:
        """The place of the row's item. Who asks first decides how large its picture is."""
        if row not in self._places:
            self._places[row] = len(self.sides)
            self.sides.append(side)
        return self._places[row]

    @property
    def rows(self) -> Indices:
        return np.fromiter(self._places, np.int64, len(self._places))


@dataclass(frozen=True, slots=True)
class _Details:
    ref: ImageRef
    info: ImageInfo


def gather(dataset: Dataset, folder: str, options: Options, observer: Observer) -> Facts:
    """Everything the page shows of the dataset in ``folder``. Raises DatasetError where it cannot be read."""
    items = _Items()
    observer.step("nearest neighbours")
    neighbours = _neighbours(dataset, items, options)
    found = None
    if len(dataset) <= DUPLICATE_ROWS:
        observer.step("near-duplicates")
        found = near_duplicates(dataset, options.threshold)
    observer.step("map of the vectors")
    duplicates = None if found is None else _duplicates(dataset, found, items, options)
    drawn = _map(dataset, items, options)
    details = _details(dataset, items.rows)
    failures, kinds = _failures(dataset)
    return Facts(
        version=__version__,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        seed=options.seed,
        summary=_summary(dataset, folder),
        runs=_runs(dataset),
        map=drawn,
        neighbours=neighbours,
        duplicates=duplicates,
        duplicates_limit=DUPLICATE_ROWS,
        failures=failures,
        failure_kinds=kinds,
        histograms=histograms(dataset),
        items=_described(details, items.sides, options, observer),
    )


def _neighbours(dataset: Dataset, items: _Items, options: Options) -> tuple[NeighbourRow, ...]:
    count = min(SAMPLE_ROWS, len(dataset))
    chosen = np.sort(np.random.default_rng(options.seed).choice(len(dataset), count, replace=False)).astype(np.int64)
    if len(dataset) < 2:
        return ()
    rows = []
    for row, near in zip(chosen.tolist(), nearest(dataset, dataset.take(chosen), NEIGHBOURS + 1), strict=True):
        pairs = [(other, score) for other, score in zip(near.rows.tolist(), near.scores.tolist(), strict=True)]
        others = [pair for pair in pairs if pair[0] != row][:NEIGHBOURS]
        item = items.add(row, _ROW_SIDE)
        rows.append(NeighbourRow(item, tuple(Neighbour(items.add(other, _ROW_SIDE), score) for other, score in others)))
    return tuple(rows)


def _duplicates(dataset: Dataset, found: Sequence[Duplicate], items: _Items, options: Options) -> Duplicates:
    shown = found[:DUPLICATE_GROUPS]
    identical = _identical(dataset, shown)
    groups = tuple(
        Group(
            items=tuple(items.add(row, _ROW_SIDE) for row in group.rows[:GROUP_ITEMS].tolist()),
            size=len(group.rows),
            lowest=float(group.scores.min()),
            identical=same,
        )
        for group, same in zip(shown, identical, strict=True)
    )
    return Duplicates(options.threshold, len(found), sum(len(group.rows) for group in found), groups)


def _identical(dataset: Dataset, groups: Sequence[Duplicate]) -> list[bool]:
    """For each group whether its files have one content."""
    if not groups:
        return []
    rows = np.concatenate([group.rows for group in groups])
    owner = np.repeat(np.arange(len(groups)), [len(group.rows) for group in groups])
    order = np.argsort(rows)
    rows, owner = rows[order], owner[order]
    contents: list[set[str]] = [set() for _ in groups]
    start = 0
    for batch in dataset.batches(["sha256"]):
        low, high = np.searchsorted(rows, (start, start + batch.num_rows))
        hashes = batch.column("sha256").take(pa.array(rows[low:high] - start)).to_pylist()
        for group, content in zip(owner[low:high].tolist(), hashes, strict=True):
            contents[group].add(content)
        start += batch.num_rows
    return [len(content) == 1 for content in contents]


def _map(dataset: Dataset, items: _Items, options: Options) -> Map | None:
    if not len(dataset):
        return None
    count = min(len(dataset), MAP_POINTS)
    generator = np.random.default_rng(options.seed)
    rows = np.sort(generator.choice(len(dataset), count, replace=False)).astype(np.int64)
    projection = project(dataset, rows)
    points, aspect = quantised(projection.xy)
    named = spread_out(projection.xy, MAP_NAMED, options.seed)
    return Map(
        rows=len(dataset),
        drawn=count,
        points=base64.b64encode(points.astype("<u2").tobytes()).decode("ascii"),
        aspect=aspect,
        explained=projection.explained,
        named=tuple((point, items.add(int(rows[point]), _MAP_SIDE)) for point in named.tolist()),
    )


def _details(dataset: Dataset, wanted: Indices) -> list[_Details]:
    """What the rows say of their files, in the order of ``wanted``."""
    order = np.argsort(wanted, kind="stable")
    rows = wanted[order]
    found: list[_Details] = []
    start = 0
    for batch in dataset.batches([name for name in dataset.schema.names if name != "embedding"]):
        low, high = np.searchsorted(rows, (start, start + batch.num_rows))
        for values in batch.take(pa.array(rows[low:high] - start)).to_pylist():
            ref = ImageRef(*(values[name] for name in ("root", "path", "path_bytes", "size_bytes", "mtime_ns")))
            info = ImageInfo(
                *(values[name] for name in ("sha256", "size_bytes", "mtime_ns", "width", "height", "format"))
            )
            found.append(_Details(ref, info))
        start += batch.num_rows
    return [found[place] for place in np.argsort(order, kind="stable").tolist()]


def _described(
    details: Sequence[_Details], sides: Sequence[int], options: Options, observer: Observer
) -> tuple[Item, ...]:
    names = [(readable(each.ref.path), readable(each.ref.root)) for each in details]
    budget = ITEM_BYTES - len(embeddable(names).encode("utf-8", "backslashreplace"))
    wanted = [Wanted(each.ref, each.info.sha256, side) for each, side in zip(details, sides, strict=True)]
    taken: Iterable[Picture] = (Picture("off") for _ in wanted)
    if options.with_pictures:
        observer.reading(len(wanted))
        taken = pictures(wanted, budget, options.threads, options.limits, observer.read)
    return tuple(
        Item(
            name=name,
            folder=folder,
            odd_name=each.ref.path_bytes is not None,
            width=each.info.width,
            height=each.info.height,
            bytes=each.info.size_bytes,
            format=readable(each.info.format),
            state=picture.state,
            picture=picture.uri,
        )
        for each, (name, folder), picture in zip(details, names, taken, strict=True)
    )


def _failures(dataset: Dataset) -> tuple[tuple[FailureKind, ...], int]:
    """The failures by kind, the most frequent first, and how many kinds there are."""
    counts: Counter[tuple[str, str]] = Counter()
    first: dict[tuple[str, str], list[FailedInput]] = {}
    for line in dataset.failures():
        kind = (line.failure.stage, line.failure.error)
        counts[kind] += 1
        examples = first.setdefault(kind, []) if kind in first or len(first) < 10 * FAILURE_KINDS else []
        if len(examples) < FAILURES:
            examples.append(
                FailedInput(
                    readable(line.ref.path),
                    readable(line.ref.root),
                    readable(line.failure.message, MESSAGE_CHARACTERS),
                )
            )
    common = sorted(counts.items(), key=lambda kind: (-kind[1], kind[0]))[:FAILURE_KINDS]
    share = FAILURES // max(1, len(common))
    kinds = tuple(
        FailureKind(stage, readable(error), count, tuple(first.get((stage, error), [])[:share]))
        for (stage, error), count in common
    )
    return kinds, len(counts)


def _summary(dataset: Dataset, folder: str) -> Summary:
    manifest = dataset.manifest
    model, recipe = manifest.model, manifest.recipe.to_json()
    last = next((run for run in reversed(manifest.runs) if run.get("worked")), None)
    rate = last["worked"] / last["seconds"] if last is not None and last["seconds"] > 0 else None
    return Summary(
        name=readable(Path(folder).resolve().name or folder),
        folder=readable(folder),
        rows=len(dataset),
        discovered=manifest.counts.discovered,
        failed=manifest.counts.failed,
        stale=manifest.counts.stale,
        passed_over=tuple((readable(kind), count) for kind, count in manifest.runs[-1].get("passed_over", {}).items())
        if manifest.runs
        else (),
        roots=tuple(readable(root) for root in manifest.roots[:ROOTS]),
        roots_left_out=max(0, len(manifest.roots) - ROOTS),
        bytes=sum(file.bytes for shard in manifest.shards for file in shard.files),
        shards=len(manifest.shards),
        format=manifest.format,
        dtype=manifest.dtype,
        dimension=manifest.dimension,
        model=readable(str(model.get("name", ""))),
        licence=readable(str(model.get("licence", ""))),
        identity=readable(str(model.get("identity", ""))),
        recipe=_pairs(recipe, ("model", "identity")),
        environment=_pairs(manifest.environment, ()),
        extracted_at=readable(str(manifest.runs[-1]["started"])) if manifest.runs else None,
        seconds=None if last is None else float(last["seconds"]),
        images_per_second=rate,
    )


def _pairs(values: Mapping[str, object], without: Sequence[str]) -> tuple[tuple[str, str], ...]:
    return tuple((readable(name), readable(str(value))) for name, value in values.items() if name not in without)


def _runs(dataset: Dataset) -> tuple[Run, ...]:
    """The newest first."""
    return tuple(
        Run(
            started=readable(str(run["started"])),
            seconds=float(run["seconds"]),
            extracted=int(run["extracted"]),
            reused=int(run["reused"]),
            failed=int(run["failed"]),
            rows=int(run["rows"]),
        )
        for run in reversed(dataset.manifest.runs[-RUNS:])
    )
