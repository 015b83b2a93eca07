"""Writes .tflite files through the flatbuffer schema that LiteRT ships.

Format: https://github.com/google-ai-edge/LiteRT/blob/main/tflite/converter/schema/schema.fbs (identifier TFL3,
version 3). The same calls give the same bytes, and nothing is rounded, fused or re-ordered on the way: what a caller
puts in is what the file holds. That is why fvcli compiles without TensorFlow's converter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import ArrayLike, NDArray

from fvcli.models.tflite_metadata import IDENTIFIER

Padding = Literal["SAME", "VALID"]

_TYPES = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.uint8): schema.TensorType.UINT8,
    np.dtype(np.int8): schema.TensorType.INT8,
}
_PADDING = {"SAME": schema.Padding.SAME, "VALID": schema.Padding.VALID}


@dataclass(frozen=True, slots=True)
class Quantization:
    """real = scale * (code - zero_point), one pair for each slice along ``axis`` (or one pair in all)."""

    scales: NDArray[np.float32]
    zero_points: NDArray[np.int64]
    axis: int = 0

    @classmethod
    def per_tensor(cls, scale: float | np.float32, zero_point: int) -> Quantization:
        return cls(np.array([scale], np.float32), np.array([zero_point], np.int64))

    @classmethod
    def per_channel(cls, scales: ArrayLike, axis: int) -> Quantization:
        """Symmetric: every zero point is 0, as LiteRT's int8 kernels require."""
        values = np.asarray(scales, np.float32)
        return cls(values, np.zeros(values.shape, np.int64), axis)


