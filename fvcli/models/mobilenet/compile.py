"""A network in memory -> the .tflite that runs it fast.

int8: the quantops network's own integers. Its uint8 weights with one zero point a tensor become int8 weights with one
scale a channel and no zero point, which LiteRT's vector kernels take: code - zero point where all of a channel's lie
in [-127, 127], scale and int32 bias as they are; any other channel is rounded once more, to the scale that makes its
largest weight 127 (see round_together for how). Activations shift by 128. What the original numbers were stands in
the file's metadata, so that the file reads back to the same network. Scheme (CONV_2D, DEPTHWISE_CONV_2D):
https://ai.google.dev/edge/litert/conversion/tensorflow/quantization/quantization_spec

float: float32 kernels and biases as they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fvcli.errors import ModelError
from fvcli.models.mobilenet.graph import convolutions
from fvcli.models.mobilenet.network import (
    INT8_LIMIT,
    ActivationRange,
    Layer,
    MobileNetV1,
    QuantizedTensor,
    channel_axis,
    pixel_table,
)
from fvcli.models.mobilenet.tflite_writer import Quantization, TFLiteWriter
from fvcli.models.model_card import input_spec_to_json
from fvcli.records import InputSpec

METADATA: Final = "fvcli"
"""Name of the metadata entry that holds a network's original numbers, as JSON."""

METADATA_ROUNDED: Final = "fvcli_rounded"
"""Name of the entry with the uint8 codes and int32 biases of the channels that had to be rounded."""

SHIFT: Final = 128
"""uint8 code - int8 code of the same number."""


@dataclass(frozen=True, slots=True)
class Int8Weights:
    """A layer's weights as LiteRT's int8 kernels take them.

    codes: int8, shaped as the layer's kernel. scales: float32 [out]. bias: int32 [out] at input scale * scales.
    exact: bool [out], true where codes, scale and bias are the original ones.
    """

    codes: NDArray[np.int8]
    scales: NDArray[np.float32]
    bias: NDArray[np.int32]
    exact: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Int8Layer:
    """One convolution as the int8 file holds it; ``output`` counts codes from 0, as uint8."""

    name: str
    stride: int
    weights: Int8Weights
    output: ActivationRange


def int8_weights(weights: QuantizedTensor, bias_codes: NDArray[np.int32], axis: int) -> Int8Weights:
    """Re-encodes uint8 codes with one zero point as symmetric int8 codes, ``axis`` counting output channels."""
    centered = np.moveaxis(weights.codes.astype(np.int32) - weights.zero_point, axis, -1)
    largest = np.abs(centered).max(axis=tuple(range(centered.ndim - 1)))
    exact = largest <= INT8_LIMIT
    ratio = np.where(exact, 1.0, largest / INT8_LIMIT)
    codes = np.rint(centered / ratio)
    if weights.codes.shape[0] > 1:
        for channel in np.flatnonzero(~exact):
            codes[..., channel] = round_together(centered[..., channel] / ratio[channel])
    scales = np.where(exact, weights.scale, (ratio * np.float64(weights.scale)).astype(np.float32))
    return Int8Weights(
        codes=np.moveaxis(codes.astype(np.int8), -1, axis),
        scales=scales.astype(np.float32),
        bias=np.rint(bias_codes / ratio).astype(np.int32),
        exact=exact,
    )


