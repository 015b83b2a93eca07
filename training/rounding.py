"""From a trained float network to 8-bit weights, one layer after the other, each making up for the ones before.

Every layer is fitted to the float network's result given the quantized network's input (least squares), then rounded
weight by weight with the error passed on to the weights still to come (GPTQ: Frantar et al., 2022, the update of
Hassibi and Stork, 1993), on a grid of one scale for the tensor. The scale is the one with the least error, not that of
the largest weight; the bias takes up what is left on average.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from fvcli.models.mobilenet import graph
from fvcli.models.mobilenet.graph import Convolution, LayerTensors, NetworkTensors, Span
from fvcli.models.mobilenet.network import INT8_LIMIT, Layer, MobileNetV1
from fvcli.records import Float32Array, UInt8Array
from training.student import CEILING, INPUT_SPAN

ROWS = 40_000
DEPTHWISE_ROWS = 12_000
"""Positions of maps that a layer is fitted on; a depthwise one has only nine numbers a channel to find."""

LARGE_MAPS, FEW = 11, 288
"""The first layers, up to Conv2d_5, have maps so large that few images give enough positions, and fill the memory."""

OUTPUT_SPAN = Span(0.0, CEILING)
DAMPING = 0.01
RIDGE = 0.05
CLIPS = np.concatenate([np.linspace(1.0, 0.5, 26), np.linspace(0.48, 0.2, 15)])


@dataclass(frozen=True, slots=True)
class Rounded:
    """A network whose kernels lie on a grid, and by layer name the largest number of each grid (127 steps)."""

    network: MobileNetV1
    limits: dict[str, float]


def rounded(network: MobileNetV1, images: UInt8Array, seed: int) -> Rounded:
    """Quantizes a plain network so that uint8 ``images`` [n, h, w, 3] give nearly its features."""
    generator = np.random.default_rng(seed)
    layers: list[Layer] = []
    limits: dict[str, float] = {}
    real, coarse = _maps(network, layers, images[:FEW])
    for shape, layer in zip(graph.convolutions(network.depth_multiplier), network.layers, strict=True):
        if len(layers) == LARGE_MAPS and len(images) > FEW:
            real, coarse = _maps(network, layers, images)
        wanted = _convolved(real, layer, shape)
        kernel, bias, limit = _fitted(coarse, wanted, layer, shape, generator)
        done = replace(layer, kernel=kernel, bias=bias)
        given = _clipped(_convolved(coarse, done, shape))
        real = _clipped(wanted)
        error = float(np.mean((given - real) ** 2) / np.mean(real**2))
        print(f"{layer.name}: relative error {error:.4f}, grid to {limit:.3f} of {np.abs(layer.kernel).max():.3f}")
        coarse = graph.fake_quant(tf.constant(given), OUTPUT_SPAN).numpy()
        layers.append(done)
        limits[layer.name] = limit
    return Rounded(replace(network, layers=tuple(layers), logits=None), limits)


def _maps(network: MobileNetV1, done: Sequence[Layer], images: UInt8Array) -> tuple[Float32Array, Float32Array]:
    """The results for ``images`` of as many layers as are ``done``: of the network's own, and of those done."""
    part = slice(0, len(done))
    own = NetworkTensors(network.depth_multiplier, [LayerTensors(layer.kernel, layer.bias) for layer in network.layers])
    grid = replace(own, layers=[LayerTensors(layer.kernel, layer.bias, output=OUTPUT_SPAN) for layer in done])
    results: tuple[list[Float32Array], list[Float32Array]] = [], []
    for start in range(0, len(images), 32):
        pixels = tf.constant(images[start : start + 32].astype(np.float32) / np.float32(255) * 2 - 1)
        for tensors, x, parts in zip((own, grid), (pixels, graph.fake_quant(pixels, INPUT_SPAN)), results, strict=True):
            maps = graph.partial_endpoints(tensors, x, part)
            parts.append((maps[done[-1].name] if done else x).numpy())
    return np.concatenate(results[0]), np.concatenate(results[1])


def _clipped(maps: Float32Array) -> Float32Array:
    return np.clip(maps, 0, np.float32(CEILING))


def _convolved(maps: Float32Array, layer: Layer, shape: Convolution) -> Float32Array:
    tensors = LayerTensors(layer.kernel, layer.bias)
    parts = [graph.convolve(maps[start : start + 16], tensors, shape) for start in range(0, len(maps), 16)]
    return np.concatenate([part.numpy() for part in parts])