class TFLiteWriter:
    """Builds a model of one subgraph. Tensors are named by the number that ``tensor`` or ``constant`` returns.

    The first dimension of every tensor given to ``tensor`` is the batch: 1 in the file, free at run time.
    """

    def __init__(self) -> None:
        self._model = schema.ModelT()
        self._model.version = 3
        self._model.description = "fvcli"
        # Buffer 0 is empty by convention: tensors without data point at it.
        self._model.buffers = [schema.BufferT()]
        self._model.operatorCodes = []
        self._graph = schema.SubGraphT()
        self._graph.name = "main"
        self._graph.tensors = []
        self._graph.operators = []
        self._model.subgraphs = [self._graph]

    def tensor(
        self, name: str, shape: Sequence[int], dtype: type[np.generic], quantization: Quantization | None = None
    ) -> int:
        """A tensor that is computed: ``shape`` is that of one image, without the batch."""
        tensor = self._tensor(name, (1, *shape), np.dtype(dtype), quantization)
        tensor.shapeSignature = [-1, *shape]
        return len(self._graph.tensors) - 1

    def constant(self, name: str, values: NDArray[Any], quantization: Quantization | None = None) -> int:
        """A tensor whose values are in the file."""
        tensor = self._tensor(name, values.shape, values.dtype, quantization)
        tensor.buffer = self._buffer(np.ascontiguousarray(values).tobytes())
        return len(self._graph.tensors) - 1

    def conv(self, inputs: Sequence[int], output: int, *, stride: int, relu6: bool, version: int) -> None:
        """CONV_2D: inputs are image, weights [out, h, w, in] and bias. Padding is SAME."""
        options = schema.Conv2DOptionsT()
        options.padding, options.strideH, options.strideW = _PADDING["SAME"], stride, stride
        options.fusedActivationFunction = _activation(relu6)
        self._operator("CONV_2D", inputs, output, version, schema.BuiltinOptions.Conv2DOptions, options)

    def depthwise_conv(self, inputs: Sequence[int], output: int, *, stride: int, relu6: bool, version: int) -> None:
        """DEPTHWISE_CONV_2D: inputs are image, weights [1, h, w, channels] and bias. Padding is SAME."""
        options = schema.DepthwiseConv2DOptionsT()
        options.padding, options.strideH, options.strideW = _PADDING["SAME"], stride, stride
        options.depthMultiplier = 1
        options.fusedActivationFunction = _activation(relu6)
        self._operator(
            "DEPTHWISE_CONV_2D", inputs, output, version, schema.BuiltinOptions.DepthwiseConv2DOptions, options
        )

    def fully_connected(self, inputs: Sequence[int], output: int) -> None:
        """FULLY_CONNECTED of int8: inputs are values, weights [out, in] and bias."""
        options = schema.FullyConnectedOptionsT()
        self._operator("FULLY_CONNECTED", inputs, output, 4, schema.BuiltinOptions.FullyConnectedOptions, options)

    def average_pool(self, image: int, output: int, *, height: int, width: int) -> None:
        """AVERAGE_POOL_2D of the whole map, without padding."""
        options = schema.Pool2DOptionsT()
        options.padding, options.strideH, options.strideW = _PADDING["VALID"], 2, 2
        options.filterHeight, options.filterWidth = height, width
        self._operator("AVERAGE_POOL_2D", [image], output, 1, schema.BuiltinOptions.Pool2DOptions, options)

    def mean(self, image: int, output: int, *, axes: Sequence[int]) -> None:
        """MEAN over ``axes``, which disappear."""
        axis = self.constant("axes", np.array(axes, np.int32))
        options = schema.ReducerOptionsT()
        self._operator("MEAN", [image, axis], output, 1, schema.BuiltinOptions.ReducerOptions, options)

    def arithmetic(self, kind: Literal["MUL", "SUB"], values: int, constant: float, output: int) -> None:
        """values * constant, or values - constant, in float32."""
        operand = self.constant(f"{constant:g}", np.array([constant], np.float32))
        options = schema.MulOptionsT() if kind == "MUL" else schema.SubOptionsT()
        options_type = schema.BuiltinOptions.MulOptions if kind == "MUL" else schema.BuiltinOptions.SubOptions
        self._operator(kind, [values, operand], output, 1, options_type, options)

    def quantize(self, values: int, output: int) -> None:
        """QUANTIZE: from float32 or an integer type to an integer type."""
        self._operator(
            "QUANTIZE", [values], output, 1, schema.BuiltinOptions.QuantizeOptions, schema.QuantizeOptionsT()
        )

    def dequantize(self, values: int, output: int) -> None:
        """DEQUANTIZE: int8 or uint8 to float32."""
        options = schema.DequantizeOptionsT()
        self._operator("DEQUANTIZE", [values], output, 2, schema.BuiltinOptions.DequantizeOptions, options)

    def reshape(self, values: int, output: int, *, shape: Sequence[int]) -> None:
        """RESHAPE; -1 stands for the batch."""
        target = self.constant("shape", np.array(shape, np.int32))
        self._operator("RESHAPE", [values, target], output, 1)

    def softmax(self, values: int, output: int) -> None:
        """SOFTMAX over the last axis."""
        options = schema.SoftmaxOptionsT()
        options.beta = 1.0
        self._operator("SOFTMAX", [values], output, 1, schema.BuiltinOptions.SoftmaxOptions, options)

    def finish(
        self, inputs: Mapping[str, int], outputs: Mapping[str, int], metadata: Mapping[str, bytes] | None = None
    ) -> bytes:
        """The file. ``inputs`` and ``outputs`` are the names of the signature ``serving_default``."""
        self._graph.inputs = list(inputs.values())
        self._graph.outputs = list(outputs.values())
        signature = schema.SignatureDefT()
        signature.signatureKey = "serving_default"
        signature.inputs = [_tensor_map(name, index) for name, index in inputs.items()]
        signature.outputs = [_tensor_map(name, index) for name, index in outputs.items()]
        self._model.signatureDefs = [signature]
        self._model.metadata = []
        for name, value in (metadata or {}).items():
            entry = schema.MetadataT()
            entry.name, entry.buffer = name, self._buffer(value)
            self._model.metadata.append(entry)
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(self._model.Pack(builder), IDENTIFIER)
        return bytes(builder.Output())

    def _tensor(self, name: str, shape: Sequence[int], dtype: np.dtype[Any], quantization: Quantization | None) -> Any:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name, list(shape), _TYPES[dtype], 0
        tensor.hasRank = True
        if quantization is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = quantization.scales
            tensor.quantization.zeroPoint = quantization.zero_points
            tensor.quantization.quantizedDimension = quantization.axis
        self._graph.tensors.append(tensor)
        return tensor

    def _buffer(self, data: bytes) -> int:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(data, np.uint8)
        self._model.buffers.append(buffer)
        return len(self._model.buffers) - 1

    def _operator(
        self, name: str, inputs: Sequence[int], output: int, version: int, options_type: int = 0, options: Any = None
    ) -> None:
        operator = schema.OperatorT()
        operator.opcodeIndex = self._opcode(getattr(schema.BuiltinOperator, name), version)
        operator.inputs, operator.outputs = list(inputs), [output]
        operator.builtinOptionsType, operator.builtinOptions = options_type, options
        self._graph.operators.append(operator)

    def _opcode(self, builtin: int, version: int) -> int:
        for index, code in enumerate(self._model.operatorCodes):
            if (code.builtinCode, code.version) == (builtin, version):
                return index
        code = schema.OperatorCodeT()
        # Readers from before 2021 know the first field alone, which ends at 127.
        code.deprecatedBuiltinCode, code.builtinCode, code.version = min(builtin, 127), builtin, version
        self._model.operatorCodes.append(code)
        return len(self._model.operatorCodes) - 1


def _activation(relu6: bool) -> int:
    kind = schema.ActivationFunctionType
    return int(kind.RELU6 if relu6 else kind.NONE)


def _tensor_map(name: str, index: int) -> Any:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name, index
    return entry
