"""Equalization, the student's integers, its gradients and its optimizer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fvcli.models.mobilenet import graph
from fvcli.models.mobilenet.network import MobileNetV1, exactness
from tests.helpers.networks import plain_network, random_images

tf = pytest.importorskip("tensorflow")

from training import rounding  # noqa: E402
from training.half_gradients import half_gradients  # noqa: E402
from training.optimizer import Optimizer  # noqa: E402
from training.recipe import FLOAT  # noqa: E402
from training.student import Student, activation_maxima, equalized, features_of  # noqa: E402
from training.teacher import area_matrix  # noqa: E402

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


def error_of(network: MobileNetV1, expected: np.ndarray) -> float:
    """Of the quantized features, as a share of their size."""
    got = graph.features(Student(network).tensors(), IMAGES / np.float32(255)).numpy()
    return float(np.linalg.norm(got - expected) / np.linalg.norm(expected))


@pytest.mark.slow
def test_equalisation_keeps_the_function_and_helps_quantisation(uneven: MobileNetV1) -> None:
    expected = features_of(graph.network_arrays(uneven), IMAGES).numpy()
    even, factors = equalized(uneven, activation_maxima(uneven, IMAGES))

    got = features_of(graph.network_arrays(even), IMAGES).numpy()

    np.testing.assert_allclose(got, expected, rtol=0.02, atol=2e-3)
    assert expected.std() > 0.1
    assert any(np.ptp(values) > 1 for values in factors.values())
    assert (factors["Conv2d_13_pointwise"] == 1).all(), "features keep their scale"
    assert error_of(even, expected) < 0.8 * error_of(uneven, expected)


def test_no_weight_of_a_student_is_out_of_reach_of_int8(uneven: MobileNetV1) -> None:
    network = Student(uneven).network(128)
    assert all(report.exact == report.channels for report in exactness(network))
    assert {layer.weights.zero_point for layer in network.layers if layer.weights} == {128}


def test_the_student_in_training_is_the_network_it_becomes(uneven: MobileNetV1) -> None:
    student = Student(uneven)
    for gain in student.gains:
        gain.assign(gain * 1.07)
    shipped = student.network(128)
    before = shipped.input
    for tensors, layer in zip(student.tensors().layers, shipped.layers, strict=True):
        assert before is not None
        assert layer.weights is not None
        seen = graph.fake_quant(tensors.kernel, tensors.weights, narrow_range=True)
        # Except for ties between two codes, which FakeQuant may break the other way.
        assert np.count_nonzero(np.abs(seen - layer.kernel) > 1e-6) <= 1 + 1e-4 * layer.kernel.size
        half_a_code = 0.5001 * float(before.scale) * float(layer.weights.scale)
        np.testing.assert_allclose(layer.bias, tensors.bias, atol=half_a_code)
        before = layer.output


@pytest.mark.slow
def test_fitted_rounding_loses_less_than_plain_rounding(uneven: MobileNetV1, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("ROWS", 3000), ("DEPTHWISE_ROWS", 3000), ("FEW", 16)):
        monkeypatch.setattr(rounding, name, value)
    expected = features_of(graph.network_arrays(uneven), IMAGES).numpy()
    even, _ = equalized(uneven, activation_maxima(uneven, IMAGES))

    result = rounding.rounded(even, random_images(24, 128, seed=9), seed=1)

    fitted = Student(result.network, result.limits)
    got = features_of(fitted.tensors(), IMAGES).numpy()
    error = float(np.linalg.norm(got - expected) / np.linalg.norm(expected))
    assert error < 0.7 * error_of(even, expected), "images that it was not fitted on"
    for layer, shipped in zip(result.network.layers, fitted.network(128).layers, strict=True):
        steps = layer.kernel / (result.limits[layer.name] / 127)
        assert shipped.weights is not None
        np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)
        np.testing.assert_array_equal(shipped.weights.codes.astype(int) - 128, np.rint(steps))


def test_short_gradients_point_where_the_full_ones_do() -> None:
    generator = np.random.default_rng(0)
    kernel = tf.Variable(generator.normal(size=(1, 1, 32, 48)).astype(np.float32))
    images = tf.constant(generator.normal(size=(4, 10, 10, 32)).astype(np.float32))

    @tf.function
    def gradients() -> tuple[tf.Tensor, ...]:
        plain = tf.reduce_sum(tf.nn.relu(tf.nn.conv2d(images, kernel, 1, "SAME")) ** 2)
        with half_gradients():
            short = tf.reduce_sum(tf.nn.relu(tf.nn.conv2d(images, kernel, 1, "SAME")) ** 2)
        return (*tf.gradients(plain, [kernel, images]), *tf.gradients(short, [kernel, images]))

    full = [value.numpy().ravel() for value in gradients()]
    for one, two in zip(full[:2], full[2:], strict=True):
        assert not np.array_equal(one, two)
        assert one @ two / np.linalg.norm(one) / np.linalg.norm(two) > 0.9999


@pytest.mark.parametrize(("size", "stride"), [(10, 1), (10, 2), (9, 2)])
def test_gradients_of_depthwise_convolutions_are_exact(size: int, stride: int) -> None:
    generator = np.random.default_rng(0)
    kernel = tf.Variable(generator.normal(size=(3, 3, 8, 1)).astype(np.float32))
    images = tf.constant(generator.normal(size=(2, size, size, 8)).astype(np.float32))

    def loss() -> tf.Tensor:
        maps = tf.nn.depthwise_conv2d(images, kernel, [1, stride, stride, 1], "SAME")
        return tf.reduce_sum(tf.nn.relu(maps) ** 2)

    @tf.function
    def gradients() -> tuple[tf.Tensor, ...]:
        plain = loss()
        with half_gradients():
            turned = loss()
        return (*tf.gradients(plain, [kernel, images]), *tf.gradients(turned, [kernel, images]))

    full = [value.numpy() for value in gradients()]
    for one, two in zip(full[:2], full[2:], strict=True):
        np.testing.assert_allclose(one, two, atol=1e-4, rtol=1e-5)


def test_the_optimiser_steps_pulls_and_averages() -> None:
    variable = tf.Variable([1.0, -2.0])
    optimizer = Optimizer([variable], pull=0.1, average=0.5)
    optimizer.apply([tf.constant([3.0, -0.5])], [0.01], tf.constant(1.0))
    # Adam's first step is the rate in the direction of the gradient's sign, and nothing yet pulls back.
    np.testing.assert_allclose(variable, [0.99, -1.99], rtol=1e-5)
    optimizer.apply([tf.constant([0.0, 0.0])], [0.0], tf.constant(1.0))
    np.testing.assert_allclose(variable, [0.991, -1.991], rtol=1e-5)
    (average,) = optimizer.averages
    assert 0.99 < float(average[0]) < 1.0


def test_the_level_of_the_schedule_does_not_depend_on_its_length() -> None:
    short, long = replace(FLOAT, rounds=20), replace(FLOAT, rounds=50)
    level = list(range(0, int(20 * (1 - FLOAT.decay)) * short.steps_a_round, 37))
    assert [short.schedule(step) for step in level] == [long.schedule(step) for step in level]
    assert short.schedule(0) < 0.02
    assert short.schedule(short.rounds * short.steps_a_round - 1) == pytest.approx(0.01, abs=0.001)


@pytest.mark.parametrize(("source", "target"), [(14, 10), (18, 10), (7, 5), (9, 5)])
def test_resampling_a_map_keeps_its_mean(source: int, target: int) -> None:
    matrix = area_matrix(source, target)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(matrix.mean(axis=0), 1 / source, rtol=1e-6)
