"""Networks for tests: random weights of the right shapes, so that readers and writers need no files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from fvcli.models.mobilenet.graph import classifier, convolutions
from fvcli.models.mobilenet.network import (
    ACTIVATION_CODES,
    Layer,
    MobileNetV1,
    nudged_range,
    pixel_table,
    quantize,
    quantize_bias,
    quantized_layer,
)
from fvcli.records import InputSpec

GOOGLE_FILES = {
    "mobilenet_v1_0.25_128_quant": (0.25, 128, 2702),
    "mobilenet_v1_0.5_160_quant": (0.5, 160, 5435),
    "mobilenet_v1_0.75_192_quant": (0.75, 192, 8168),
    "mobilenet_v1_1.0_224_quant_embedding_extractor": (1.0, 224, 10907),
}
"""File -> multiplier, size, channels that stay exact in int8."""


def quantops_network(size: int = 128, multiplier: float = 0.25, *, seed: int = 1, logits: bool = True) -> MobileNetV1:
    """A quantops network with lively activations; some channels reach beyond 127 codes from the zero point."""
    generator = np.random.default_rng(seed)
    module_input = nudged_range(-1.0005, 1.0005, ACTIVATION_CODES)
    before = module_input
    layers = []
    shapes = [*convolutions(multiplier), classifier(multiplier)]
    for shape in shapes:
        fan_in = np.prod(shape.kernel_shape[:2]) if shape.depthwise else np.prod(shape.kernel_shape[:3])
        kernel = generator.normal(0.05 / fan_in, 1.6 / np.sqrt(fan_in), shape.kernel_shape).astype(np.float32)
        weights = quantize(kernel, float(kernel.min()), float(kernel.max()))
        bias = generator.normal(0.3, 0.3, shape.channels).astype(np.float32)
        last = shape is shapes[-1]
        output = nudged_range(-11.0, 13.0, ACTIVATION_CODES) if last else nudged_range(0.0, 6.0, ACTIVATION_CODES)
        codes = quantize_bias(bias, before.scale, weights.scale)
        layers.append(quantized_layer(shape.name, weights, codes, before, output))
        before = output
    spec = InputSpec(size, size, pixel_table=pixel_table(module_input))
    return MobileNetV1(multiplier, spec, tuple(layers[:27]), module_input, layers[27] if logits else None)


def plain_network(size: int = 128, multiplier: float = 0.25, *, seed: int = 1) -> MobileNetV1:
    """A network of these shapes without 8-bit forms."""
    network = quantops_network(size, multiplier, seed=seed)
    assert network.logits is not None
    layers = [Layer(layer.name, layer.kernel, layer.bias) for layer in (*network.layers, network.logits)]
    spec = InputSpec(size, size, value_range=(0.0, 1.0))
    return replace(network, input_spec=spec, layers=tuple(layers[:27]), input=None, logits=layers[27])


def random_images(count: int, size: int, seed: int = 3) -> np.ndarray:
    """uint8 [count, size, size, 3]: coarse blocks and fine noise."""
    generator = np.random.default_rng(seed)
    blocks = generator.integers(0, 256, (count, 8, 8, 3)).repeat(-(-size // 8), 1).repeat(-(-size // 8), 2)
    noise = generator.integers(-40, 41, (count, size, size, 3))
    images: np.ndarray = np.clip(blocks[:, :size, :size] + noise, 0, 255).astype(np.uint8)
    return images


def litert_rows(path: Path, images: np.ndarray) -> np.ndarray:
    """The results of a file for uint8 images as they are, run by LiteRT itself."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    rows = []
    for image in images:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[np.newaxis])
        interpreter.invoke()
        rows.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0])
    return np.stack(rows)
