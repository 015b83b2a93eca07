"""MobileNet V1 as a torch module, in float: the student that is trained, and the teacher."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fvcli.models.mobilenet import graph
from fvcli.models.mobilenet.network import Layer, MobileNetV1
from fvcli.records import Float32Array
from training.student import CEILING

HINT = "Conv2d_11_pointwise"


class FloatNetwork(nn.Module):
    """Parameters of each layer: kernel, a gain for each output channel (first 1), bias.

    The gains take the coarse, cheap adjustments, at their own rate.
    """

    def __init__(self, network: MobileNetV1) -> None:
        super().__init__()
        self.shapes = graph.convolutions(network.depth_multiplier)
        arrays = [torch.from_numpy(to_torch(layer.kernel)) for layer in network.layers]
        self.kernels = nn.ParameterList(array.contiguous(memory_format=torch.channels_last) for array in arrays)
        self.gains = nn.ParameterList(torch.ones(layer.bias.shape) for layer in network.layers)
        self.biases = nn.ParameterList(torch.from_numpy(layer.bias.copy()) for layer in network.layers)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 [n, 3, h, w] -> the inner map [n, 512, h / 16, w / 16] and the last one [n, 1024, h / 32, w / 32]."""
        x = images.to(torch.float32, memory_format=torch.channels_last) / 127.5 - 1
        hint = x
        for shape, kernel, gain, bias in zip(self.shapes, self.kernels, self.gains, self.biases, strict=True):
            x = convolved(x, kernel * gain[:, None, None, None], bias, shape.stride, shape.depthwise).clamp(0, CEILING)
            if shape.name == HINT:
                hint = x
        return hint, x

    def layers(self) -> tuple[Layer, ...]:
        """The layers as they are now, in TensorFlow's layout, gains multiplied in."""
        parts = zip(self.shapes, self.kernels, self.gains, self.biases, strict=True)
        return tuple(
            Layer(shape.name, to_tensorflow(kernel * gain[:, None, None, None], shape.depthwise), host(bias))
            for shape, kernel, gain, bias in parts
        )


def convolved(x: Tensor, kernel: Tensor, bias: Tensor, stride: int, depthwise: bool) -> Tensor:
    """The convolution with TensorFlow's SAME padding, for 1x1 and 3x3 kernels and, with a stride, even sizes."""
    size = kernel.shape[2]
    if stride == 2 and size == 3:
        x, padding = functional.pad(x, (0, 1, 0, 1)), 0
    else:
        padding = size // 2
    return functional.conv2d(x, kernel, bias, stride, padding, groups=x.shape[1] if depthwise else 1)


def to_torch(kernel: Float32Array) -> Float32Array:
    """[height, width, in, out] -> [out, in, height, width]; where out is 1, [in, out, height, width]."""
    depthwise = kernel.shape[3] == 1
    return np.ascontiguousarray(kernel.transpose((2, 3, 0, 1) if depthwise else (3, 2, 0, 1)))


def to_tensorflow(kernel: Tensor, depthwise: bool) -> Float32Array:
    """The reverse of :func:`to_torch`."""
    return np.ascontiguousarray(host(kernel).transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0)))


def host(tensor: Tensor) -> Any:
    """The tensor as an array."""
    return tensor.detach().float().cpu().numpy()
