"""The resize kernels against their formulas, and the same bytes on every kind of CPU."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from fvcli.images import fit as scaling
from fvcli.images.fit import Box, scale, tf1_bilinear, with_pillow, with_vectors
from fvcli.records import Resize, UInt8Array

KERNELS: tuple[Resize, ...] = ("area", "bilinear", "bicubic", "lanczos")
CASES: list[tuple[tuple[int, int], Box, tuple[int, int]]] = [
    ((188, 250), (0, 0, 250, 187.5), (160, 160)),
    ((188, 250), (43.125, 11.71875, 207.0, 175.78), (160, 160)),
    ((378, 504), (0, 0, 504, 378), (160, 160)),
    ((90, 61), (0.0, 0.25, 60.5, 90), (224, 192)),
    ((1500, 37), (0, 0, 37, 1500), (4, 160)),
    ((160, 160), (0, 0, 160, 160), (160, 160)),
]


def picture(shape: tuple[int, int], channels: int = 3) -> UInt8Array:
    """Waves with noise over them, from black to white."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]]
    waves = 128 + 110 * np.sin(x[..., None] / 19 + y[..., None] / (11 + np.arange(channels)))
    noise = np.random.default_rng(1).normal(0, 30, (*shape, channels))
    pixels = np.clip(waves + noise, 0, 255).astype(np.uint8)
    return pixels if channels == 3 else pixels[:, :, 0]


def box_kernel(x: float) -> float:
    return 1.0 if -0.5 < x <= 0.5 else 0.0


def bilinear(x: float) -> float:
    return max(0.0, 1.0 - abs(x))


def bicubic(x: float) -> float:
    """Keys 1981 with a = -1/2."""
    x = abs(x)
    if x < 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def lanczos(x: float) -> float:
    def sinc(value: float) -> float:
        return 1.0 if value == 0 else math.sin(math.pi * value) / (math.pi * value)

    return sinc(x) * sinc(x / 3) if abs(x) < 3 else 0.0


FORMULAS: dict[str, tuple[Callable[[float], float], float]] = {
    "area": (box_kernel, 0.5),
    "bilinear": (bilinear, 1.0),
    "bicubic": (bicubic, 2.0),
    "lanczos": (lanczos, 3.0),
}


def weights(size: int, low: float, high: float, wanted: int, resize: Resize) -> NDArray[np.float64]:
    """[wanted, size]: what each pixel of a line gives to each of the scaled line."""
    kernel, support = FORMULAS[resize]
    step = (high - low) / wanted
    wide = max(step, 1.0)
    matrix = np.zeros((wanted, size))
    for number in range(wanted):
        center = low + (number + 0.5) * step
        for pixel in range(max(0, math.floor(center - support * wide)), min(size, math.ceil(center + support * wide))):
            matrix[number, pixel] = kernel((pixel + 0.5 - center) / wide)
    result: NDArray[np.float64] = matrix / matrix.sum(axis=1, keepdims=True)
    return result


def by_formula(pixels: UInt8Array, box: Box, resize: Resize, shape: tuple[int, int]) -> NDArray[np.float64]:
    down = weights(pixels.shape[0], box[1], box[3], shape[0], resize)
    along = weights(pixels.shape[1], box[0], box[2], shape[1], resize)
    exact = np.clip(np.einsum("yY,YXc->yXc", down, pixels.astype(float)), 0, 255)
    return np.clip(np.einsum("xX,yXc->yxc", along, exact), 0, 255)


def scaled(pixels: UInt8Array, box: Box, resize: Resize, shape: tuple[int, int]) -> UInt8Array:
    out = np.full((*shape, 3), 77, np.uint8)
    scale(pixels, box, resize, out)
    return out


@pytest.mark.slow
@pytest.mark.parametrize("resize", KERNELS)
@pytest.mark.parametrize(("shape", "box", "wanted"), CASES)
def test_kernels_are_their_formulas(resize: Resize, shape: tuple[int, int], box: Box, wanted: tuple[int, int]) -> None:
    pytest.importorskip("cykooz_resizer")
    pixels = picture(shape)
    difference = np.abs(scaled(pixels, box, resize, wanted) - by_formula(pixels, box, resize, wanted))
    assert difference.max() < 1.5  # rounded twice
    assert difference.mean() < 0.35


