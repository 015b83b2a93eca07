"""MobileNet V1 (Howard et al., "MobileNets", 2017; arXiv:1704.04861) as a table and one loop.

Layer names and arithmetic are TF-Slim's. BatchNorm is folded into the kernels before it gets here. The quantops form
simulates 8-bit arithmetic as ``tf.contrib.quantize`` does: FakeQuant on the input, on each kernel (per tensor, narrow
range) and after each ReLU6.

TensorFlow is imported only when a network is built or run; the table needs none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from fvcli.models.mobilenet.network import (
    ACTIVATION_CODES,
    WEIGHT_CODES,
    ActivationRange,
    Layer,
    MobileNetV1,
    QuantizedTensor,
    range_limits,
)

Tensor: TypeAlias = Any
"""A tf.Tensor, tf.Variable or NumPy array: TensorFlow's types are not known without importing it."""

MULTIPLIERS: Final = (0.25, 0.5, 0.75, 1.0)
INPUT_SIZES: Final = (128, 160, 192, 224)
CLASSES: Final = 1001
SCOPE: Final = "MobilenetV1"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table: ``separable`` is a depthwise 3x3 of this stride, then a pointwise 1x1."""

    name: str
    separable: bool
    stride: int
    depth: int


TABLE: Final = (
    Row("Conv2d_0", False, 2, 32),
    Row("Conv2d_1", True, 1, 64),
    Row("Conv2d_2", True, 2, 128),
    Row("Conv2d_3", True, 1, 128),
    Row("Conv2d_4", True, 2, 256),
    Row("Conv2d_5", True, 1, 256),
    Row("Conv2d_6", True, 2, 512),
    Row("Conv2d_7", True, 1, 512),
    Row("Conv2d_8", True, 1, 512),
    Row("Conv2d_9", True, 1, 512),
    Row("Conv2d_10", True, 1, 512),
    Row("Conv2d_11", True, 1, 512),
    Row("Conv2d_12", True, 2, 1024),
    Row("Conv2d_13", True, 1, 1024),
)


@dataclass(frozen=True, slots=True)
class Convolution:
    """One of the 27 layers of the body, or the classifier.

    kernel_shape: [height, width, in, out], or [height, width, channels, 1] where depthwise.
    """

    name: str
    kernel_shape: tuple[int, int, int, int]
    stride: int
    depthwise: bool = False

    @property
    def channels(self) -> int:
        """Output channels."""
        return self.kernel_shape[2] if self.depthwise else self.kernel_shape[3]


def convolutions(depth_multiplier: float) -> tuple[Convolution, ...]:
    """The 27 convolutions of the body in order. Depths are multiplied and cut to whole numbers, at least 8."""
    layers = []
    before = 3
    for row in TABLE:
        depth = max(int(row.depth * depth_multiplier), 8)
        if row.separable:
            layers.append(Convolution(f"{row.name}_depthwise", (3, 3, before, 1), row.stride, depthwise=True))
            layers.append(Convolution(f"{row.name}_pointwise", (1, 1, before, depth), 1))
        else:
            layers.append(Convolution(row.name, (3, 3, before, depth), row.stride))
        before = depth
    return tuple(layers)


def classifier(depth_multiplier: float, classes: int = CLASSES) -> Convolution:
    """The layer that turns features into logits."""
    return Convolution("Logits/Conv2d_1c_1x1", (1, 1, feature_dimension(depth_multiplier), classes), 1)


def feature_dimension(depth_multiplier: float) -> int:
    """Length of a feature vector: 256, 512, 768 or 1024."""
    return convolutions(depth_multiplier)[-1].channels


def endpoint_shapes(depth_multiplier: float, height: int, width: int) -> dict[str, tuple[int, int, int]]:
    """Layer name -> (height, width, channels) of its result, by SAME padding: ceil(size / stride)."""
    shapes = {}
    for layer in convolutions(depth_multiplier):
        height, width = -(-height // layer.stride), -(-width // layer.stride)
        shapes[layer.name] = (height, width, layer.channels)
    return shapes


@dataclass(frozen=True, slots=True)
class Span:
    """min and max of a FakeQuant op: scalars, constant or variable."""

    minimum: Tensor
    maximum: Tensor


@dataclass(frozen=True, slots=True)
class LayerTensors:
    """One layer's tensors for the forward pass: NumPy arrays, constants or variables. No spans in a plain network."""

    kernel: Tensor
    bias: Tensor
    weights: Span | None = None
    output: Span | None = None


@dataclass(frozen=True, slots=True)
class NetworkTensors:
    """The tensors of a network for the forward pass; ``layers`` are in the order of :func:`convolutions`."""

    depth_multiplier: float
    layers: Sequence[LayerTensors]
    input: Span | None = None
    logits: LayerTensors | None = None


def network_arrays(network: MobileNetV1) -> NetworkTensors:
    """A network's numbers as the forward pass takes them: float32 arrays and FakeQuant ranges.

    Each range is the one whose scale and zero point FakeQuant takes for those of ``network``.
    """

    return NetworkTensors(
        depth_multiplier=network.depth_multiplier,
        layers=[_layer_arrays(layer) for layer in network.layers],
        input=_span(network.input, ACTIVATION_CODES),
        logits=None if network.logits is None else _layer_arrays(network.logits),
    )


def _layer_arrays(layer: Layer) -> LayerTensors:
    return LayerTensors(
        kernel=layer.kernel,
        bias=layer.bias,
        weights=_span(layer.weights, WEIGHT_CODES),
        output=_span(layer.output, ACTIVATION_CODES),
    )


