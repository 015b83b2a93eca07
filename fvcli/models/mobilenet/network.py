"""The one in-memory form of a MobileNet V1: what every reader returns and every engine and writer takes.

Quantization is the affine scheme of Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference" (2017): real = scale * (code - zero_point).
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fvcli.errors import ModelError
from fvcli.records import Float32Array, InputSpec, UInt8Array

WEIGHT_CODES: Final = (1, 255)
"""Weights are quantized in the narrow range: 254 steps, so that a range around zero can be symmetric."""

ACTIVATION_CODES: Final = (0, 255)

INT8_LIMIT: Final = 127
"""The largest |code - zero point| that a symmetric int8 weight holds."""


@dataclass(frozen=True, slots=True)
class QuantizedTensor:
    """uint8 codes with one scale and zero point for the whole tensor (how the quantops networks are made)."""

    codes: UInt8Array
    scale: np.float32
    zero_point: int

    def dequantize(self) -> Float32Array:
        """scale * (code - zero_point), float32, the shape of ``codes``."""
        centered = self.codes.astype(np.int32) - self.zero_point
        return self.scale * centered.astype(np.float32)


@dataclass(frozen=True, slots=True)
class ActivationRange:
    """The range of an 8-bit activation: real = scale * (code - zero_point), code in [0, 255]."""

    scale: np.float32
    zero_point: int


@dataclass(frozen=True, slots=True)
class Layer:
    """One convolution with its BatchNorm folded in.

    name: TF-Slim's scope: "Conv2d_0", "Conv2d_1_depthwise", "Conv2d_1_pointwise", ..., "Logits/Conv2d_1c_1x1".
    kernel: float32 [height, width, in, out], or [height, width, channels, 1] for a depthwise layer.
    bias: float32 [out].
    weights, bias_codes, output: the 8-bit form; all None in a plain (float) network. ``bias_codes`` is int32 with
        scale input_scale * weights.scale and zero point 0; ``output`` is the range of the layer's result after ReLU6
        (after the bias for the classifier).
    """

    name: str
    kernel: Float32Array
    bias: Float32Array
    weights: QuantizedTensor | None = None
    bias_codes: NDArray[np.int32] | None = None
    output: ActivationRange | None = None


@dataclass(frozen=True, slots=True)
class MobileNetV1:
    """A whole network. ``layers`` are the 27 of the body, in order; ``logits`` is the classifier where known."""

    depth_multiplier: float
    input_spec: InputSpec
    layers: tuple[Layer, ...]
    input: ActivationRange | None = None
    logits: Layer | None = None

    @property
    def quantized(self) -> bool:
        """True for a quantops network: every layer has its 8-bit form."""
        return self.input is not None

    @property
    def identity(self) -> str:
        """SHA-256 (hex) over the network's canonical numbers and its InputSpec (see :func:`network_identity`)."""
        return network_identity(self)


@dataclass(frozen=True, slots=True)
class FoldedKernel:
    """A convolution and its BatchNorm as one: ``kernel`` shaped as the convolution's, ``bias`` float32 [out]."""

    kernel: Float32Array
    bias: Float32Array


@dataclass(frozen=True, slots=True)
class BatchNorm:
    """float32 [channels] each; gamma is None for the layers that TF-Slim trains without a scale."""

    beta: Float32Array
    mean: Float32Array
    variance: Float32Array
    gamma: Float32Array | None = None
    epsilon: float = 0.001


@dataclass(frozen=True, slots=True)
class Exactness:
    """The number of channels of a layer that keep their integers and scale as symmetric int8."""

    layer: str
    exact: int
    channels: int


def fold_batch_norm(kernel: Float32Array, norm: BatchNorm, *, depthwise: bool) -> FoldedKernel:
    """A convolution with its BatchNorm folded in for inference: w * gamma / sqrt(variance + epsilon), in float32.

    The order of operations is that of TF-Slim's graph and of ``tf.contrib.quantize``'s folding: bias = beta - mean *
    gamma / sqrt(variance + epsilon). ``kernel`` is [height, width, in, out], or [height, width, channels, 1] for a
    depthwise layer.
    """
    multiplier = np.float32(1) / np.sqrt(norm.variance + np.float32(norm.epsilon))
    if norm.gamma is not None:
        multiplier = multiplier * norm.gamma
    along = multiplier.reshape(-1, 1) if depthwise else multiplier
    return FoldedKernel(
        kernel=(kernel * along).astype(np.float32), bias=(norm.beta - norm.mean * multiplier).astype(np.float32)
    )