def _fitted(
    maps: Float32Array, wanted: Float32Array, layer: Layer, shape: Convolution, generator: np.random.Generator
) -> tuple[Float32Array, Float32Array, float]:
    """Kernel on the grid, bias, and the grid's limit, from the quantized input and the float result."""
    rows = generator.permutation(wanted[..., 0].size)[: DEPTHWISE_ROWS if shape.depthwise else ROWS]
    inputs = _patches(maps, shape, rows)  # [rows, taps, in] or [rows, 1, in]
    results = wanted.reshape(-1, shape.channels)[rows].astype(np.float64)
    if shape.depthwise:
        # One small problem for each channel: [channels, rows, taps].
        problems, targets = inputs.transpose(2, 0, 1), results.T[:, :, None]
        start = layer.kernel.reshape(-1, shape.channels).T[:, :, None]  # [channels, taps, 1]
    else:
        problems, targets = inputs.reshape(1, len(rows), -1), results[None]
        start = layer.kernel.reshape(1, -1, shape.channels)
    means, goals = problems.mean(axis=1, keepdims=True), targets.mean(axis=1, keepdims=True)
    problems = problems - means
    squares = np.einsum("prt,pru->ptu", problems, problems, optimize=True) / len(rows)
    missing = targets - goals - problems @ start
    answers = np.einsum("prt,pro->pto", problems, missing, optimize=True) / len(rows)
    size = np.mean(np.diagonal(squares, axis1=1, axis2=2), axis=1)[:, None, None] + 1e-9
    one = np.eye(squares.shape[1])
    real = start + np.linalg.solve(squares + RIDGE * size * one, answers)
    limit = _best_limit(real, squares)
    coarse = _passed_on(real, squares + DAMPING * size * one, limit / INT8_LIMIT)
    bias = (goals - means @ coarse)[:, 0, :].reshape(-1)
    kernel = coarse[:, :, 0].T if shape.depthwise else coarse[0]
    return kernel.reshape(shape.kernel_shape).astype(np.float32), bias.astype(np.float32), limit


def _patches(maps: Float32Array, shape: Convolution, rows: Any) -> Any:
    """float64 [rows, taps, in]: what the kernel sees at each of the result's positions ``rows``."""
    taps, stride = shape.kernel_shape[0], shape.stride
    if taps == 1:
        return maps.reshape(-1, 1, maps.shape[3])[rows].astype(np.float64)
    height, width = maps.shape[1:3]
    out_height, out_width = -(-height // stride), -(-width // stride)
    image, rest = np.divmod(rows, out_height * out_width)
    down, across = np.divmod(rest, out_width)
    before = [max((out - 1) * stride + taps - size, 0) // 2 for out, size in ((out_height, height), (out_width, width))]
    padded = np.pad(maps, ((0, 0), (before[0], taps), (before[1], taps), (0, 0)))
    return np.stack(
        [padded[image, down * stride + row, across * stride + column] for row in range(taps) for column in range(taps)],
        axis=1,
    ).astype(np.float64)


def _best_limit(kernel: Any, squares: Any) -> float:
    """The grid on which plain rounding does the least harm to the results."""
    largest = float(np.abs(kernel).max())

    def harm(clip: float) -> float:
        step = clip * largest / INT8_LIMIT
        wrong = kernel - np.clip(np.rint(kernel / step), -INT8_LIMIT, INT8_LIMIT) * step
        return float(np.einsum("pto,ptu,puo->", wrong, squares, wrong, optimize=True))

    return largest * float(min(CLIPS, key=harm))


def _passed_on(kernel: Any, squares: Any, step: float) -> Any:
    """[problems, taps, out] on the grid; the most active taps first, each error made up for by the later ones."""
    order = np.argsort(-np.diagonal(squares, axis1=1, axis2=2), axis=1)
    rows = np.arange(len(kernel))[:, None]
    left = kernel[rows, order]
    inverse = np.linalg.inv(squares[rows[:, :, None], order[:, :, None], order[:, None, :]])
    upper = np.linalg.cholesky(inverse).transpose(0, 2, 1)
    result = np.empty_like(left)
    for tap in range(left.shape[1]):
        result[:, tap] = np.clip(np.rint(left[:, tap] / step), -INT8_LIMIT, INT8_LIMIT) * step
        error = (left[:, tap] - result[:, tap]) / upper[:, tap, tap, None]
        left[:, tap + 1 :] -= upper[:, tap, tap + 1 :, None] * error[:, None, :]
    back = np.empty_like(result)
    back[rows, order] = result
    return back
