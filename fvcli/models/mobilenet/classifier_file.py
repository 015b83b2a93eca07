"""A network's classifier -> a .tflite of its own, from features to logits."""

from __future__ import annotations

import io
from importlib import resources

import numpy as np

from fvcli.models.mobilenet import graph
from fvcli.models.mobilenet.compile import file_kernel
from fvcli.models.mobilenet.compile_uint8 import per_tensor, uint8_conv
from fvcli.models.mobilenet.network import Layer, MobileNetV1
from fvcli.models.mobilenet.tflite_writer import TFLiteWriter


def compile_classifier(network: MobileNetV1) -> bytes | None:
    """``features`` [1, 1, d] -> ``logits`` [1, 1, classes]; None for a network without its classifier.

    A quantops network's has the integers of its file: uint8 codes in and out, as the classic .tflite computes them.
    """
    logits = network.logits
    if logits is None:
        return None
    last = network.layers[-1]
    if last.output is None or logits.output is None:
        return _float_classifier(logits)
    writer = TFLiteWriter()
    features = writer.tensor("features", (1, 1, last.bias.size), np.uint8, per_tensor(last.output))
    row = graph.classifier(network.depth_multiplier, logits.bias.size)
    result, _ = uint8_conv(writer, logits, row, features, (1, 1), last.output, relu6=False)
    return writer.finish({"features": features}, {"logits": result})


def embedded_classifier() -> bytes:
    """The classifier that ships with the embedded model: Google's float one, its weights kept as float16."""
    stored = (resources.files("fvcli.models") / "embedded" / "classifier.npz").read_bytes()
    with np.load(io.BytesIO(stored), allow_pickle=False) as arrays:
        kernel = arrays["weights"].astype(np.float32)[np.newaxis, np.newaxis]
        return _float_classifier(Layer("Logits/Conv2d_1c_1x1", kernel, arrays["biases"]))


def _float_classifier(logits: Layer) -> bytes:
    dimension, classes = logits.kernel.shape[2:]
    writer = TFLiteWriter()
    features = writer.tensor("features", (1, 1, dimension), np.float32)
    inputs = [
        features,
        writer.constant("weights", file_kernel(logits.kernel)),
        writer.constant("biases", logits.bias),
    ]
    result = writer.tensor("logits", (1, 1, classes), np.float32)
    writer.conv(inputs, result, stride=1, relu6=False, version=1)
    return writer.finish({"features": features}, {"logits": result})