def nudged_range(minimum: float, maximum: float, codes: tuple[int, int]) -> ActivationRange:
    """The scale and zero point that ``tf.quantization.fake_quant_with_min_max_vars`` takes for a range.

    All in float32, as the kernel computes them: scale = (max - min) / steps; the zero point is the code nearest to
    real zero (half away from zero), held within ``codes``. Raises ModelError for an empty or infinite range.
    """
    low, high = np.float32(minimum), np.float32(maximum)
    if not (np.isfinite(low) and np.isfinite(high) and low < high and low <= 0 <= high):
        raise ModelError(f"a quantization range of [{minimum}, {maximum}] does not hold zero; the model is damaged")
    first, last = codes
    scale = (high - low) / np.float32(last - first)
    zero = np.float32(first) - low / scale
    return ActivationRange(scale=np.float32(scale), zero_point=min(max(math.floor(float(zero) + 0.5), first), last))


def range_limits(scale: np.float32, zero_point: int, codes: tuple[int, int]) -> tuple[np.float32, np.float32]:
    """(min, max) float32 for FakeQuant ops that mean this scale and zero point.

    The inverse of :func:`nudged_range`. A quotient of float32 numbers cannot reach about one scale in 200; there the
    nearest one is meant (one unit in the last place away), always the same.
    """
    first, last = codes
    steps = np.float32(last - first)
    low = np.float32(first - zero_point) * np.float32(scale)
    high = np.float32(last - zero_point) * np.float32(scale)
    distance = math.inf
    best = low, high
    # In order of how far they lie from the plain products, so that the nearest pair that works is taken.
    for shift_low, shift_high in sorted(
        itertools.product(range(-3, 4), repeat=2), key=lambda pair: (max(map(abs, pair)), pair)
    ):
        pair = _shifted(low, shift_low), _shifted(high, shift_high)
        missed = abs(float((pair[1] - pair[0]) / steps) - float(scale))
        if missed < distance:
            distance, best = missed, pair
        if missed == 0:
            break
    return best


def _shifted(value: np.float32, units: int) -> np.float32:
    """``value`` moved by units in the last place; zero stays zero, as the end of a one-sided range."""
    return value if value == 0 else np.float32(value + np.float32(units) * np.spacing(value))


def quantize(
    values: Float32Array, minimum: float, maximum: float, codes: tuple[int, int] = WEIGHT_CODES
) -> QuantizedTensor:
    """The codes of ``values`` as the FakeQuant kernel rounds them (float32 throughout, floor(x + 0.5)).

    FakeQuant's output is exactly scale * (code - zero_point); a value within a unit in the last place of a tie between
    two codes may go the other way there. Raises ModelError as :func:`nudged_range`.
    """
    nudged = nudged_range(minimum, maximum, codes)
    first, last = codes
    scale = nudged.scale
    low = np.float32(first - nudged.zero_point) * scale
    high = np.float32(last - nudged.zero_point) * scale
    inverse = np.float32(last - first) / (np.float32(maximum) - np.float32(minimum))
    zero = np.floor(-low * inverse + np.float32(0.5))
    steps = np.floor((np.clip(values, low, high) - low) * inverse - zero + np.float32(0.5))
    return QuantizedTensor(
        codes=(steps.astype(np.int32) + nudged.zero_point).astype(np.uint8), scale=scale, zero_point=nudged.zero_point
    )


def quantize_bias(bias: Float32Array, input_scale: np.float32, weight_scale: np.float32) -> NDArray[np.int32]:
    """int32 [out] at scale input_scale * weight_scale, zero point 0, half to even as the TFLite converter does."""
    steps = np.rint(bias.astype(np.float64) / (np.float64(input_scale) * np.float64(weight_scale)))
    limits = np.iinfo(np.int32)
    return np.clip(steps, limits.min, limits.max).astype(np.int32)


def dequantize_bias(codes: NDArray[np.int32], input_scale: np.float32, weight_scale: np.float32) -> Float32Array:
    """codes * input_scale * weight_scale, float32 [out]."""
    return (codes.astype(np.float64) * (np.float64(input_scale) * np.float64(weight_scale))).astype(np.float32)


