"""Histograms of the sizes, shapes and file formats of images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fvcli.dataset.reader import Dataset
from fvcli.report.facts import Bar, Histogram
from fvcli.text import in_bytes

Numbers = NDArray[np.float64]

_STEPS = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)  # of a decade; the bounds that people know
_FEWEST_BARS = 8
_OCTAVE_BARS = 8  # 4:3, 3:2 and 16:9 fall into bars of their own
_OCTAVES = 2
_FORMATS = 8


def histograms(dataset: Dataset) -> tuple[Histogram, ...]:
    """Longer side, aspect ratio, file size and format of all rows; none for a dataset without rows."""
    widths, heights, sizes = [], [], []
    formats: Counter[str] = Counter()
    for batch in dataset.batches(["size_bytes", "width", "height", "format"]):
        widths.append(batch.column("width").to_numpy())
        heights.append(batch.column("height").to_numpy())
        sizes.append(batch.column("size_bytes").to_numpy())
        formats.update(batch.column("format").to_pylist())
    if not formats:
        return ()
    width, height, size = (np.concatenate(parts).astype(np.float64) for parts in (widths, heights, sizes))
    width, height = np.maximum(width, 1.0), np.maximum(height, 1.0)
    return (
        _decades("Longer side", np.maximum(width, height), _pixels),
        _aspects(width, height),
        _decades("File size", np.maximum(size, 1.0), in_bytes),
        _kinds(formats),
    )


def _decades(title: str, values: Numbers, text: Callable[[float], str]) -> Histogram:
    edges = np.array([step * 10.0**decade for decade in range(13) for step in _STEPS])
    places = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    first, last = int(places.min()), int(places.max()) + 1
    while last - first < _FEWEST_BARS:  # a lone bar would not show its place
        first, last = max(0, first - 1), min(len(edges) - 1, last + 1)
    counts = np.bincount(places, minlength=len(edges))[first:last]
    bars = tuple(
        Bar(f"{text(low)} to {text(high)}", int(count))
        for low, high, count in zip(edges[first:last], edges[first + 1 : last + 1], counts, strict=True)
    )
    written = {10: (1.0, 2.0, 5.0), 20: (1.0, 3.0)}
    steps = next((steps for most, steps in written.items() if len(bars) <= most), (1.0,))
    marks = tuple(
        ((place - first) / len(bars), text(float(edges[place])))
        for place in range(first, last + 1)
        if _STEPS[place % len(_STEPS)] in steps
    )
    note = f"median {text(float(np.median(values)))}, {text(float(values.min()))} to {text(float(values.max()))}"
    return Histogram(title, note, bars, marks)


def _aspects(width: Numbers, height: Numbers) -> Histogram:
    most = _OCTAVES * _OCTAVE_BARS
    places = np.clip(np.rint(np.log2(width / height) * _OCTAVE_BARS), -most, most).astype(np.int64)
    reach = min(most, max(_OCTAVE_BARS, int(np.abs(places).max())) + 1)
    counts = np.bincount(places + reach, minlength=2 * reach + 1)
    bars = tuple(Bar(_aspect_label(place, most), int(counts[place + reach])) for place in range(-reach, reach + 1))

    def mark(across: int, down: int) -> tuple[float, str]:
        place = float(np.log2(across / down)) * _OCTAVE_BARS
        return (place + reach + 0.5) / len(bars), f"{across}:{down}"

    ratios = [(1, 2), (3, 4), (1, 1), (4, 3), (2, 1)] if reach < most else [(1, 4), (1, 2), (1, 1), (2, 1), (4, 1)]
    shapes = (("landscape", width > height), ("portrait", width < height), ("square", width == height))
    note = ", ".join(f"{int(which.sum()):,} {name}" for name, which in shapes if which.any())
    return Histogram("Width : height", note, bars, tuple(mark(*ratio) for ratio in ratios))


def _aspect_label(place: int, most: int) -> str:
    if abs(place) == most:
        limit = 2 ** ((most - 0.5) / _OCTAVE_BARS)
        return f"over {limit:.2f} : 1" if place > 0 else f"over 1 : {limit:.2f}"
    low, high = (2 ** ((place + half) / _OCTAVE_BARS) for half in (-0.5, 0.5))
    if place >= 0:
        return f"{low:.2f} to {high:.2f} : 1"
    return f"1 : {1 / low:.2f} to {1 / high:.2f}"


def _kinds(formats: Counter[str]) -> Histogram:
    common = formats.most_common()
    bars = [Bar(name, count) for name, count in common[:_FORMATS]]
    if rest := sum(count for _, count in common[_FORMATS:]):
        bars.append(Bar("others", rest))
    return Histogram("Format", f"{len(common)} kind{'s' if len(common) > 1 else ''} of file", tuple(bars), ())


def _pixels(value: float) -> str:
    return f"{value:,.0f} px"