@pytest.fixture(params=["with the vector library", "without"])
def any_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "without":
        monkeypatch.setattr(scaling, "vectors", None)
    elif scaling.vectors is None:
        pytest.skip("no build of the vector library for this machine")


@pytest.mark.parametrize("resize", KERNELS)
@pytest.mark.parametrize("value", [0, 1, 127, 254, 255])
def test_one_colour_stays_that_colour(resize: Resize, value: int, any_way: None) -> None:
    for shape, box, wanted in CASES:
        assert (scaled(np.full((*shape, 3), value, np.uint8), box, resize, wanted) == value).all()


@pytest.mark.parametrize("resize", KERNELS)
def test_the_same_bytes_with_and_without_vector_instructions(resize: Resize, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = pytest.importorskip("cykooz_resizer")
    new = vectors.Resizer
    best = new().cpu_extensions
    for shape, box, wanted in CASES:
        for channels in (3, 1):
            pixels = picture(shape, channels)
            results = set()
            for name in ("none", "sse4_1", "avx2", "neon"):

                def limited(name: str = name) -> object:
                    resizer = new()
                    resizer.cpu_extensions = vectors.CpuExtensions[name]
                    return resizer

                if name == "none" or (name == "neon") == (best.name == "neon"):
                    with monkeypatch.context() as patch:
                        patch.setattr(vectors, "Resizer", limited)
                        results.add(with_vectors(pixels, box, resize, wanted[::-1]).tobytes())
            assert len(results) == 1


@pytest.mark.parametrize(("resize", "most", "mean"), [("bilinear", 2, 0.3), ("bicubic", 12, 0.4), ("lanczos", 20, 0.6)])
def test_pillow_where_the_library_is_missing_is_near(resize: Resize, most: int, mean: float) -> None:
    """Pillow leaves out the last bit of a kernel's tails, which bilinear's are too small to show."""
    pytest.importorskip("cykooz_resizer")
    for shape, box, wanted in CASES:
        for pixels in (picture(shape), picture(shape, 1)):
            here, there = (way(pixels, box, resize, wanted[::-1]).astype(int) for way in (with_vectors, with_pillow))
            assert here.shape == there.shape
            assert np.abs(here - there).max() <= most
            assert np.abs(here - there).mean() < mean


def test_a_box_may_miss_the_edges_by_rounding(any_way: None) -> None:
    pixels = picture((97, 131))
    inside = scaled(pixels, (0, 0, 131, 97), "bilinear", (160, 160))
    for past in (131 + 1e-13, 131 - 1e-13):
        out = np.empty((160, 160, 3), np.uint8)
        scale(pixels, (-1e-14, 0.0, past, 97.0), "bilinear", out)
        assert np.abs(out.astype(int) - inside).max() <= 1


def test_a_very_long_side_keeps_its_mean() -> None:
    line = np.full(40_000, 101, np.uint8)
    line[::7] = 100  # the mean of seven is 100.86
    for pixels in (line[None, :, None].repeat(3, 2), line[:, None, None].repeat(3, 2)):
        height, width, _ = pixels.shape
        assert (scaled(pixels, (0, 0, width, height), "area", (160, 160)) == 101).all()


def test_tf1_bilinear_finds_its_positions_in_single_precision_as_tensorflow_does() -> None:
    """Some of the results of TensorFlow 2.21 for a line of 0 and 255 in turns, with the exact ones beside them."""
    for size, place, tensorflows, exact in ((161, 129, 49.403915, 49.40625), (9973, 133, 14.194336, 14.34375)):
        line = np.resize(np.array([0, 255], np.uint8), size)
        value = tf1_bilinear(line[None], 1, 160)[0, place]
        assert abs(value - tensorflows) < 1e-4 < abs(value - exact)
