"""A TF-Slim checkpoint of MobileNet V1 -> the network in memory.

Variables are found by the end of their names (``Conv2d_0/weights``, ``Conv2d_1_depthwise/BatchNorm/gamma``,
``Conv2d_0/act_quant/max``): what stands before differs with how a graph was built. With simulated quantization, a
kernel is first folded with its BatchNorm and then rounded within weights_quant's range, as in training.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fvcli.errors import ModelError, first_line
from fvcli.models.frameworks import tensorflow
from fvcli.models.mobilenet.frozen_graph import PIXEL_CODES
from fvcli.models.mobilenet.graph import MULTIPLIERS, Convolution, classifier, convolutions
from fvcli.models.mobilenet.network import (
    ACTIVATION_CODES,
    ActivationRange,
    BatchNorm,
    FoldedKernel,
    Layer,
    MobileNetV1,
    fold_batch_norm,
    nudged_range,
    pixel_table,
    quantize,
    quantize_bias,
    quantized_layer,
)
from fvcli.records import InputSpec

Variables = Mapping[str, NDArray[Any]]

_VARIABLE: Final = re.compile(
    r"(?:^|/)((?:Logits/Conv2d_1c_1x1|Conv2d_\d+(?:_depthwise|_pointwise)?)"
    r"/(?:weights|depthwise_weights|biases|BatchNorm/\w+|(?:weights|act)_quant/(?:min|max))|input_quant/(?:min|max))$"
)
_SIZE_IN_NAME: Final = re.compile(r"mobilenet_v1_[\d.]+_(\d{3})(?!\d)")


def read_checkpoint(path: Path, image_size: int | None = None) -> MobileNetV1:
    """The network in a checkpoint, given as its prefix (``x.ckpt``) or any of its files (``x.ckpt.index``, ...).

    image_size: height and width of the input in pixels, which a checkpoint does not say; None takes it from a name
    such as mobilenet_v1_1.0_160_quant.ckpt. Raises ModelError, naming the file.
    """
    prefix = checkpoint_prefix(path)
    size = image_size or size_in_name(prefix.name)
    if size is None:
        raise ModelError(
            f"{path}: a checkpoint does not say its image size; add it to the name, as in {path.name}?image-size=160"
        )
    try:
        return network_from_variables(read_variables(prefix), size)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def checkpoint_prefix(path: Path) -> Path:
    """``x.ckpt`` for ``x.ckpt.index``, ``x.ckpt.meta``, ``x.ckpt.data-00000-of-00001`` and itself."""
    return path.with_name(re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", path.name))


def size_in_name(name: str) -> int | None:
    """160 for mobilenet_v1_1.0_160_quant.ckpt."""
    found = _SIZE_IN_NAME.search(name)
    return int(found[1]) if found else None


def network_variable_name(name: str) -> str | None:
    """``Conv2d_0/weights`` for MobilenetV1/Conv2d_0/weights; None for a name that is not one of the network's."""
    found = _VARIABLE.search(name)
    return found[1] if found else None


def read_variables(prefix: Path) -> dict[str, NDArray[Any]]:
    """Every variable of a checkpoint whose name is one of the network's, by the end of its name.

    Raises ModelError if the checkpoint is not there or damaged.
    """
    tf = tensorflow()
    variables = {}
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        for name in reader.get_variable_to_shape_map():
            known = network_variable_name(name)
            if known:
                variables[known] = np.asarray(reader.get_tensor(name))
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        raise ModelError(f"the checkpoint cannot be read ({first_line(error)}); get all of its files again") from error
    return variables


def network_from_variables(variables: Variables, size: int) -> MobileNetV1:
    """The network for images of ``size`` pixels; the names are as :func:`read_variables` gives them.

    BatchNorm may be apart or already folded into ``weights`` and ``biases``. Without a range for the input, Google's
    convention holds: the pixel is the code. Raises ModelError where a variable is missing or has another shape.
    """
    first = _variable(variables, "Conv2d_0/weights")
    multiplier = first.shape[-1] / 32
    if multiplier not in MULTIPLIERS:
        raise ModelError(f"no published MobileNet V1: its first layer has {first.shape[-1]} channels")
    shapes = list(convolutions(multiplier))
    logits = variables.get("Logits/Conv2d_1c_1x1/weights")
    if logits is not None:
        shapes.append(classifier(multiplier, logits.shape[-1]))
    if not any("_quant/" in name for name in variables):
        plain = [_plain_layer(variables, shape) for shape in shapes]
        spec = InputSpec(size, size, value_range=(0.0, 1.0))
        return MobileNetV1(multiplier, spec, tuple(plain[:27]), logits=plain[27] if logits is not None else None)
    start, table = PIXEL_CODES, tuple(range(256))
    if "input_quant/min" in variables:
        start = _range(variables, "input_quant")
        table = pixel_table(start)
    layers, before = [], start
    for shape in shapes:
        layer = _quantized_layer(variables, shape, before)
        layers.append(layer)
        before = layer.output or before
    spec = InputSpec(size, size, pixel_table=table)
    return MobileNetV1(multiplier, spec, tuple(layers[:27]), start, layers[27] if logits is not None else None)


def _plain_layer(variables: Variables, shape: Convolution) -> Layer:
    folded = _folded(variables, shape)
    return Layer(shape.name, folded.kernel, folded.bias)


def _quantized_layer(variables: Variables, shape: Convolution, before: ActivationRange) -> Layer:
    folded = _folded(variables, shape)
    low, high = (float(_variable(variables, f"{shape.name}/weights_quant/{end}")) for end in ("min", "max"))
    weights = quantize(folded.kernel, low, high)
    bias_codes = quantize_bias(folded.bias, before.scale, weights.scale)
    return quantized_layer(shape.name, weights, bias_codes, before, _range(variables, f"{shape.name}/act_quant"))


def _range(variables: Variables, scope: str) -> ActivationRange:
    low, high = (float(_variable(variables, f"{scope}/{end}")) for end in ("min", "max"))
    return nudged_range(low, high, ACTIVATION_CODES)


def _folded(variables: Variables, shape: Convolution) -> FoldedKernel:
    kernel_name = f"{shape.name}/{'depthwise_weights' if shape.depthwise else 'weights'}"
    kernel = _variable(variables, kernel_name).astype(np.float32)
    if kernel.shape != shape.kernel_shape:
        raise ModelError(f"{kernel_name} is {list(kernel.shape)}, MobileNet V1 has {list(shape.kernel_shape)} there")
    if f"{shape.name}/biases" in variables:
        return FoldedKernel(kernel, _variable(variables, f"{shape.name}/biases").astype(np.float32))
    scope = f"{shape.name}/BatchNorm"
    norm = BatchNorm(
        beta=_variable(variables, f"{scope}/beta"),
        mean=_variable(variables, f"{scope}/moving_mean"),
        variance=_variable(variables, f"{scope}/moving_variance"),
        gamma=variables.get(f"{scope}/gamma"),
    )
    return fold_batch_norm(kernel, norm, depthwise=shape.depthwise)


def _variable(variables: Variables, name: str) -> NDArray[Any]:
    try:
        return variables[name]
    except KeyError:
        raise ModelError(
            f"the variable {name} is missing; this is not a whole MobileNet V1 checkpoint, so get it again"
        ) from None
