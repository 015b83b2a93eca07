"""Everything the page shows, as plain values: the content of ``facts.json`` inside the page.

A *page row* is the place of a row in the page, 0 to ``rows.count - 1``; a *wall place* is the place of a picture on the
wall. Names and messages are :func:`fvcli.report.names.readable`; numbers are unrounded. ``Packed`` values are base64
of little-endian numbers, which a browser reads as a typed array.
"""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

#: shown: there is a picture. gone: there is no file. changed: the file has other content than the vector was made
#: from. unreadable: it cannot be read or decoded now. left out: the page's bytes for pictures are used up. off:
#: pictures were not asked for.
PictureState: TypeAlias = Literal["shown", "gone", "changed", "unreadable", "left out", "off"]
Packed: TypeAlias = str


@dataclass(frozen=True, slots=True)
class Summary:
    """The dataset in a few words. ``folder`` is as named on the command line; times are ISO 8601, UTC.

    title: the source where there is one, else the dataset's name. passed_over: (kind, count) of files that are no
    input. bytes: of the data files. seconds and images_per_second: of the last run that extracted anything; None
    where no run did.
    """

    title: str
    folder: str
    rows: int
    discovered: int
    failed: int
    stale: int
    passed_over: tuple[tuple[str, int], ...]
    roots: tuple[str, ...]
    roots_left_out: int
    bytes: int
    shards: int
    format: str
    dtype: str
    dimension: int
    model: str
    license: str
    identity: str
    recipe: tuple[tuple[str, str], ...]
    environment: tuple[tuple[str, str], ...]
    extracted_at: str | None
    seconds: float | None
    images_per_second: float | None


@dataclass(frozen=True, slots=True)
class PastRun:
    """One run of ``extract``, from the manifest."""

    started: str
    seconds: float
    extracted: int
    reused: int
    failed: int
    rows: int


@dataclass(frozen=True, slots=True)
class RowTable:
    """The rows in the page, ascending by (root, path), one column per field.

    folders: folder names; runs: (index into folders, rows) for consecutive rows in one folder. names: base names.
    sizes: uint32 [count, 3], width and height in pixels and bytes. formats: names; format: uint8 [count], index into
    formats. exact: page row -> the path as it is, where ``folders`` and ``names`` show an escaped one; None for a name
    that is not UTF-8, whose bytes are in ``raw`` (base64).
    """

    count: int
    folders: tuple[str, ...]
    runs: tuple[tuple[int, int], ...]
    names: tuple[str, ...]
    sizes: Packed
    formats: tuple[str, ...]
    format: Packed
    exact: dict[int, str]
    raw: dict[int, str]


@dataclass(frozen=True, slots=True)
class Labels:
    """Class names the model gives. best: uint16 [rows, k], index into names, 65535 for none. scores: uint8, 0 to 1."""

    names: tuple[str, ...]
    k: int
    best: Packed
    scores: Packed


@dataclass(frozen=True, slots=True)
class Wall:
    """Pictures in a grid, similar ones next to each other.

    rows: uint32 [m], page rows. cells: uint16 [m], line * columns + column. all: whether every row is on the wall.
    sprite: data URI of one image that holds the m pictures as squares, ``across`` per line, ``side`` pixels each; ""
    without pictures. states: one per picture. previews: data URIs of larger pictures, "" where there is none.
    """

    rows: Packed
    cells: Packed
    columns: int
    lines: int
    all: bool
    sprite: str
    side: int
    across: int
    states: tuple[PictureState, ...]
    previews: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Extra:
    """A picture that is not on the wall but shown in a section."""

    row: int
    state: PictureState
    preview: str


@dataclass(frozen=True, slots=True)
class WallNeighbors:
    """For each page row the k wall places with the largest cosine, best first.

    places: uint16 [rows, k], 65535 for none. scores: uint16 [rows, k], cosine in steps of 1 / 32767 above -1.
    points: uint16 [rows, 2], where the row is on the map: x, and y downwards; 65535 is the longer side's end.
    aspect: height / width of what the points fill.
    """

    k: int
    places: Packed
    scores: Packed
    points: Packed
    aspect: float


