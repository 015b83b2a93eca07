"""The student before and after training: equalized for one scale per tensor, and at 8 bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import tensorflow as tf

from fvcli.models.mobilenet import graph
from fvcli.models.mobilenet.graph import LayerTensors, NetworkTensors, Span
from fvcli.models.mobilenet.network import (
    ACTIVATION_CODES,
    ActivationRange,
    Layer,
    MobileNetV1,
    nudged_range,
    pixel_table,
    quantize,
    quantize_bias,
    quantized_layer,
)
from fvcli.records import Float32Array, InputSpec, UInt8Array

INPUT = ActivationRange(np.float32(1 / 128), 128)
"""[-1, 127/128]: every pixel is 1/128 wide, as in Google's uint8 files; no pixel value is near a rounding tie."""

INPUT_SPAN = Span(-1.0, 127 / 128)
CEILING = 6.0
ABSENT = 1e-4


def activation_maxima(network: MobileNetV1, images: UInt8Array, batch: int = 32) -> dict[str, Float32Array]:
    """The largest result of each channel of each layer over uint8 images [n, h, w, 3]."""
    arrays = graph.network_arrays(network)

    @tf.function
    def maxima(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        maps = graph.endpoints(arrays, tf.cast(pixels, tf.float32) / 255.0)
        return {name: tf.reduce_max(values, axis=[0, 1, 2]) for name, values in maps.items()}

    largest: dict[str, Float32Array] = {}
    for start in range(0, len(images), batch):
        for name, values in maxima(images[start : start + batch]).items():
            largest[name] = np.maximum(largest.get(name, 0), values.numpy())
    return largest


def equalized(network: MobileNetV1, maxima: dict[str, Float32Array]) -> tuple[MobileNetV1, dict[str, Float32Array]]:
    """Cross-layer equalization (Nagel et al., 2019) as far as ReLU6 allows it without changing the function.

    A channel may grow until its largest activation reaches 6, and shrink where it never gets there; what produces it
    and what consumes it are scaled inversely, so that no channel owns the tensor's range. Channels that are always
    zero lose their weights. The features themselves are not scaled. Returns also each layer's factors.
    """
    kernels = [layer.kernel.astype(np.float64) for layer in network.layers]
    biases = [layer.bias.astype(np.float64) for layer in network.layers]
    depthwise = [layer.name.endswith("_depthwise") for layer in network.layers]
    factors = [np.ones(bias.size) for bias in biases]

    def produced(index: int) -> Float32Array:
        return np.abs(kernels[index]).max(axis=(0, 1, 3) if depthwise[index] else (0, 1, 2))

    def consumed(index: int) -> Float32Array:
        return np.abs(kernels[index]).max(axis=(0, 1, 3))

    def scale(index: int, by: Float32Array) -> None:
        kernels[index] *= by[:, None] if depthwise[index] else by
        biases[index] *= by
        kernels[index + 1] /= by[:, None]
        factors[index] *= by

    for index, layer in enumerate(network.layers[:-1]):
        dead = maxima[layer.name] < ABSENT
        if depthwise[index]:
            kernels[index][:, :, dead] = 0
        else:
            kernels[index][..., dead] = 0
        biases[index][dead] = 0
        kernels[index + 1][:, :, dead] = 0
    for _ in range(40):
        for index, layer in enumerate(network.layers[:-1]):
            peak = maxima[layer.name].astype(np.float64)
            before, after = produced(index), consumed(index + 1)
            alive = (before > 0) & (after > 0) & (peak >= ABSENT)
            wanted = np.ones_like(before)
            wanted[alive] = np.sqrt((after[alive] / after.max()) / (before[alive] / before.max()))
            highest = CEILING / np.maximum(peak, ABSENT)
            lowest = np.where(peak < 0.98 * CEILING, np.minimum(1.0, 1.5 / np.maximum(peak, ABSENT)), 1.0)
            total = np.clip(factors[index] * wanted, np.minimum(lowest, highest), np.minimum(highest, 50.0))
            scale(index, np.where(alive, total / factors[index], 1.0))
    layers = tuple(
        replace(layer, kernel=kernel.astype(np.float32), bias=bias.astype(np.float32))
        for layer, kernel, bias in zip(network.layers, kernels, biases, strict=True)
    )
    named = {layer.name: factor.astype(np.float32) for layer, factor in zip(network.layers, factors, strict=True)}
    return replace(network, layers=layers), named


def fake_quantized(network: MobileNetV1, limits: Mapping[str, float]) -> NetworkTensors:
    """The float network behind FakeQuant, for the product's forward pass.

    limits: by layer name the largest weight of the grid. Ranges of weights are symmetric about zero, so that
    |code - zero point| <= 127 holds for every weight.
    """
    layers = [
        LayerTensors(layer.kernel, layer.bias, weights=_span(limits[layer.name]), output=Span(0.0, CEILING))
        for layer in network.layers
    ]
    return NetworkTensors(network.depth_multiplier, layers, INPUT_SPAN)


def quantized(network: MobileNetV1, limits: Mapping[str, float], size: int) -> MobileNetV1:
    """The network of integers that :func:`fake_quantized` simulates, for images of ``size``."""
    before = INPUT
    after = nudged_range(0.0, CEILING, ACTIVATION_CODES)
    layers: list[Layer] = []
    for layer in network.layers:
        span = _span(limits[layer.name])
        weights = quantize(layer.kernel, float(span.minimum), float(span.maximum))
        bias_codes = quantize_bias(layer.bias, before.scale, weights.scale)
        layers.append(quantized_layer(layer.name, weights, bias_codes, before, after))
        before = after
    spec = InputSpec(size, size, pixel_table=pixel_table(INPUT))
    return MobileNetV1(network.depth_multiplier, spec, tuple(layers), INPUT)


def _span(limit: float) -> Span:
    return Span(-np.float32(limit), np.float32(limit))
