"""Sizes, shapes and kinds of files, counted."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from fvcli.report.histograms import histograms


class Columns:
    def __init__(self, sizes: list[tuple[int, int, int, str]]) -> None:
        names = ("width", "height", "size_bytes", "format")
        self.batch = pa.RecordBatch.from_pydict(dict(zip(names, map(list, zip(*sizes, strict=True)), strict=True)))

    def batches(self, _: list[str]) -> Iterator[pa.RecordBatch]:
        yield self.batch.slice(0, 2)
        yield self.batch.slice(2)


def test_histograms_count_every_row_once() -> None:
    sizes = [
        (500, 375, 10_000, "JPEG"),
        (375, 500, 999, "JPEG"),
        (1, 100_000, 1, "PNG"),
        (4000, 4000, 3_000_000, "JPEG"),
    ]
    side, aspect, size, format = histograms(Columns(sizes))  # type: ignore[arg-type]
    for chart in (side, aspect, size, format):
        assert sum(bar.count for bar in chart.bars) == 4
    assert {bar.label: bar.count for bar in side.bars if bar.count} == {
        "500 px to 700 px": 2,
        "3,000 px to 5,000 px": 1,
        "100,000 px to 150,000 px": 1,
    }
    assert {bar.label: bar.count for bar in format.bars} == {"JPEG": 3, "PNG": 1}
    assert aspect.note == "1 landscape, 2 portrait, 1 square"
    assert aspect.bars[0].count == 1  # the strip, beyond the last ratio
    assert aspect.bars[len(aspect.bars) // 2].count == 1
    for chart in (side, aspect, size):
        assert all(0 <= place <= 1 for place, _ in chart.edges)
        assert len(chart.edges) >= 3
