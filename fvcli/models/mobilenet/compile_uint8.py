"""A network in memory -> the classic .tflite, uint8 in and out, as Google published it."""

from __future__ import annotations

import numpy as np

from fvcli.errors import ModelError
from fvcli.models.mobilenet import graph
from fvcli.models.mobilenet.compile import METADATA, file_kernel, network_record, quantized_parts
from fvcli.models.mobilenet.network import ActivationRange, Layer, MobileNetV1
from fvcli.models.mobilenet.tflite_writer import Quantization, TFLiteWriter


def compile_uint8(network: MobileNetV1) -> bytes:
    """The classic .tflite: uint8 in, uint8 out, one scale and zero point per tensor.

    Ends in the pooled features [n, 1, 1, d], as Google's feature extractor does, or in the classifier's softmax
    [n, classes] where the network has its classifier. Raises ModelError for a plain network.
    """
    if network.input is None:
        raise ModelError("a plain network has no 8-bit ranges, so no uint8 form")
    writer = TFLiteWriter()
    height, width, before = network.input_spec.height, network.input_spec.width, network.input
    images = image = writer.tensor("input", (height, width, 3), np.uint8, per_tensor(before))
    for row, layer in zip(graph.convolutions(network.depth_multiplier), network.layers, strict=True):
        height, width = -(-height // row.stride), -(-width // row.stride)
        image, before = uint8_conv(writer, layer, row, image, (height, width), before)
    channels = network.layers[-1].bias.size
    pooled = writer.tensor("features", (1, 1, channels), np.uint8, per_tensor(before))
    writer.average_pool(image, pooled, height=height, width=width)
    outputs = {"default": pooled}
    if network.logits is not None:
        classes = network.logits.bias.size
        row = graph.classifier(network.depth_multiplier, classes)
        logits, after = uint8_conv(writer, network.logits, row, pooled, (1, 1), before, relu6=False)
        flat = writer.tensor("logits", (classes,), np.uint8, per_tensor(after))
        writer.reshape(logits, flat, shape=(-1, classes))
        probabilities = writer.tensor("probabilities", (classes,), np.uint8, Quantization.per_tensor(1 / 256, 0))
        writer.softmax(flat, probabilities)
        outputs = {"default": probabilities}
    return writer.finish({"images": images}, outputs, {METADATA: network_record(network, "uint8", [])})


def uint8_conv(
    writer: TFLiteWriter,
    layer: Layer,
    row: graph.Convolution,
    image: int,
    size: tuple[int, int],
    before: ActivationRange,
    *,
    relu6: bool = True,
) -> tuple[int, ActivationRange]:
    """One layer with its integers as they are; the tensor it gives, and that tensor's range."""
    weights, bias_codes, after = quantized_parts(layer)
    inputs = [
        image,
        writer.constant(
            f"{layer.name}/weights",
            file_kernel(weights.codes),
            Quantization.per_tensor(weights.scale, weights.zero_point),
        ),
        writer.constant(f"{layer.name}/bias", bias_codes, Quantization.per_tensor(before.scale * weights.scale, 0)),
    ]
    output = writer.tensor(layer.name, (*size, row.channels), np.uint8, per_tensor(after))
    convolve = writer.depthwise_conv if row.depthwise else writer.conv
    convolve(inputs, output, stride=row.stride, relu6=relu6, version=1)
    return output, after


def per_tensor(values: ActivationRange) -> Quantization:
    return Quantization.per_tensor(values.scale, values.zero_point)
