"""Kernels resampled for a smaller input, and how their reach is found."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.networks import plain_network

pytest.importorskip("tensorflow")

from training.reach import found, resampled, resampling

NAME = "Conv2d_7_depthwise"


def test_a_kernel_of_full_reach_is_itself() -> None:
    network = plain_network()
    for before, after in zip(network.layers, resampled(network, {NAME: 1.0}).layers, strict=True):
        np.testing.assert_array_equal(before.kernel, after.kernel)


def test_a_kernel_reads_the_map_between_its_cells() -> None:
    # On a plane, a + b x + c y, linear interpolation is exact: the outer taps then see what lies at their reach.
    network, reach = plain_network(), 0.7
    index = [layer.name for layer in network.layers].index(NAME)
    before = network.layers[index].kernel[..., 0].astype(np.float64)
    after = resampled(network, {NAME: reach}).layers[index].kernel[..., 0].astype(np.float64)
    x, y = np.meshgrid((-1, 0, 1), (-1, 0, 1))
    wanted = np.einsum("xyc,xy->c", before, 2 + 3 * reach * x - reach * y)
    np.testing.assert_allclose(np.einsum("xyc,xy->c", after, 2 + 3 * x - y), wanted, rtol=1e-5, atol=1e-6)


def test_resampling_keeps_the_sum_of_the_taps() -> None:
    np.testing.assert_allclose(resampling(0.35).sum(axis=0), 1)


def test_the_least_loss_is_found_from_both_sides(capsys: pytest.CaptureFixture[str]) -> None:
    wanted = {"first": 0.65, "second": 1.2}

    def loss(values: dict[str, float]) -> float:
        return sum((values[name] - wanted[name]) ** 2 for name in wanted)

    assert found(loss, list(wanted), (0.1, 0.05)) == pytest.approx(wanted)
