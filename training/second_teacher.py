"""The second teacher: Google's quantized MobileNet V2 at 224. It has the same 1,001 classes and errs on other images.

It is run in float, with the weights that its codes stand for: results are clipped as in 8 bits, but not rounded. Its
file ends in probabilities, in steps of 1/256. The logits before them say more, so they are the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from training.float_network import convolved

SIZE = 224
OUTPUTS = 1001

OPERATIONS = ("CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "AVERAGE_POOL_2D")
AFTER_LOGITS = ("RESHAPE", "SOFTMAX")


@dataclass(frozen=True, slots=True)
class Step:
    """A convolution, the mean of a map, or the sum of two results.

    inputs, output: numbers of results. least, greatest: where results are clipped. kernel: [out, in, height, width].
    """

    inputs: tuple[int, ...]
    output: int
    least: float
    greatest: float
    kernel: Tensor | None = None
    bias: Tensor | None = None
    stride: int = 1
    depthwise: bool = False


def read_steps(model: Path) -> list[Step]:
    """The steps of a .tflite file up to its last convolution, which gives the logits.

    Raises ValueError for a file with other operations, and for one that is not quantized to uint8.
    """
    from ai_edge_litert import schema_py_generated as schema

    root = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model.read_bytes(), 0))
    graph = root.subgraphs[0]
    names = {number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}
    steps = []
    for operator in graph.operators:
        code = root.operatorCodes[operator.opcodeIndex]
        name = names[max(code.builtinCode, code.deprecatedBuiltinCode)]
        if name in AFTER_LOGITS:
            continue
        if name not in OPERATIONS or graph.tensors[operator.outputs[0]].type != schema.TensorType.UINT8:
            raise ValueError(f"{model}: a second teacher has only {', '.join(OPERATIONS)} of uint8, not this {name}")
        steps.append(_step(name, operator, root))
    return steps


def _step(name: str, operator: Any, root: Any) -> Step:
    tensors = root.subgraphs[0].tensors
    output, inputs = int(operator.outputs[0]), tuple(map(int, operator.inputs))
    scale, zero_point = _grid(tensors[output])
    step = Step(inputs, output, float(scale * (0 - zero_point)), float(scale * (255 - zero_point)))
    if name in ("ADD", "AVERAGE_POOL_2D"):
        return step
    depthwise = name == "DEPTHWISE_CONV_2D"
    kernel = _values(root, tensors[inputs[1]], np.uint8).transpose((3, 0, 1, 2) if depthwise else (0, 3, 1, 2))
    return replace(
        step,
        inputs=inputs[:1],
        kernel=torch.from_numpy(np.ascontiguousarray(kernel)),
        bias=torch.from_numpy(_values(root, tensors[inputs[2]], np.int32)),
        stride=operator.builtinOptions.strideH,
        depthwise=depthwise,
    )


def _grid(tensor: Any) -> tuple[float, int]:
    return float(tensor.quantization.scale[0]), int(tensor.quantization.zeroPoint[0])


def _values(root: Any, tensor: Any, dtype: Any) -> Any:
    codes = np.asarray(root.buffers[tensor.buffer].data, np.uint8).view(dtype).reshape(tensor.shape)
    scale, zero_point = _grid(tensor)
    return ((codes.astype(np.float64) - zero_point) * scale).astype(np.float32)


class SecondTeacher(nn.Module):
    """uint8 [n, 3, 224, 224] -> logits [n, 1001]."""

    def __init__(self, steps: Sequence[Step]) -> None:
        super().__init__()
        self._steps = steps
        self.kernels = nn.ParameterDict({str(i): s.kernel for i, s in enumerate(steps) if s.kernel is not None})
        self.biases = nn.ParameterDict({str(i): s.bias for i, s in enumerate(steps) if s.bias is not None})

    def forward(self, images: Tensor) -> Tensor:
        results = {self._steps[0].inputs[0]: (images.to(memory_format=torch.channels_last).float() - 128) / 128}
        for number, step in enumerate(self._steps):
            given = [results[which] for which in step.inputs]
            if step.kernel is not None:
                kernel, bias = self.kernels[str(number)], self.biases[str(number)]
                made = convolved(given[0], kernel, bias, step.stride, step.depthwise)
            elif len(given) == 2:
                made = given[0] + given[1]
            else:
                made = given[0].mean(dim=(2, 3), keepdim=True)
            results[step.output] = made.clamp(step.least, step.greatest)
        return results[self._steps[-1].output].flatten(1)