def quantized_layer(
    name: str,
    weights: QuantizedTensor,
    bias_codes: NDArray[np.int32],
    input_range: ActivationRange,
    output_range: ActivationRange,
) -> Layer:
    """A layer from its integers: the float kernel and bias are what these mean, exactly."""
    return Layer(
        name=name,
        kernel=weights.dequantize(),
        bias=dequantize_bias(bias_codes, input_range.scale, weights.scale),
        weights=weights,
        bias_codes=bias_codes,
        output=output_range,
    )


def pixel_table(input_range: ActivationRange) -> tuple[int, ...]:
    """The input code of each pixel value 0..255 for images given as pixel / 255 in [0, 1], and 2x - 1 inside."""
    low, high = range_limits(input_range.scale, input_range.zero_point, ACTIVATION_CODES)
    unit = np.arange(256, dtype=np.float32) / np.float32(255)
    centered = unit * np.float32(2) - np.float32(1)
    return tuple(int(code) for code in quantize(centered, float(low), float(high), ACTIVATION_CODES).codes)


def channel_axis(layer: Layer) -> int:
    """The axis of the kernel that counts output channels: 2 for a depthwise layer, else 3."""
    return 2 if layer.name.endswith("_depthwise") else 3


def exactness(network: MobileNetV1) -> tuple[Exactness, ...]:
    """For each quantized layer of the body, the channels in which every |code - zero point| <= 127.

    These keep Google's integers and scale as symmetric int8; each other channel is rounded once more.
    Empty for a plain network.
    """
    reports = []
    for layer in network.layers:
        if layer.weights is None:
            continue
        centered = np.abs(layer.weights.codes.astype(np.int32) - layer.weights.zero_point)
        others = tuple(axis for axis in range(centered.ndim) if axis != channel_axis(layer))
        largest = centered.max(axis=others)
        reports.append(Exactness(layer.name, int(np.count_nonzero(largest <= INT8_LIMIT)), int(largest.size)))
    return tuple(reports)


def canonical_scale(scale: np.float32, zero_point: int, codes: tuple[int, int]) -> np.float32:
    """The scale as every form of a model can state it: what FakeQuant takes for :func:`range_limits`."""
    low, high = range_limits(scale, zero_point, codes)
    return np.float32((high - low) / np.float32(codes[1] - codes[0]))


def network_identity(network: MobileNetV1) -> str:
    """SHA-256 (hex) of what a network computes, whatever form it was read from.

    quantops: for each layer of the body its name, codes and shape, zero point, scale, int32 bias and output range,
    and the input's range. Plain: the float32 bytes of kernels and biases. Both: the InputSpec. The classifier does
    not count: it does not change a feature vector. All numbers little-endian.
    """
    digest = hashlib.sha256()
    for part in _identity_parts(network):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def _identity_parts(network: MobileNetV1) -> Iterator[bytes]:
    spec = network.input_spec
    yield json.dumps(
        {
            "form": "quantops" if network.quantized else "plain",
            "height": spec.height,
            "width": spec.width,
            "value_range": None if spec.value_range is None else [float(value) for value in spec.value_range],
            "pixel_table": None if spec.pixel_table is None else [int(code) for code in spec.pixel_table],
        },
        sort_keys=True,
    ).encode()
    if network.input is not None:
        yield _range_bytes(network.input)
    for layer in network.layers:
        yield layer.name.encode()
        if layer.weights is None or layer.bias_codes is None or layer.output is None:
            yield repr(layer.kernel.shape).encode()
            yield layer.kernel.astype("<f4").tobytes()
            yield layer.bias.astype("<f4").tobytes()
        else:
            yield repr(layer.weights.codes.shape).encode()
            yield layer.weights.codes.tobytes()
            yield layer.weights.zero_point.to_bytes(4, "little")
            scale = canonical_scale(layer.weights.scale, layer.weights.zero_point, WEIGHT_CODES)
            yield scale.astype("<f4").tobytes()
            yield layer.bias_codes.astype("<i4").tobytes()
            yield _range_bytes(layer.output)


def _range_bytes(values: ActivationRange) -> bytes:
    scale = canonical_scale(values.scale, values.zero_point, ACTIVATION_CODES)
    return bytes(scale.astype("<f4").tobytes()) + values.zero_point.to_bytes(4, "little")
