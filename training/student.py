"""The student: the teacher's folded weights, equalized for one scale a tensor, as variables behind FakeQuant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

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


class Student(tf.Module):
    """Variables of each layer: kernel, a gain for each output channel, bias. FakeQuant sees kernel * gain.

    The gains (first 1) take the coarse, cheap adjustments, at their own rate. Ranges of weights are fixed and symmetric
    about zero, so that |code - zero point| <= 127 holds for every weight.

    limits: by layer name the largest weight of the grid; the largest that there is, by default.
    """

    def __init__(self, network: MobileNetV1, limits: Mapping[str, float] | None = None) -> None:
        super().__init__()
        self.depth_multiplier = network.depth_multiplier
        self.names = [layer.name for layer in network.layers]
        self.kernels = [tf.Variable(layer.kernel, name=f"{layer.name}/kernel") for layer in network.layers]
        self.gains = [tf.Variable(tf.ones_like(layer.bias), name=f"{layer.name}/gain") for layer in network.layers]
        self.biases = [tf.Variable(layer.bias, name=f"{layer.name}/bias") for layer in network.layers]
        self.limits = [
            np.float32(np.abs(layer.kernel).max() if limits is None else limits[layer.name]) for layer in network.layers
        ]

    def tensors(self, *, quantized: bool = True) -> NetworkTensors:
        """The tensors for the product's forward pass, at 8 bits or in float."""
        layers = []
        for index, (kernel, gain, bias) in enumerate(zip(self.kernels, self.gains, self.biases, strict=True)):
            whole = kernel * (gain[:, tf.newaxis] if self.names[index].endswith("_depthwise") else gain)
            limit = self.limits[index]
            spans = {"weights": Span(-limit, limit), "output": Span(0.0, CEILING)} if quantized else {}
            layers.append(LayerTensors(whole, bias, **spans))
        return NetworkTensors(self.depth_multiplier, layers, INPUT_SPAN if quantized else None)

    def plain_network(self, like: MobileNetV1) -> MobileNetV1:
        """The float network as it is now; everything else is that of ``like``."""
        layers = [
            Layer(name, tensors.kernel.numpy(), tensors.bias.numpy())
            for name, tensors in zip(self.names, self.tensors(quantized=False).layers, strict=True)
        ]
        return replace(like, layers=tuple(layers))

    def network(self, size: int) -> MobileNetV1:
        """The quantized network as it is now."""
        before = INPUT
        after = nudged_range(0.0, CEILING, ACTIVATION_CODES)
        layers: list[Layer] = []
        for name, tensors in zip(self.names, self.tensors().layers, strict=True):
            assert tensors.weights is not None
            weights = quantize(tensors.kernel.numpy(), float(tensors.weights.minimum), float(tensors.weights.maximum))
            bias_codes = quantize_bias(tensors.bias.numpy(), before.scale, weights.scale)
            layers.append(quantized_layer(name, weights, bias_codes, before, after))
            before = after
        spec = InputSpec(size, size, pixel_table=pixel_table(INPUT))
        return MobileNetV1(self.depth_multiplier, spec, tuple(layers), INPUT)


def features_of(tensors: NetworkTensors, images: UInt8Array) -> Any:
    """uint8 [n, h, w, 3] -> float32 [n, 1024]."""
    return graph.features(tensors, tf.cast(images, tf.float32) / 255.0)
