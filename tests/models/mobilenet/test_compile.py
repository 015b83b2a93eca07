"""Compiled networks: the arithmetic of the network itself, to the integer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from fvcli.errors import ModelError
from fvcli.models.litert import LiteRTModel
from fvcli.models.mobilenet.compile import compile_float, compile_int8, int8_weights, round_together
from fvcli.models.mobilenet.graph import convolutions
from fvcli.models.mobilenet.network import MobileNetV1, QuantizedTensor, channel_axis
from fvcli.models.mobilenet.tflite_reader import read_tflite
from fvcli.models.model_card import ModelCard
from tests.helpers.networks import GOOGLE_FILES, plain_network, quantops_network, random_images


def run(network: MobileNetV1, data: bytes, images: np.ndarray) -> np.ndarray:
    dimension = network.layers[-1].bias.size
    engine = "int8" if network.quantized else "float"
    card = ModelCard("test", network.identity, engine, dimension, "Apache-2.0", network.input_spec, "")
    return LiteRTModel(card, data)(images)


def operators(data: bytes) -> list[str]:
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    names = {number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}
    return [names[model.operatorCodes[each.opcodeIndex].builtinCode] for each in model.subgraphs[0].operators]


def reference(network: MobileNetV1, images: np.ndarray) -> np.ndarray:
    """The quantops arithmetic on its integers, in NumPy: exact sums, one rounding after each layer."""
    assert network.input is not None
    table = np.array(network.input_spec.pixel_table)
    codes, before = table[images].astype(np.float64), network.input
    for shape, layer in zip(convolutions(network.depth_multiplier), network.layers, strict=True):
        assert layer.weights is not None
        assert layer.bias_codes is not None
        assert layer.output is not None
        centered = layer.weights.codes.astype(np.float64) - layer.weights.zero_point
        sums = convolve(codes - before.zero_point, centered, shape.stride, shape.depthwise) + layer.bias_codes
        real = sums * (float(before.scale) * float(layer.weights.scale))
        steps = np.rint(np.clip(real, 0, 6) / float(layer.output.scale)) + layer.output.zero_point
        codes, before = np.clip(steps, 0, 255), layer.output
    return ((codes - before.zero_point) * float(before.scale)).mean(axis=(1, 2))


def convolve(x: np.ndarray, kernel: np.ndarray, stride: int, depthwise: bool) -> np.ndarray:
    """SAME convolution of [n, h, w, c]."""
    size, k = x.shape[1], kernel.shape[0]
    out = -(-size // stride)
    pad = max((out - 1) * stride + k - size, 0)
    x = np.pad(x, ((0, 0), (pad // 2, pad - pad // 2), (pad // 2, pad - pad // 2), (0, 0)))
    total: np.ndarray | float = 0.0
    for i in range(k):
        for j in range(k):
            part = x[:, i : i + out * stride : stride, j : j + out * stride : stride][:, :out, :out]
            total = total + (part * kernel[i, j, :, 0] if depthwise else part @ kernel[i, j])
    return np.asarray(total)


def test_int8_engine_computes_the_networks_own_arithmetic() -> None:
    network, images = quantops_network(), random_images(3, 128)
    features = run(network, compile_int8(network), images)
    expected = reference(network, images)
    cosine = (features * expected).sum(1) / np.linalg.norm(features, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosine.min() > 0.999
    assert np.abs(features - expected).mean() < 0.02 * expected.std()


def test_channels_within_reach_keep_their_integers_and_the_others_are_rounded() -> None:
    codes = np.full((1, 1, 3, 4), 100, np.uint8)
    codes[0, 0, :, 0] = [27, 227, 100]  # -73, 127, 0 from the zero point: as far as int8 goes
    codes[0, 0, :, 1] = [228, 164, 100]  # 128: one too far; 64 becomes 63.5
    codes[0, 0, :, 2] = [254, 100, 177]  # 154 and 77, which becomes 63.5
    codes[0, 0, :, 3] = [1, 99, 101]
    bias = np.array([5, -1000, 154, 7], np.int32)
    parts = int8_weights(QuantizedTensor(codes, np.float32(0.5), 100), bias, 3)
    assert parts.exact.tolist() == [True, False, False, True]
    assert parts.codes[0, 0].T.tolist() == [[-73, 127, 0], [127, 64, 0], [127, 0, 64], [-99, -1, 1]]
    np.testing.assert_array_equal(parts.scales, np.float32([0.5, 0.5 * 128 / 127, 0.5 * 154 / 127, 0.5]))
    assert parts.bias.tolist() == [5, -992, 127, 7]
    # The pixels of a kernel are rounded so that their sum is kept: 127 + 63.5 goes to the even 190.
    column = QuantizedTensor(codes.transpose(2, 1, 0, 3).copy(), np.float32(0.5), 100)
    kept = int8_weights(column, bias, 3)
    assert kept.codes[:, 0, 0].T.tolist() == [[-73, 127, 0], [127, 63, 0], [127, 0, 63], [-99, -1, 1]]
    np.testing.assert_array_equal(kept.scales, parts.scales)


@pytest.mark.parametrize("name", GOOGLE_FILES)
def test_every_channel_that_fits_has_googles_integers_and_scale_in_the_file(shared: Path, name: str) -> None:
    """Reads the emitted flatbuffer with the bare schema and compares it with Google's, read the same way."""
    path = shared / "models" / f"{name}.tflite"
    google = convolution_tensors(path.read_bytes())[:27]
    emitted = convolution_tensors(compile_int8(read_tflite(path)))
    exact = channels = 0
    for (codes, scale, zero, bias, out), (codes8, scales, zeros, bias8, out8) in zip(google, emitted, strict=True):
        axis = 3 if codes.shape[0] == 1 and codes.shape[1] == 3 else 0
        centered = np.moveaxis(codes.astype(int) - zero[0], axis, 0).reshape(codes.shape[axis], -1)
        found = np.moveaxis(codes8.astype(int), axis, 0).reshape(codes.shape[axis], -1)
        fits = np.abs(centered).max(axis=1) <= 127
        assert (found[fits] == centered[fits]).all()
        assert (scales[fits] == scale[0]).all()
        assert (bias8[fits] == bias[fits]).all()
        assert not zeros.any()
        largest = np.abs(centered[~fits]).max(axis=1)
        np.testing.assert_allclose(scales[~fits], scale[0] * largest / 127, rtol=1e-6)
        wanted = centered[~fits] * 127 / largest[:, None]
        assert (np.abs(found[~fits] - wanted) < 1).all()
        if codes.shape[1] == 1:
            assert (np.abs(found[~fits] - wanted) <= 0.5 + 1e-9).all()
        else:
            np.testing.assert_allclose(found[~fits].sum(axis=1), wanted.sum(axis=1), atol=0.5 + 1e-9)
        assert out8 == (out[0], out[1] - 128)
        exact, channels = exact + int(fits.sum()), channels + fits.size
    assert exact == GOOGLE_FILES[name][2]
    assert channels == sum(shape.channels for shape in convolutions(GOOGLE_FILES[name][0]))


