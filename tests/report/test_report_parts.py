"""Names, the projection, histograms and pictures, each on its own."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from fvcli.records import ImageRef
from fvcli.report.histograms import histograms, in_bytes
from fvcli.report.names import readable
from fvcli.report.pictures import Wanted, pictures
from fvcli.report.projection import project, quantised, spread_out


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a b.jpg", "a b.jpg"),
        ("née 写真 🌼 👩‍🔬.jpg", "née 写真 🌼 👩‍🔬.jpg"),
        ("line\nbreak\x00\x1b[31m", "line\\x0abreak\\x00\\x1b[31m"),
        ("turned\u202egpj", "turned\\u202egpj"),
        ("lone\udcff", "lone\\udcff"),
        ("wide\u3000space\u00a0", "wide\\u3000space\\xa0"),
    ],
)
def test_names_hide_nothing(name: str, shown: str) -> None:
    assert readable(name) == shown


@pytest.mark.parametrize("name", ["x" * 161, "\n" * 100, "🌼" * 5000])
def test_long_names_lose_their_middle(name: str) -> None:
    shown = readable("begin" + name + "end")
    assert len(shown) == 160
    assert shown.startswith("begin")
    assert shown.endswith("end")
    assert "…" in shown


class Vectors:
    """Vectors in blocks of 7, as a dataset gives them."""

    def __init__(self, vectors: np.ndarray) -> None:
        self.all = vectors.astype(np.float32)
        self.dimension = vectors.shape[1]

    def vector_blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        for start in range(0, len(self.all), 7):
            yield start, self.all[start : start + 7]


@pytest.mark.parametrize("dimension", [12, 200], ids=["more rows than numbers", "fewer"])
def test_projection_is_the_principal_components_of_the_chosen_rows(dimension: int) -> None:
    generator = np.random.default_rng(3)
    vectors = np.abs(generator.normal(2, 1, (100, dimension)) * np.linspace(3, 0.1, dimension)) + 1
    rows = np.sort(generator.choice(100, 60, replace=False))
    found = project(Vectors(vectors), rows)  # type: ignore[arg-type]
    units = vectors[rows] / np.linalg.norm(vectors[rows], axis=1, keepdims=True)
    left, values, _ = np.linalg.svd(units - units.mean(0), full_matrices=False)
    expected = (left * values)[:, :2]
    signs = np.sign((found.xy * expected).sum(0))
    np.testing.assert_allclose(found.xy * signs, expected, atol=1e-5)
    np.testing.assert_allclose(found.explained, (values**2 / (values**2).sum())[:2], rtol=1e-4)


@pytest.mark.parametrize(
    "vectors",
    [
        np.zeros((3, 4)),
        np.ones((5, 1)),
        np.array([[1.0, 2.0, 3.0]]),
        np.array([[np.nan, np.inf, 1.0], [1.0, 0.0, 0.0]]),
    ],
    ids=["zeros", "one dimension", "one row", "not finite"],
)
def test_projection_of_odd_vectors_is_finite(vectors: np.ndarray) -> None:
    found = project(Vectors(vectors), np.arange(len(vectors)))  # type: ignore[arg-type]
    assert found.xy.shape == (len(vectors), 2)
    assert np.isfinite(found.xy).all()
    points, aspect = quantised(found.xy)
    assert points.shape == (len(vectors), 2)
    assert np.isfinite(aspect)


def test_quantised_points_keep_their_shape() -> None:
    points, aspect = quantised(np.array([[-2.0, 0.0], [2.0, 1.0], [0.0, 0.5]], np.float32))
    assert aspect == pytest.approx(0.25)
    assert points.tolist() == [[0, 0], [65535, 16384], [32768, 8192]]


def test_every_inhabited_part_gets_a_point_before_any_gets_two() -> None:
    generator = np.random.default_rng(0)
    crowd = generator.normal(0, 0.001, (5000, 2))
    loners = np.array([[1, 1], [-1, 1], [0.5, -1], [0.9, 0.1]])
    xy = np.concatenate([crowd, loners]).astype(np.float32)
    chosen = spread_out(xy, 30, seed=0)
    assert len(set(chosen.tolist())) == 30
    assert {5000, 5001, 5002, 5003} <= set(chosen.tolist())
    assert sorted(spread_out(xy, 10**6, seed=0).tolist()) == list(range(len(xy)))


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


def test_sizes_are_told_in_decimal_units() -> None:
    assert [in_bytes(value) for value in (0, 999, 1000, 1_234_567, 999_600)] == [
        "0 B",
        "999 B",
        "1 kB",
        "1.23 MB",
        "1 MB",
    ]


def wanted(path: Path, side: int = 100, sha: str | None = None) -> Wanted:
    content = sha or sha256(path.read_bytes()).hexdigest()
    return Wanted(ImageRef("", os.fspath(path)), content, side)


def opened(uri: str) -> Image.Image:
    kind, _, data = uri.partition(";base64,")
    assert kind == "data:image/webp"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_pictures_are_small_upright_and_of_the_right_colour(sample_images: Path) -> None:
    names = ["cat-exif-6.jpg", "cat.jpg", "coffee-cmyk.jpg", "camera-16-bit.png", "rocket-animated.gif", "cat.avif"]
    found = list(pictures([wanted(sample_images / name, 80) for name in names], 10**6, 2))
    assert [picture.state for picture in found] == ["shown"] * len(names)
    for picture in found:
        assert max(opened(picture.uri).size) == 80
    turned, plain = (np.asarray(opened(picture.uri).convert("RGB").resize((64, 64)), float) for picture in found[:2])
    assert np.abs(turned - plain).mean() < 12


def test_small_images_are_not_enlarged(tmp_path: Path) -> None:
    Image.new("RGB", (7, 3), "red").save(tmp_path / "a.png")
    Image.new("RGB", (5000, 1), "red").save(tmp_path / "b.png")
    found = list(pictures([wanted(tmp_path / "a.png"), wanted(tmp_path / "b.png")], 10**6, 1))
    assert [opened(picture.uri).size for picture in found] == [(7, 3), (100, 1)]


def test_files_gone_changed_or_damaged_are_said_to_be(sample_images: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    cases = [
        wanted(tmp_path / "gone.jpg", sha="0" * 64),
        wanted(sample_images / "cat.jpg", sha="0" * 64),
        wanted(sample_images / "broken-on-purpose.jpg"),
        wanted(tmp_path / "pipe.jpg", sha="0" * 64),
        wanted(tmp_path / "a\0b.jpg", sha="0" * 64),
    ]
    assert [picture.state for picture in pictures(cases, 10**6, 2)] == [
        "gone",
        "changed",
        "unreadable",
        "unreadable",
        "gone",
    ]


def test_all_pictures_together_keep_to_the_budget(sample_images: Path) -> None:
    one = wanted(sample_images / "cat.jpg")
    size = len(next(pictures([one], 10**6, 1)).uri)
    told = []
    found = list(pictures([one] * 200, 3 * size + 5, 2, seen=lambda: told.append(1)))
    assert [picture.state for picture in found] == ["shown"] * 3 + ["left out"] * 197
    assert not any(picture.uri for picture in found[3:])
    assert len(told) == 200
