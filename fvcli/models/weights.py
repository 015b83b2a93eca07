"""The one in-memory form of a MobileNet V1: what every reader returns and every engine and writer takes.

Quantisation is the affine scheme of Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference" (2017): real = scale * (code - zero_point).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fvcli.records import Float32Array, InputSpec, UInt8Array


@dataclass(frozen=True, slots=True)
class QuantizedTensor:
    """uint8 codes with one scale and zero point for the whole tensor (how the quantops networks are made)."""

    codes: UInt8Array
    scale: np.float32
    zero_point: int

    def dequantize(self) -> Float32Array:
        """scale * (code - zero_point), float32, the shape of ``codes``."""
        centred = self.codes.astype(np.int32) - self.zero_point
        return self.scale * centred.astype(np.float32)


@dataclass(frozen=True, slots=True)
class ActivationRange:
    """What an 8-bit activation can hold: real = scale * (code - zero_point), code in [0, 255]."""

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
