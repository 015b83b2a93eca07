"""Where training begins."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fvcli.models.mobilenet import graph
from tests.helpers.networks import random_images

torch = pytest.importorskip("torch")
pytest.importorskip("tensorflow")

from tests.helpers.answers import SMALL, small_network  # noqa: E402
from training import crops, start, work  # noqa: E402
from training.float_network import HINT  # noqa: E402
from training.reach import SEARCHED, resampled  # noqa: E402
from training.work import Places  # noqa: E402

REACHES = {"Conv2d_12_depthwise": 0.7}


@pytest.mark.slow
def test_it_begins_at_the_equalized_teacher_and_does_so_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = random_images(6, 160)
    drawn: list[tuple[int, ...]] = []

    def draw(album: object, count: int, seed: tuple[int, ...], drawing: object) -> crops.Pair:
        drawn.append(seed)
        return crops.Pair(images, {})

    monkeypatch.setattr(crops, "draw", draw)
    places = Places(*[tmp_path] * 5)
    (tmp_path / work.REACH).write_text(json.dumps(REACHES))

    first, again = (start.start_of(small_network(), SMALL, places) for _ in range(2))

    assert drawn == [(SMALL.seed, start.VIEWS)], "no seed of a chunk, and only once"
    for one, two in zip(first.network.layers, again.network.layers, strict=True):
        np.testing.assert_array_equal(one.kernel, two.kernel)
    np.testing.assert_array_equal(first.factors, again.factors)
    assert first.network.logits is not None

    scaled = graph.endpoints(graph.network_arrays(first.network), images / np.float32(255))
    plain = graph.endpoints(graph.network_arrays(resampled(small_network(), REACHES)), images / np.float32(255))
    last = "Conv2d_13_pointwise"
    np.testing.assert_allclose(scaled[last], plain[last], atol=0.01)
    assert np.ptp(first.factors) > 0.1
    np.testing.assert_allclose(scaled[HINT] / first.factors, plain[HINT], atol=0.01)
    other = graph.endpoints(graph.network_arrays(small_network()), images / np.float32(255))
    assert np.abs(other[last].numpy() - plain[last].numpy()).max() > 0.1, "the reach of kernels matters"


def test_reaches_are_found_only_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[int] = []

    class Nearness:
        def __init__(self, *_: object) -> None:
            pass

        def divergence(self, reaches: object) -> float:
            found.append(1)
            return 1.0

    monkeypatch.setattr(start, "Nearness", Nearness)
    places = Places(*[tmp_path] * 5)
    first = start.found_reaches(small_network(), places)
    times = len(found)
    assert times > 0
    assert start.found_reaches(small_network(), places) == first == dict.fromkeys(SEARCHED, 1.0)
    assert len(found) == times