@dataclass(frozen=True, slots=True)
class ColorGroup:
    """A folder, a cluster or a label: rows that share a color. count: of the page's rows."""

    name: str
    count: int


@dataclass(frozen=True, slots=True)
class Grouping:
    """A partition of the page's rows. of: uint8 [rows], index into kinds."""

    name: Literal["folder", "cluster", "label"]
    kinds: tuple[ColorGroup, ...]
    of: Packed


@dataclass(frozen=True, slots=True)
class Cluster:
    """One k-means cluster. typical: page rows of the pictures nearest its center. folder: where most of them are."""

    name: str
    count: int
    typical: tuple[int, ...]
    folder: str


@dataclass(frozen=True, slots=True)
class Link:
    """Two page rows with their cosine; of files with the same content it is 1."""

    a: int
    b: int
    score: float


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Near-duplicates as a forest: rows are in one group at a threshold if links at or above it connect them.

    threshold: where the page starts. lowest: what the search went down to. contents: (page row, number) where equal
    numbers mean equal bytes. left_out: rows of near-duplicates beyond the page's limit.
    """

    threshold: float
    lowest: float
    links: tuple[tuple[int, int, float], ...]
    contents: tuple[tuple[int, int], ...]
    left_out: int


@dataclass(frozen=True, slots=True)
class Odd:
    """A page row that stands out, and the figure that says how."""

    row: int
    value: float
    near: int | None = None


@dataclass(frozen=True, slots=True)
class Extremes:
    """Rows that stand out, the most extreme first.

    outliers: value is the cosine to the nearest row, ``near``. darkest: mean lightness, 0 to 1, of pictures on the
    wall. smallest: pixels. shapes: width / height.
    """

    outliers: tuple[Odd, ...]
    darkest: tuple[Odd, ...]
    smallest: tuple[Odd, ...]
    shapes: tuple[Odd, ...]


@dataclass(frozen=True, slots=True)
class FailedInput:
    name: str
    folder: str
    message: str


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Inputs that failed in the same way. ``inputs`` are the first of ``count``."""

    stage: str
    error: str
    count: int
    inputs: tuple[FailedInput, ...]


@dataclass(frozen=True, slots=True)
class Bar:
    label: str
    count: int


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts over adjacent intervals, or of kinds where there are no ``edges``.

    edges: what is written under the axis, (position 0 to 1, text).
    """

    title: str
    note: str
    bars: tuple[Bar, ...]
    edges: tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """The whole page. wall and nearest: None without rows. duplicates: None above ``duplicates_limit`` rows.

    failure_kinds: how many there are; ``failures`` holds the most frequent.
    """

    version: str
    made_at: str
    summary: Summary
    runs: tuple[PastRun, ...]
    rows: RowTable
    labels: Labels | None
    wall: Wall | None
    extras: tuple[Extra, ...]
    nearest: WallNeighbors | None
    groupings: tuple[Grouping, ...]
    clusters: tuple[Cluster, ...]
    duplicates: Duplicates | None
    duplicates_limit: int
    extremes: Extremes
    failures: tuple[FailureGroup, ...]
    failure_kinds: int
    histograms: tuple[Histogram, ...]

    def to_json(self) -> str:
        return embeddable(asdict(self))

    @property
    def states(self) -> tuple[PictureState, ...]:
        """The state of every picture in the page."""
        return (*(self.wall.states if self.wall else ()), *(extra.state for extra in self.extras))


def packed(values: NDArray[Any], dtype: str) -> Packed:
    """The values in C order as ``dtype`` ("u1", "u2" or "u4"), little-endian, in base64. Raises OverflowError."""
    limit = np.iinfo(np.dtype(dtype)).max
    if values.size and (int(values.min()) < 0 or int(values.max()) > limit):
        raise OverflowError(f"values from {values.min()} to {values.max()} do not fit {dtype}")
    return base64.b64encode(values.astype("<" + dtype).tobytes()).decode("ascii")


def embeddable(values: object) -> str:
    """JSON that may be placed inside a script element: no "<", ">" or "&", and no line separators of JavaScript."""
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text
