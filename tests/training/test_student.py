"""Equalization, the simulation of 8 bits, the integers of the student, and fitted rounding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fvcli.models.mobilenet import graph
from fvcli.models.mobilenet.graph import NetworkTensors
from fvcli.models.mobilenet.network import MobileNetV1, exactness
from fvcli.records import Float32Array
from tests.helpers.networks import plain_network, random_images

pytest.importorskip("tensorflow")

from training import rounding
from training.student import activation_maxima, equalized, fake_quantized, quantized

IMAGES = random_images(8, 128)


@pytest.fixture(scope="module")
def uneven() -> MobileNetV1:
    """A float network with channels that are small before the ReLU and large behind it, and some that never wake."""
    network = plain_network()
    generator = np.random.default_rng(4)
    layers = []
    before = np.ones(3, np.float32)
    for layer in network.layers:
        # What a channel gives is scaled down, and what takes it up again: the function stays.
        scales = np.exp(-generator.uniform(0, 4, layer.bias.size)).astype(np.float32)
        if layer is network.layers[-1]:
            scales[:] = 1
        depthwise = layer.name.endswith("_depthwise")
        kernel = layer.kernel / before[:, None] * (scales[:, None] if depthwise else scales)
        bias = 0.3 * layer.bias * scales
        bias[:2] = -50
        layers.append(replace(layer, kernel=kernel, bias=bias.astype(np.float32)))
        before = scales
    return replace(network, layers=tuple(layers))


def largest(network: MobileNetV1) -> dict[str, float]:
    """The limits of plain rounding: each grid goes to the largest weight."""
    return {layer.name: float(np.abs(layer.kernel).max()) for layer in network.layers}


def features_of(tensors: NetworkTensors) -> Float32Array:
    result: Float32Array = graph.features(tensors, IMAGES / np.float32(255)).numpy()
    return result


def error_of(network: MobileNetV1, limits: dict[str, float], expected: Float32Array) -> float:
    """Of the features at 8 bits, as a share of their size."""
    got = features_of(fake_quantized(network, limits))
    return float(np.linalg.norm(got - expected) / np.linalg.norm(expected))


@pytest.mark.slow
def test_equalization_keeps_the_function_and_helps_quantization(uneven: MobileNetV1) -> None:
    expected = features_of(graph.network_arrays(uneven))
    even, factors = equalized(uneven, activation_maxima(uneven, IMAGES))

    got = features_of(graph.network_arrays(even))

    np.testing.assert_allclose(got, expected, rtol=0.02, atol=2e-3)
    assert expected.std() > 0.1
    assert any(np.ptp(values) > 1 for values in factors.values())
    assert (factors["Conv2d_13_pointwise"] == 1).all(), "features keep their scale"
    assert error_of(even, largest(even), expected) < 0.8 * error_of(uneven, largest(uneven), expected)


def test_no_weight_of_a_student_is_out_of_reach_of_int8(uneven: MobileNetV1) -> None:
    network = quantized(uneven, largest(uneven), 128)
    assert all(report.exact == report.channels for report in exactness(network))
    assert {layer.weights.zero_point for layer in network.layers if layer.weights} == {128}


def test_what_is_simulated_is_the_network_of_integers(uneven: MobileNetV1) -> None:
    limits = {name: 0.8 * limit for name, limit in largest(uneven).items()}  # some weights lie beyond the grid
    shipped = quantized(uneven, limits, 128)
    before = shipped.input
    for tensors, layer in zip(fake_quantized(uneven, limits).layers, shipped.layers, strict=True):
        assert before is not None
        assert layer.weights is not None
        seen = graph.fake_quant(tensors.kernel, tensors.weights, narrow_range=True)
        # Except for ties between two codes, which FakeQuant may break the other way.
        assert np.count_nonzero(np.abs(seen - layer.kernel) > 1e-6) <= 1 + 1e-4 * layer.kernel.size
        assert np.abs(layer.kernel).max() < np.abs(tensors.kernel).max()
        half_a_code = 0.5001 * float(before.scale) * float(layer.weights.scale)
        np.testing.assert_allclose(layer.bias, tensors.bias, atol=half_a_code)
        before = layer.output


@pytest.mark.slow
def test_fitted_rounding_loses_less_than_plain_rounding(uneven: MobileNetV1, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("ROWS", 3000), ("DEPTHWISE_ROWS", 3000), ("FEW", 16)):
        monkeypatch.setattr(rounding, name, value)
    expected = features_of(graph.network_arrays(uneven))
    even, _ = equalized(uneven, activation_maxima(uneven, IMAGES))

    result = rounding.rounded(even, random_images(24, 128, seed=9), seed=1)  # other images than those of the error

    assert error_of(result.network, result.limits, expected) < 0.7 * error_of(even, largest(even), expected)
    integers = quantized(result.network, result.limits, 128)
    for layer, shipped in zip(result.network.layers, integers.layers, strict=True):
        steps = layer.kernel / (result.limits[layer.name] / 127)
        assert shipped.weights is not None
        np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)
        np.testing.assert_array_equal(shipped.weights.codes.astype(int) - 128, np.rint(steps))