def _span(values: QuantizedTensor | ActivationRange | None, codes: tuple[int, int]) -> Span | None:
    return None if values is None else Span(*range_limits(values.scale, values.zero_point, codes))


def network_variables(arrays: NetworkTensors) -> NetworkTensors:
    """The numbers as tf.Variables, named as TF-Slim names them: weights, biases and ranges.

    As constants, TensorFlow folds the FakeQuant ops of the weights into other arithmetic; variables stay as they are.
    """
    tf = _tensorflow()

    def variable(value: Tensor, name: str) -> Tensor:
        return tf.Variable(value, trainable=False, dtype=tf.float32, name=name)

    def span(values: Span | None, name: str) -> Span | None:
        return values and Span(variable(values.minimum, f"{name}/min"), variable(values.maximum, f"{name}/max"))

    def layer(values: LayerTensors, shape: Convolution) -> LayerTensors:
        scope = f"{SCOPE}/{shape.name}"
        return LayerTensors(
            kernel=variable(values.kernel, f"{scope}/{'depthwise_weights' if shape.depthwise else 'weights'}"),
            bias=variable(values.bias, f"{scope}/biases"),
            weights=span(values.weights, f"{scope}/weights_quant"),
            output=span(values.output, f"{scope}/act_quant"),
        )

    shapes = convolutions(arrays.depth_multiplier)
    return NetworkTensors(
        depth_multiplier=arrays.depth_multiplier,
        layers=[layer(values, shape) for values, shape in zip(arrays.layers, shapes, strict=True)],
        input=span(arrays.input, f"{SCOPE}/input_quant"),
        logits=arrays.logits and layer(arrays.logits, classifier(arrays.depth_multiplier)),
    )


def all_variables(network: NetworkTensors) -> Iterator[Tensor]:
    """Every tensor of a network once: what a SavedModel or a checkpoint has to hold."""
    spans = [network.input]
    for layer in [*network.layers, *([network.logits] if network.logits else [])]:
        yield layer.kernel
        yield layer.bias
        spans += [layer.weights, layer.output]
    for span in spans:
        if span is not None:
            yield span.minimum
            yield span.maximum


def endpoints(network: NetworkTensors, images: Tensor) -> dict[str, Tensor]:
    """Runs the body on float32 [n, height, width, 3] in [0, 1]; any size of at least 32.

    Returns each layer's result after ReLU6 (and FakeQuant), float32 [n, h, w, channels], by layer name.
    """
    return partial_endpoints(network, fake_quant(images * 2.0 - 1.0, network.input), slice(None))


def partial_endpoints(network: NetworkTensors, x: Tensor, part: slice) -> dict[str, Tensor]:
    """Results of the layers in ``part``, by name, given float32 [n, h, w, channels] of the layer before them."""
    tf = _tensorflow()
    values = {}
    shapes = convolutions(network.depth_multiplier)
    for shape, layer in zip(shapes[part], network.layers[part], strict=True):
        # The closing slash takes the scope as it is; graph readers find the layers by it.
        with tf.name_scope(f"{SCOPE}/{shape.name}/"):
            x = fake_quant(tf.nn.relu6(convolve(x, layer, shape)), layer.output)
        values[shape.name] = x
    return values


def features(network: NetworkTensors, images: Tensor) -> Tensor:
    """float32 [n, height, width, 3] in [0, 1] -> feature vectors float32 [n, d]: the mean over the last map."""
    return pooled(endpoints(network, images)[f"{TABLE[-1].name}_pointwise"])


def pooled(last_map: Tensor) -> Tensor:
    """float32 [n, h, w, d] -> [n, d], the mean in float."""
    return _tensorflow().reduce_mean(last_map, axis=[1, 2])


def logits(network: NetworkTensors, feature_vectors: Tensor) -> Tensor:
    """float32 [n, d] -> [n, classes] through the network's own classifier (which it must have)."""
    tf = _tensorflow()
    if network.logits is None:
        raise ValueError("this network has no classifier")
    shape = classifier(network.depth_multiplier)
    with tf.name_scope(f"{SCOPE}/{shape.name}/"):
        maps = convolve(feature_vectors[:, tf.newaxis, tf.newaxis, :], network.logits, shape)
        maps = fake_quant(maps, network.logits.output)
    return maps[:, 0, 0, :]


def convolve(x: Tensor, layer: LayerTensors, shape: Convolution) -> Tensor:
    """One convolution with SAME padding and its bias, before the activation."""
    tf = _tensorflow()
    kernel = fake_quant(layer.kernel, layer.weights, narrow_range=True)
    operation = tf.nn.depthwise_conv2d if shape.depthwise else tf.nn.conv2d
    strides = [1, shape.stride, shape.stride, 1]
    return tf.nn.bias_add(operation(x, kernel, strides=strides, padding="SAME"), layer.bias)


def fake_quant(x: Tensor, span: Span | None, *, narrow_range: bool = False) -> Tensor:
    """``x`` rounded to 8 bits within ``span``; ``x`` itself where there is none."""
    if span is None:
        return x
    return _tensorflow().quantization.fake_quant_with_min_max_vars(
        x, span.minimum, span.maximum, num_bits=8, narrow_range=narrow_range
    )


def _tensorflow() -> Any:
    from fvcli.models.frameworks import tensorflow

    return tensorflow()
