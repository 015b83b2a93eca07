"""Reads a frozen GraphDef (.pb) of MobileNet V1: plain, or instrumented by ``tf.contrib.quantize``.

The graph is walked from each convolution: what feeds its kernel (BatchNorm's multiplier, FakeQuant) and what follows
it, down to the ReLU6 and its FakeQuant. Only the scopes of the convolutions are TF-Slim's names; BatchNorm may be one
op or taken apart, and ranges are read from the inputs of the FakeQuant ops that the walk meets.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

from fvcli.errors import ModelError
from fvcli.models.frameworks import tensorflow
from fvcli.models.mobilenet.graph import MULTIPLIERS, TABLE, Convolution, classifier, convolutions
from fvcli.models.mobilenet.network import (
    ACTIVATION_CODES,
    WEIGHT_CODES,
    ActivationRange,
    Layer,
    MobileNetV1,
    nudged_range,
    pixel_table,
    quantize,
    quantize_bias,
    quantized_layer,
)
from fvcli.models.mobilenet.network_file import read_network
from fvcli.records import Float32Array, InputSpec

Node: TypeAlias = Any
"""A NodeDef, of the protobuf classes that TensorFlow ships."""

PIXEL_CODES: Final = ActivationRange(np.float32(1 / 128), 128)
"""The input of Google's quantized graphs without FakeQuant on it: (pixel - 128) / 128, the pixel as it stands."""

_SCOPE: Final = re.compile(r"(Logits/Conv2d_1c_1x1|Conv2d_\d+(?:_depthwise|_pointwise)?)/")
_SCOPE_DEPTHWISE: Final = re.compile(r"Conv2d_\d+_depthwise/")
_LOGITS: Final = "Logits/Conv2d_1c_1x1"
_CONVOLUTIONS: Final = ("Conv2D", "DepthwiseConv2dNative")
_PASS: Final = ("Identity", "StopGradient", "CheckNumerics")
_FAKE_QUANT: Final = "FakeQuantWithMinMaxVars"
_BATCH_NORMS: Final = ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
_ACTIVATIONS: Final = ("Relu6", "Relu", "Sigmoid", "Tanh", "Elu")
_ONWARDS: Final = ("Add", "AddV2", "BiasAdd", "Mul", "Squeeze", *_BATCH_NORMS, *_PASS, *_ACTIVATIONS, _FAKE_QUANT)
_ARITHMETIC: Final[dict[str, Callable[..., Any]]] = {
    "Add": np.add,
    "AddV2": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "RealDiv": np.divide,
    "Rsqrt": lambda x: np.float32(1) / np.sqrt(x),
    "Sqrt": np.sqrt,
    "Reshape": np.reshape,
}


def read_frozen_graph(path: Path) -> MobileNetV1:
    """A frozen graph's network, with its classifier where the graph has one.

    Raises ModelError, naming the file, when it is no GraphDef, no MobileNet V1, or a layer is missing or damaged.
    """
    return read_network(path, parse_frozen_graph)