def convolution_tensors(data: bytes) -> list[tuple]:
    """Codes, scales, zero points, bias, (output scale, zero point) of each convolution of a .tflite."""
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    graph = model.subgraphs[0]
    types = {schema.TensorType.UINT8: np.uint8, schema.TensorType.INT8: np.int8, schema.TensorType.INT32: np.int32}

    def values(tensor: schema.TensorT) -> np.ndarray:
        return model.buffers[tensor.buffer].data.view(types[tensor.type]).reshape(tensor.shape)

    found = []
    for operator in graph.operators:
        if len(operator.inputs) == 3:
            weights, bias, output = (graph.tensors[i] for i in (*operator.inputs[1:], operator.outputs[0]))
            scale = (output.quantization.scale[0], output.quantization.zeroPoint[0])
            quantization = weights.quantization
            found.append((values(weights), quantization.scale, quantization.zeroPoint, values(bias), scale))
    return found


def test_rounding_together_keeps_the_sum() -> None:
    values = np.random.default_rng(5).normal(0, 40, (40, 3, 3))
    for channel in values:
        rounded = round_together(channel)
        assert rounded.sum() == np.rint(channel.sum())
        assert np.abs(rounded - channel).max() < 1
    assert round_together(np.array([0.4, 0.4, 0.4, -0.2])).tolist() == [1, 0, 0, 0]
    assert round_together(np.array([3.0, -7.0])).tolist() == [3, -7]


def test_operators_of_the_compiled_files() -> None:
    body = ["CONV_2D", *["DEPTHWISE_CONV_2D", "CONV_2D"] * 13]
    network = quantops_network()
    assert operators(compile_int8(network)) == [*body, "DEQUANTIZE", "MEAN"]
    table = ["DEQUANTIZE", "MUL", "SUB", "QUANTIZE"]
    assert operators(compile_int8(network, uint8_input=True)) == [*table, *body, "DEQUANTIZE", "MEAN"]
    assert network.input_spec.pixel_table != tuple(range(256))
    pixels = replace(network, input_spec=replace(network.input_spec, pixel_table=tuple(range(256))))
    assert operators(compile_int8(pixels, uint8_input=True)) == ["QUANTIZE", *body, "DEQUANTIZE", "MEAN"]
    assert operators(compile_float(plain_network())) == ["MUL", "SUB", *body, "MEAN"]


def test_pixels_as_they_are_give_the_same_vectors() -> None:
    network, images = quantops_network(), random_images(2, 128)
    raw = replace(network, input_spec=replace(network.input_spec, pixel_table=tuple(range(256))))
    exported = compile_int8(network, uint8_input=True)
    assert run(network, compile_int8(network), images).tobytes() == run(raw, exported, images).tobytes()


@pytest.mark.slow
def test_the_same_network_gives_the_same_file() -> None:
    assert compile_int8(quantops_network()) == compile_int8(quantops_network())
    assert compile_int8(quantops_network()) != compile_int8(quantops_network(seed=2))


def test_float_engine_computes_the_plain_network() -> None:
    network, images = plain_network(), random_images(2, 128)
    x = images / 255 * 2 - 1
    for shape, layer in zip(convolutions(network.depth_multiplier), network.layers, strict=True):
        x = np.clip(convolve(x, layer.kernel.astype(float), shape.stride, shape.depthwise) + layer.bias, 0, 6)
    expected = x.mean(axis=(1, 2))
    np.testing.assert_allclose(run(network, compile_float(network), images), expected, atol=1e-4)


def test_plain_networks_have_no_int8_form() -> None:
    with pytest.raises(ModelError, match="--engine float"):
        compile_int8(plain_network())
    assert {channel_axis(layer) for layer in plain_network().layers} == {2, 3}