def round_together(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Whole numbers near ``values`` (less than 1 away) whose sum is the rounded sum of ``values``, half to even.

    For kernels larger than one pixel: the parts cut off are given back to the numbers that lost most. Neighboring
    pixels are much alike, so errors that cancel in the kernel's sum nearly cancel in its result. (Across channels,
    which are not alike, it does harm: there each number is rounded by itself, half to even.)
    """
    whole = np.floor(values)
    flat, lost = whole.reshape(-1), (values - whole).reshape(-1)
    missing = int(np.rint(values.sum()) - flat.sum())
    flat[np.argsort(-lost, kind="stable")[:missing]] += 1
    return flat.reshape(values.shape)


def write_int8(
    input_spec: InputSpec,
    input_range: ActivationRange,
    layers: Sequence[Int8Layer],
    metadata: Mapping[str, bytes],
    *,
    uint8_input: bool = False,
) -> bytes:
    """The .tflite of these layers: int8 codes ``images`` [n, h, w, 3] -> float32 ``default`` [n, d].

    The mean over the last map is taken in float32. With ``uint8_input`` the file takes pixels as they are, for other
    programs: ops in front turn each pixel into its code. They take time, so fvcli itself feeds codes.
    """
    writer = TFLiteWriter()
    height, width = input_spec.height, input_spec.width
    if uint8_input:
        images, image = _pixel_input(writer, input_spec, input_range)
    else:
        images = image = writer.tensor("images", (height, width, 3), np.int8, _per_tensor(input_range, SHIFT))
    channels = 3
    for layer in layers:
        depthwise = layer.name.endswith("_depthwise")
        weights = layer.weights
        kernel = file_kernel(weights.codes)
        axis = 3 if depthwise else 0
        channels = kernel.shape[axis]
        height, width = -(-height // layer.stride), -(-width // layer.stride)
        inputs = [
            image,
            writer.constant(f"{layer.name}/weights", kernel, Quantization.per_channel(weights.scales, axis)),
            writer.constant(
                f"{layer.name}/bias", weights.bias, Quantization.per_channel(input_range.scale * weights.scales, 0)
            ),
        ]
        image = writer.tensor(layer.name, (height, width, channels), np.int8, _per_tensor(layer.output, SHIFT))
        convolve = writer.depthwise_conv if depthwise else writer.conv
        convolve(inputs, image, stride=layer.stride, relu6=True, version=3)
        input_range = layer.output
    real = writer.tensor("features_map", (height, width, channels), np.float32)
    writer.dequantize(image, real)
    features = writer.tensor("features", (channels,), np.float32)
    writer.mean(real, features, axes=(1, 2))
    return writer.finish({"images": images}, {"default": features}, metadata)


def _pixel_input(writer: TFLiteWriter, spec: InputSpec, input_range: ActivationRange) -> tuple[int, int]:
    """The input tensor for uint8 pixels, and the int8 tensor with the code of each by the pixel table of ``spec``."""
    shape = (spec.height, spec.width, 3)
    codes = writer.tensor("images_int8", shape, np.int8, _per_tensor(input_range, SHIFT))
    if spec.pixel_table == tuple(range(256)):
        images = writer.tensor("images", shape, np.uint8, _per_tensor(input_range, 0))
        writer.quantize(images, codes)
        return images, codes
    if spec.pixel_table != pixel_table(input_range):
        raise ModelError("the pixel table is not that of the network's input range; the model is damaged")
    # The arithmetic that made the table: pixel / 255, then 2x - 1, then the nearest code.
    images = writer.tensor("images", shape, np.uint8, Quantization.per_tensor(1 / 255, 0))
    unit, doubled, centered = (
        writer.tensor(name, shape, np.float32) for name in ("images_unit", "images_doubled", "images_centered")
    )
    writer.dequantize(images, unit)
    writer.arithmetic("MUL", unit, 2.0, doubled)
    writer.arithmetic("SUB", doubled, 1.0, centered)
    writer.quantize(centered, codes)
    return images, codes


def compile_int8(network: MobileNetV1, *, uint8_input: bool = False) -> bytes:
    """The fast int8 .tflite of a quantops network. Raises ModelError for a network without ranges."""
    if network.input is None:
        raise ModelError("this network has no 8-bit ranges; run it with --engine float or --engine tensorflow")
    layers, records, rounded = [], [], bytearray()
    for row, layer in zip(convolutions(network.depth_multiplier), network.layers, strict=True):
        weights, bias_codes, output = quantized_parts(layer)
        axis = channel_axis(layer)
        parts = int8_weights(weights, bias_codes, axis)
        layers.append(Int8Layer(layer.name, row.stride, parts, output))
        records.append(_layer_record(layer.name, weights, np.flatnonzero(~parts.exact)))
        rounded += np.compress(~parts.exact, weights.codes, axis=axis).tobytes()
        rounded += bias_codes[~parts.exact].astype("<i4").tobytes()
    metadata = {METADATA: network_record(network, "int8", records), METADATA_ROUNDED: bytes(rounded)}
    return write_int8(network.input_spec, network.input, layers, metadata, uint8_input=uint8_input)


def compile_float(network: MobileNetV1) -> bytes:
    """The float32 .tflite: ``images`` float32 [n, h, w, 3] in [0, 1] -> ``default`` [n, d]."""
    writer = TFLiteWriter()
    height, width = network.input_spec.height, network.input_spec.width
    images = writer.tensor("images", (height, width, 3), np.float32)
    doubled = writer.tensor("images_doubled", (height, width, 3), np.float32)
    image = writer.tensor("images_centered", (height, width, 3), np.float32)
    writer.arithmetic("MUL", images, 2.0, doubled)
    writer.arithmetic("SUB", doubled, 1.0, image)
    channels = 3
    for row, layer in zip(convolutions(network.depth_multiplier), network.layers, strict=True):
        height, width = -(-height // row.stride), -(-width // row.stride)
        channels = layer.bias.size
        inputs = [
            image,
            writer.constant(f"{layer.name}/weights", file_kernel(layer.kernel)),
            writer.constant(f"{layer.name}/bias", layer.bias),
        ]
        image = writer.tensor(layer.name, (height, width, channels), np.float32)
        convolve = writer.depthwise_conv if row.depthwise else writer.conv
        convolve(inputs, image, stride=row.stride, relu6=True, version=1)
    features = writer.tensor("features", (channels,), np.float32)
    writer.mean(image, features, axes=(1, 2))
    metadata = {METADATA: network_record(network, "float", [])}
    return writer.finish({"images": images}, {"default": features}, metadata)


def quantized_parts(layer: Layer) -> tuple[QuantizedTensor, NDArray[np.int32], ActivationRange]:
    """The layer's 8-bit form. Raises ModelError where it has none."""
    if layer.weights is None or layer.bias_codes is None or layer.output is None:
        raise ModelError(f"layer {layer.name} has no 8-bit form; the model is damaged")
    return layer.weights, layer.bias_codes, layer.output


def file_kernel(kernel: NDArray[Any]) -> NDArray[Any]:
    """A kernel in the file's order: [out, h, w, in], or [1, h, w, channels] for a depthwise layer."""
    return np.ascontiguousarray(kernel.transpose(3, 0, 1, 2))


def network_record(network: MobileNetV1, form: str, layers: Sequence[Mapping[str, object]]) -> bytes:
    """The metadata entry ``fvcli``: what a file of this form does not otherwise say, as JSON."""
    record = {
        "form": form,
        "depth_multiplier": network.depth_multiplier,
        "input_spec": input_spec_to_json(network.input_spec),
        "identity": network.identity,
        "layers": list(layers),
    }
    return json.dumps(record, sort_keys=True, separators=(",", ":")).encode()


def _layer_record(name: str, weights: QuantizedTensor, rounded: NDArray[np.intp]) -> dict[str, object]:
    return {
        "name": name,
        "scale": float(weights.scale),
        "zero_point": weights.zero_point,
        "rounded": [int(channel) for channel in rounded],
    }


def _per_tensor(values: ActivationRange, shift: int) -> Quantization:
    return Quantization.per_tensor(values.scale, values.zero_point - shift)
