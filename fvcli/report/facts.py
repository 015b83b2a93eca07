"""All that the page shows, as plain values: what ``facts.json`` inside the page holds.

Names and messages are :func:`fvcli.report.names.readable`; numbers are unrounded. ``items`` holds every row that the
page names, once; everything else points into it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

#: shown: there is a picture. gone: no file any more. changed: the file has other content than the vector was made
#: from. unreadable: it cannot be read or decoded now. left out: the page's share of bytes for pictures is used up.
#: off: pictures were not asked for.
PictureState: TypeAlias = Literal["shown", "gone", "changed", "unreadable", "left out", "off"]


@dataclass(frozen=True, slots=True)
class Summary:
    """The dataset in a few words. ``folder`` is as named on the command line; times are ISO 8601, UTC.

    seconds and images_per_second: of the last run that extracted anything; None where no run did.
    bytes: of the data files. passed_over: what the last run's search left aside, as (kind, count).
    """

    name: str
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
    licence: str
    identity: str
    recipe: tuple[tuple[str, str], ...]
    environment: tuple[tuple[str, str], ...]
    extracted_at: str | None
    seconds: float | None
    images_per_second: float | None


@dataclass(frozen=True, slots=True)
class Run:
    """One run of ``extract``, from the manifest."""

    started: str
    seconds: float
    extracted: int
    reused: int
    failed: int
    rows: int


@dataclass(frozen=True, slots=True)
class Item:
    """A row that the page names. picture: a data URI, "" unless ``state`` is "shown". folder: its root."""

    name: str
    folder: str
    odd_name: bool
    width: int
    height: int
    bytes: int
    format: str
    state: PictureState
    picture: str


@dataclass(frozen=True, slots=True)
class Map:
    """Where the vectors lie on their two principal components.

    points: base64 of little-endian uint16 pairs (x, y), 65535 the longer side's end, y upwards; one for each row drawn.
    aspect: height / width of what the points fill. explained: share of the variance on each axis, 0 to 1.
    named: (number of the point, index into items) for points that can be pointed at.
    """

    rows: int
    drawn: int
    points: str
    aspect: float
    explained: tuple[float, float]
    named: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Neighbour:
    item: int
    score: float


@dataclass(frozen=True, slots=True)
class NeighbourRow:
    """A row of the random sample and the rows nearest to it, best first."""

    item: int
    neighbours: tuple[Neighbour, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that are nearly the same. size: of the whole group, of which the first are shown.

    lowest: the lowest cosine of any of them to the first. identical: whether all files hold the same bytes.
    """

    items: tuple[int, ...]
    size: int
    lowest: float
    identical: bool


@dataclass(frozen=True, slots=True)
class Duplicates:
    """groups: the first of ``found`` groups, which hold ``rows`` rows in all. threshold: a pair's lowest cosine."""

    threshold: float
    found: int
    rows: int
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class FailedInput:
    name: str
    folder: str
    message: str


@dataclass(frozen=True, slots=True)
class FailureKind:
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
    """Counts over neighbouring intervals, or of kinds where there are no ``edges``.

    edges: what is written under the axis, (position 0 to 1, text).
    """

    title: str
    note: str
    bars: tuple[Bar, ...]
    edges: tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything. duplicates: None where there were too many rows to compare, more than ``duplicates_limit``.

    failure_kinds: how many there are; ``failures`` holds the most frequent.
    """

    version: str
    made_at: str
    seed: int
    summary: Summary
    runs: tuple[Run, ...]
    map: Map | None
    neighbours: tuple[NeighbourRow, ...]
    duplicates: Duplicates | None
    duplicates_limit: int
    failures: tuple[FailureKind, ...]
    failure_kinds: int
    histograms: tuple[Histogram, ...]
    items: tuple[Item, ...]

    def to_json(self) -> str:
        return embeddable(asdict(self))


def embeddable(values: object) -> str:
    """JSON that may stand inside a script element: no "<", ">" or "&", and no line separators of JavaScript."""
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def missing(items: Sequence[Item]) -> dict[PictureState, int]:
    """How many items have no picture, for each reason there is."""
    counts: dict[PictureState, int] = {}
    for item in items:
        if item.state != "shown":
            counts[item.state] = counts.get(item.state, 0) + 1
    return counts
