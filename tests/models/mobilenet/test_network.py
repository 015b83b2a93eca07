"""Folding, quantizing and identity against TensorFlow's own kernels."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fvcli.errors import ModelError
from fvcli.models.mobilenet.network import (
    ACTIVATION_CODES,
    WEIGHT_CODES,
    ActivationRange,
    BatchNorm,
    Layer,
    MobileNetV1,
    QuantizedTensor,
    exactness,
    fold_batch_norm,
    nudged_range,
    pixel_table,
    quantize,
    quantize_bias,
    quantized_layer,
    range_limits,
)
from fvcli.records import InputSpec

RANGES = [(-1.0, 1.0), (-0.3, 2.1), (0.0, 6.0), (-4.0, 0.0), (-0.0517, 0.0498), (-1.0005, 1.0005), (-33.7, 12.9)]


@pytest.mark.parametrize(("low", "high"), RANGES)
@pytest.mark.parametrize("codes", [WEIGHT_CODES, ACTIVATION_CODES])
def test_codes_mean_exactly_what_tensorflows_fake_quant_gives(low: float, high: float, codes: tuple[int, int]) -> None:
    tf = pytest.importorskip("tensorflow")
    values = np.random.default_rng(7).uniform(low * 1.2 - 0.1, high * 1.2 + 0.1, 20_000).astype(np.float32)
    expected = tf.quantization.fake_quant_with_min_max_vars(
        values, np.float32(low), np.float32(high), num_bits=8, narrow_range=codes == WEIGHT_CODES
    ).numpy()

    tensor = quantize(values, low, high, codes)

    assert tensor.codes.min() == codes[0]
    assert tensor.codes.max() == codes[1]
    np.testing.assert_array_equal(tensor.dequantize(), expected)


@pytest.mark.parametrize("codes", [WEIGHT_CODES, ACTIVATION_CODES])
def test_a_scale_and_zero_point_survive_the_way_through_a_range(codes: tuple[int, int]) -> None:
    generator = np.random.default_rng(3)
    exact = 0
    for _ in range(400):
        scale = np.float32(10 ** generator.uniform(-4, 0))
        zero_point = int(generator.integers(codes[0], codes[1] + 1))
        back = nudged_range(*range_limits(scale, zero_point, codes), codes)
        assert back.zero_point == zero_point
        assert abs(back.scale - scale) <= np.spacing(scale)
        again = nudged_range(*range_limits(back.scale, zero_point, codes), codes)
        assert again == back, "what one trip gives, the next one keeps"
        exact += bool(back.scale == scale)
    assert exact >= 390


@pytest.mark.parametrize(("low", "high"), [(0.5, 1.0), (1.0, -1.0), (0.0, 0.0), (float("nan"), 1.0)])
def test_a_range_without_zero_is_refused(low: float, high: float) -> None:
    with pytest.raises(ModelError, match="does not hold zero"):
        nudged_range(low, high, WEIGHT_CODES)


@pytest.mark.parametrize("depthwise", [False, True])
def test_a_folded_convolution_equals_convolution_then_batch_norm(depthwise: bool) -> None:
    tf = pytest.importorskip("tensorflow")
    generator = np.random.default_rng(1)
    kernel = generator.normal(size=(3, 3, 8, 1 if depthwise else 5)).astype(np.float32)
    channels = 8 if depthwise else 5
    norm = BatchNorm(
        beta=generator.normal(size=channels).astype(np.float32),
        mean=generator.normal(size=channels).astype(np.float32),
        variance=generator.uniform(0.01, 2, size=channels).astype(np.float32),
        gamma=generator.uniform(0.5, 2, size=channels).astype(np.float32),
    )
    image = generator.normal(size=(2, 9, 9, 8)).astype(np.float32)
    operation = tf.nn.depthwise_conv2d if depthwise else tf.nn.conv2d
    expected = tf.nn.batch_normalization(
        operation(image, kernel, [1, 1, 1, 1], "SAME"), norm.mean, norm.variance, norm.beta, norm.gamma, 0.001
    )

    folded = fold_batch_norm(kernel, norm, depthwise=depthwise)

    got = operation(image, folded.kernel, [1, 1, 1, 1], "SAME") + folded.bias
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=2e-5)


def test_the_pixel_table_is_what_the_graph_makes_of_each_pixel() -> None:
    tf = pytest.importorskip("tensorflow")
    pixels = np.arange(256, dtype=np.float32) / np.float32(255)
    for low, high in [(-1.0, 0.9921875), (-1.0005, 1.0005)]:
        span = nudged_range(low, high, ACTIVATION_CODES)
        graph = tf.quantization.fake_quant_with_min_max_vars(pixels * 2 - 1, low, high).numpy()
        codes = np.array(pixel_table(span))
        np.testing.assert_array_equal(span.scale * (codes - span.zero_point).astype(np.float32), graph)
    assert pixel_table(ActivationRange(np.float32(1 / 128), 128))[:3] == (0, 1, 2)


def tiny_network(weights: QuantizedTensor, output_scale: float = 6 / 255) -> MobileNetV1:
    source = ActivationRange(np.float32(1 / 128), 128)
    bias = quantize_bias(np.zeros(weights.codes.shape[3], np.float32), source.scale, weights.scale)
    layer = quantized_layer("Conv2d_0", weights, bias, source, ActivationRange(np.float32(output_scale), 0))
    return MobileNetV1(1.0, InputSpec(160, 160, pixel_table=pixel_table(source)), (layer,), source)


def test_identity_follows_every_number_and_nothing_else() -> None:
    codes = np.random.default_rng(0).integers(1, 256, (3, 3, 3, 4)).astype(np.uint8)
    weights = QuantizedTensor(codes, np.float32(0.0123), 117)
    network = tiny_network(weights)
    assert network.identity == tiny_network(dataclasses.replace(weights, codes=codes.copy())).identity

    other_code = codes.copy()
    other_code[0, 0, 0, 0] ^= 1
    others = [
        tiny_network(dataclasses.replace(weights, codes=other_code)),
        tiny_network(dataclasses.replace(weights, zero_point=118)),
        tiny_network(dataclasses.replace(weights, scale=np.float32(0.0124))),
        tiny_network(weights, output_scale=5 / 255),
        dataclasses.replace(network, input_spec=InputSpec(128, 160, pixel_table=network.input_spec.pixel_table)),
        dataclasses.replace(network, layers=(dataclasses.replace(network.layers[0], name="Conv2d_1_pointwise"),)),
    ]
    assert len({network.identity, *(other.identity for other in others)}) == len(others) + 1


def test_identity_survives_storage_as_a_float_range() -> None:
    codes = np.random.default_rng(0).integers(1, 256, (3, 3, 3, 4)).astype(np.uint8)
    for scale in np.random.default_rng(5).uniform(0.001, 0.1, 200).astype(np.float32):
        weights = QuantizedTensor(codes, scale, 117)
        low, high = range_limits(scale, 117, WEIGHT_CODES)
        stored = quantize(weights.dequantize(), float(low), float(high))
        np.testing.assert_array_equal(stored.codes, codes)
        assert tiny_network(stored).identity == tiny_network(weights).identity


def test_exactness_counts_the_channels_that_int8_holds() -> None:
    codes = np.full((1, 1, 2, 3), 150, np.uint8)
    codes[0, 0, 1, 0] = 255  # 255 - 120 = 135: out of reach
    codes[0, 0, 1, 1] = 247  # 127: just within
    (report,) = exactness(tiny_network(QuantizedTensor(codes, np.float32(0.01), 120)))
    assert (report.layer, report.exact, report.channels) == ("Conv2d_0", 2, 3)


def test_a_plain_network_has_an_identity_of_its_own() -> None:
    layer = Layer("Conv2d_0", np.ones((3, 3, 3, 4), np.float32), np.zeros(4, np.float32))
    network = MobileNetV1(1.0, InputSpec(224, 224, value_range=(0.0, 1.0)), (layer,))
    changed = dataclasses.replace(layer, bias=np.full(4, 1e-7, np.float32))
    assert not network.quantized
    assert exactness(network) == ()
    assert network.identity != dataclasses.replace(network, layers=(changed,)).identity