def parse_frozen_graph(data: bytes) -> MobileNetV1:
    """Reads a network as :func:`read_frozen_graph` does, from a serialized GraphDef."""
    try:
        return _Graph(_nodes(data)).network()
    except (ValueError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise ModelError(f"the graph is damaged: {error}; get the file again") from error


def _nodes(data: bytes) -> list[Node]:
    tensorflow()  # its messages are filtered, and a missing package is named
    from google.protobuf.message import DecodeError
    from tensorflow.core.framework import graph_pb2

    graph = graph_pb2.GraphDef()
    try:
        graph.ParseFromString(data)
    except DecodeError as error:
        raise ModelError("not a frozen TensorFlow graph (GraphDef), or cut short; get the file again") from error
    if not graph.node:
        raise ModelError("not a frozen TensorFlow graph (GraphDef): it has no nodes")
    return list(graph.node)


@dataclass(frozen=True, slots=True)
class _Found:
    """A convolution as the walk found it: kernel and bias with BatchNorm folded in, and FakeQuant's (min, max)."""

    kernel: Float32Array
    bias: Float32Array
    weights: tuple[float, float] | None
    output: tuple[float, float] | None
    activation: str | None


class _Graph:
    """One GraphDef, indexed for walking up (inputs) and down (consumers)."""

    def __init__(self, nodes: list[Node]) -> None:
        self._nodes = {node.name: node for node in nodes}
        self._consumers: dict[str, list[Node]] = defaultdict(list)
        for node in nodes:
            for source in node.input:
                self._consumers[_node_name(source)].append(node)

    def network(self) -> MobileNetV1:
        found: dict[str, Node] = {}
        for node in self._nodes.values():
            scope = _SCOPE.search(node.name)
            if node.op in _CONVOLUTIONS and scope:
                found[scope[1]] = node
        start = found.get("Conv2d_0")
        if start is None:
            raise ModelError("no MobileNet V1: the graph has no convolution in a scope Conv2d_0")
        channels = self._layer(start).kernel.shape[-1]
        multiplier = channels / TABLE[0].depth
        if multiplier not in MULTIPLIERS:
            raise ModelError(f"no published MobileNet V1: its first layer has {channels} channels")
        layers = {}
        for shape in convolutions(multiplier):
            if shape.name not in found:
                raise ModelError(f"no whole MobileNet V1: the graph has no convolution {shape.name}")
            layers[shape.name] = _checked(self._layer(found[shape.name]), shape, activation="Relu6")
        logits = None
        if _LOGITS in found:
            end = self._layer(found[_LOGITS])
            logits = _checked(end, classifier(multiplier, end.bias.size), activation=None)
        size = self._input_size(start)
        if all(layer.weights is None and layer.output is None for layer in layers.values()):
            return MobileNetV1(
                multiplier,
                InputSpec(*size, value_range=(0.0, 1.0)),
                tuple(Layer(name, layer.kernel, layer.bias) for name, layer in layers.items()),
                logits=None if logits is None else Layer(_LOGITS, logits.kernel, logits.bias),
            )
        return _quantized_network(multiplier, size, layers, logits, self._through_fake_quant(start.input[0])[1])

    def _layer(self, node: Node) -> _Found:
        """Walks from a convolution to its last op: y = relu6(scale * convolution + shift), then FakeQuant."""
        source, weights = self._through_fake_quant(node.input[1], narrow=True)
        kernel = self._value(source)
        scale: Float32Array | None = None
        shift = np.zeros(1, np.float32)
        activation = None
        for following in self._onwards(node):
            node = following
            if node.op in ("BiasAdd", "Add", "AddV2"):
                shift = shift + self._other(node)
            elif node.op == "Mul":
                factor = self._other(node)
                scale = factor if scale is None else scale * factor
                shift = shift * factor
            elif node.op in _BATCH_NORMS:
                gamma, beta, mean, variance = (self._value(name) for name in node.input[1:5])
                factor = gamma / np.sqrt(variance + np.float32(node.attr["epsilon"].f))
                scale = factor if scale is None else scale * factor
                shift = shift * factor + (beta - mean * factor)
            elif node.op in _ACTIVATIONS:
                activation = node.op
        depthwise = kernel.ndim == 4 and _SCOPE_DEPTHWISE.search(node.name) is not None
        if scale is not None:
            if weights is not None:
                raise ModelError(f"{node.name}: BatchNorm is not folded into the quantized kernel")
            kernel = kernel * (scale.reshape(-1, 1) if depthwise else scale.reshape(-1))
        bias = np.broadcast_to(shift.reshape(-1), (kernel.shape[2 if depthwise else 3],))
        return _Found(
            kernel=kernel.astype(np.float32),
            bias=bias.astype(np.float32),
            weights=weights,
            output=self._range(node) if node.op == _FAKE_QUANT else None,
            activation=activation,
        )

    def _through_fake_quant(self, source: str, *, narrow: bool = False) -> tuple[str, tuple[float, float] | None]:
        """Up through ops that change nothing: the FakeQuant's input and range there, or the op itself and None."""
        node = self._node(source)
        for _ in self._nodes:
            if node.op not in _PASS:
                break
            node = self._node(node.input[0])
        return (node.input[0], self._range(node, narrow=narrow)) if node.op == _FAKE_QUANT else (node.name, None)

    def _range(self, node: Node, *, narrow: bool = False) -> tuple[float, float]:
        if node.attr["narrow_range"].b != narrow:
            raise ModelError(f"{node.name} is {'not ' if narrow else ''}quantized in the narrow range")
        if node.attr["num_bits"].i not in (0, 8):
            raise ModelError(f"{node.name} simulates {node.attr['num_bits'].i} bits, not 8")
        return float(self._value(node.input[1])), float(self._value(node.input[2]))

    def _onwards(self, node: Node) -> Iterator[Node]:
        """The ops that take a convolution's result on, one after the other, up to the FakeQuant or the next fork.

        Ops that only watch the result (summaries, outputs) do not count as a fork.
        """
        for _ in self._nodes:  # no longer than the graph: a damaged one may have cycles
            following = [consumer for consumer in self._consumers[node.name] if consumer.op in _ONWARDS]
            if node.op == _FAKE_QUANT or len(following) != 1:
                return
            node = following[0]
            if node.op not in _PASS:
                yield node

    def _other(self, node: Node) -> Float32Array:
        """The constant side of an op whose other side is the signal."""
        for source in node.input[:2]:
            try:
                return np.asarray(self._value(source), np.float32)
            except _NotConstantError:
                continue
        raise ModelError(f"{node.name} has no constant to add or multiply by; this graph is not frozen")

    def _value(self, source: str) -> Any:
        """The value of a constant expression. Raises _NotConstantError where it depends on the image."""
        from tensorflow.python.framework.tensor_util import MakeNdarray

        node = self._node(source)
        if node.op == "Const":
            return MakeNdarray(node.attr["value"].tensor)
        if node.op in _PASS:
            return self._value(node.input[0])
        if node.op in _ARITHMETIC:
            return _ARITHMETIC[node.op](*(self._value(name) for name in node.input))
        raise _NotConstantError(f"{node.name} ({node.op}) is not a constant; this graph is not frozen")

    def _node(self, source: str) -> Node:
        try:
            return self._nodes[_node_name(source)]
        except KeyError:
            raise ModelError(f"node {source} is missing from the graph; get the file again") from None

    def _input_size(self, first: Node) -> tuple[int, int]:
        """From the placeholder's shape, or from the pooling that takes the whole last map (1/32 of the image)."""
        node = first
        for _ in self._nodes:
            if not node.input:
                break
            node = self._node(node.input[0])
        sizes = [dimension.size for dimension in node.attr["shape"].shape.dim]
        if len(sizes) == 4 and sizes[1] > 0 and sizes[2] > 0:
            return sizes[1], sizes[2]
        for pool in self._nodes.values():
            if pool.op == "AvgPool":
                window = pool.attr["ksize"].list.i
                return window[1] * 32, window[2] * 32
        raise ModelError("the graph does not say its input size")


class _NotConstantError(ModelError):
    """Part of an expression is the image itself."""


def _node_name(source: str) -> str:
    return source.removeprefix("^").split(":")[0]


def _checked(found: _Found, shape: Convolution, *, activation: str | None) -> _Found:
    if found.kernel.shape != shape.kernel_shape:
        raise ModelError(f"{shape.name} has a kernel of shape {found.kernel.shape}, not {shape.kernel_shape}")
    if found.activation != activation:
        raise ModelError(f"{shape.name} ends in {found.activation or 'no activation'}, not {activation or 'none'}")
    if not (np.isfinite(found.kernel).all() and np.isfinite(found.bias).all()):
        raise ModelError(f"{shape.name} holds numbers that are not finite; the file is damaged")
    return found


def _quantized_network(
    multiplier: float,
    size: tuple[int, int],
    found: dict[str, _Found],
    logits: _Found | None,
    input_limits: tuple[float, float] | None,
) -> MobileNetV1:
    start = PIXEL_CODES if input_limits is None else nudged_range(*input_limits, ACTIVATION_CODES)
    table = tuple(range(256)) if input_limits is None else pixel_table(start)
    before = start
    layers = []
    for name, one in found.items():
        layer = _quantized_layer(name, one, before)
        before = layer.output or before
        layers.append(layer)
    end = None if logits is None else _quantized_layer(_LOGITS, logits, before)
    return MobileNetV1(multiplier, InputSpec(*size, pixel_table=table), tuple(layers), start, end)


def _quantized_layer(name: str, found: _Found, before: ActivationRange) -> Layer:
    if found.weights is None or found.output is None:
        raise ModelError(f"{name} has no FakeQuant on its {'kernel' if found.weights is None else 'result'}")
    weights = quantize(found.kernel, *found.weights, WEIGHT_CODES)
    bias_codes = quantize_bias(found.bias, before.scale, weights.scale)
    return quantized_layer(name, weights, bias_codes, before, nudged_range(*found.output, ACTIVATION_CODES))
