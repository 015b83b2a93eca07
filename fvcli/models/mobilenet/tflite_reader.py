"""A .tflite of MobileNet V1 -> the network in memory.

Takes Google's uint8 files (whole, or ending at the pooled features), its float32 ones, and all that fvcli writes.
Format: see :mod:`fvcli.models.mobilenet.tflite_writer`.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from fvcli.errors import ModelError
from fvcli.models.mobilenet.compile import METADATA, METADATA_ROUNDED, SHIFT
from fvcli.models.mobilenet.graph import MULTIPLIERS, Convolution, classifier, convolutions
from fvcli.models.mobilenet.network import (
    ActivationRange,
    Layer,
    MobileNetV1,
    QuantizedTensor,
    quantized_layer,
)
from fvcli.models.mobilenet.network_file import OtherNetworkError, read_network
from fvcli.models.model_card import input_spec_from_json
from fvcli.models.tflite_metadata import IDENTIFIER
from fvcli.records import InputSpec

PIXEL_IS_CODE: Final = tuple(range(256))

_TYPES: Final[dict[int, np.dtype[Any]]] = {
    schema.TensorType.FLOAT32: np.dtype("<f4"),
    schema.TensorType.INT32: np.dtype("<i4"),
    schema.TensorType.UINT8: np.dtype(np.uint8),
    schema.TensorType.INT8: np.dtype(np.int8),
}
_CONVOLUTIONS: Final = ("CONV_2D", "DEPTHWISE_CONV_2D")
_OPERATORS: Final[dict[int, str]] = {
    getattr(schema.BuiltinOperator, name): name for name in vars(schema.BuiltinOperator) if not name.startswith("_")
}


def read_tflite(path: Path) -> MobileNetV1:
    """The network in a .tflite file, with its classifier where it has one.

    In Google's uint8 files the pixel is the input code as it stands. Raises OtherNetworkError for a sound file of
    another network, ModelError for one that is damaged; both name the file.
    """
    return read_network(path, parse_tflite)


def parse_tflite(data: bytes) -> MobileNetV1:
    """Reads a network as :func:`read_tflite` does, from the file's bytes."""
    if data[4:8] != IDENTIFIER:
        raise ModelError("not a .tflite file (no TFL3 mark); give a model file, or get it again")
    try:
        file = _File(schema.ModelT.InitFromPackedBuf(data, 0))
        return file.network()
    except _DAMAGE as error:
        raise ModelError("the .tflite file is damaged or cut short; get it again") from error


@dataclass(frozen=True, slots=True)
class _Convolution:
    """One convolution operator: its tensors, by number."""

    image: int
    weights: int
    bias: int
    output: int
    depthwise: bool
    stride: int


_DAMAGE: Final = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError, struct.error)

_Layers: TypeAlias = list[tuple[_Convolution, Convolution]]


class _File:
    """A parsed file of one subgraph."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._graph = model.subgraphs[0]
        self._metadata = {
            entry.name.decode(): bytes(model.buffers[entry.buffer].data) for entry in model.metadata or []
        }

    def network(self) -> MobileNetV1:
        try:
            multiplier, layers = self._layers()
        except _DAMAGE as error:
            raise OtherNetworkError(f"no MobileNet V1 ({error!r})") from error
        first = self._graph.tensors[self._graph.inputs[0]]
        height, width = (int(size) for size in first.shape[1:3])
        spec = InputSpec(height, width, pixel_table=PIXEL_IS_CODE)
        if METADATA in self._metadata:
            return self._own(json.loads(self._metadata[METADATA]), multiplier, layers)
        if first.type == schema.TensorType.FLOAT32:
            # Google's float files take what the network does, (pixel - 127.5) / 127.5: here, [0, 1] comes first.
            return self._plain(replace(spec, pixel_table=None, value_range=(0.0, 1.0)), multiplier, layers)
        return self._uint8(spec, multiplier, layers)

    def _layers(self) -> tuple[float, _Layers]:
        """The depth multiplier, and each convolution beside the one that MobileNet V1 has there."""
        chain = self._chain()
        shape = [int(size) for size in self._graph.tensors[self._graph.inputs[0]].shape]
        if len(shape) != 4 or shape[3] != 3:
            raise OtherNetworkError(f"takes an input of shape {shape}, not images [n, height, width, 3]")
        body = chain[:27]
        if len(body) < 27 or len(chain) > 28:
            raise OtherNetworkError(f"has {len(chain)} convolutions, not MobileNet V1's 27 or 28")
        multiplier = self._weights(body[26]).shape[3] / 1024
        if multiplier not in MULTIPLIERS:
            raise OtherNetworkError(f"no published MobileNet V1: it ends in {multiplier * 1024:g} channels")
        shapes = list(convolutions(multiplier))
        if len(chain) == 28:
            shapes.append(classifier(multiplier, self._weights(chain[27]).shape[3]))
        layers = list(zip(chain, shapes, strict=True))
        for found, expected in layers:
            self._check(found, expected)
        return multiplier, layers

    def _plain(self, spec: InputSpec, multiplier: float, found: _Layers) -> MobileNetV1:
        layers = [
            Layer(shape.name, np.ascontiguousarray(self._weights(each), np.float32), self._values(each.bias))
            for each, shape in found
        ]
        return MobileNetV1(multiplier, spec, tuple(layers[:27]), logits=layers[27] if len(layers) > 27 else None)

    def _uint8(self, spec: InputSpec, multiplier: float, found: _Layers) -> MobileNetV1:
        if any(self._graph.tensors[each.weights].type != schema.TensorType.UINT8 for each, _ in found):
            raise OtherNetworkError(
                "an int8 file that fvcli did not write: the numbers of the quantops network are no longer in it"
            )
        layers = []
        for each, shape in found:
            codes, weights = np.ascontiguousarray(self._weights(each)), self._range(each.weights)
            quantized = QuantizedTensor(codes, weights.scale, weights.zero_point)
            before, after = self._range(each.image), self._range(each.output)
            layers.append(quantized_layer(shape.name, quantized, self._values(each.bias), before, after))
        start = self._range(found[0][0].image)
        return MobileNetV1(multiplier, spec, tuple(layers[:27]), start, layers[27] if len(layers) > 27 else None)

    def _own(self, record: Mapping[str, Any], multiplier: float, found: _Layers) -> MobileNetV1:
        """A file that fvcli wrote; its metadata says what the operators do not."""
        spec = input_spec_from_json(record["input_spec"])
        if record["form"] == "float":
            network = self._plain(spec, multiplier, found)
        elif record["form"] == "uint8":
            network = self._uint8(spec, multiplier, found)
        else:
            network = self._int8(spec, multiplier, found, record["layers"])
        if network.identity != record["identity"]:
            raise ModelError("damaged: its numbers are not those it was written with; export it again")
        return network

    def _int8(
        self, spec: InputSpec, multiplier: float, found: _Layers, records: list[Mapping[str, Any]]
    ) -> MobileNetV1:
        rounded = np.frombuffer(self._metadata[METADATA_ROUNDED], np.uint8)
        start = before = self._shifted_range(found[0][0].image)
        layers = []
        for (each, shape), record in zip(found, records, strict=True):
            zero_point, channels = int(record["zero_point"]), list(record["rounded"])
            codes = (self._weights(each).astype(np.int16) + zero_point).astype(np.uint8)
            bias = self._values(each.bias).copy()
            axis = 2 if shape.depthwise else 3
            original = [*codes.shape[:axis], len(channels), *codes.shape[axis + 1 :]]
            size = math.prod(original)
            codes[(slice(None),) * axis + (channels,)] = rounded[:size].reshape(original)
            bias[channels] = np.frombuffer(rounded[size : size + 4 * len(channels)].tobytes(), "<i4")
            rounded = rounded[size + 4 * len(channels) :]
            output = self._shifted_range(each.output)
            weights = QuantizedTensor(np.ascontiguousarray(codes), np.float32(record["scale"]), zero_point)
            layers.append(quantized_layer(shape.name, weights, bias, before, output))
            before = output
        return MobileNetV1(multiplier, spec, tuple(layers), start)

    def _chain(self) -> list[_Convolution]:
        """The convolutions from the input on, in order."""
        consumers = {int(operator.inputs[0]): operator for operator in self._graph.operators}
        convolutions_found = []
        if len(self._graph.inputs) != 1:
            raise OtherNetworkError(f"takes {len(self._graph.inputs)} inputs, not one batch of images")
        tensor = int(self._graph.inputs[0])
        for _ in range(len(self._graph.operators)):
            operator = consumers.get(tensor)
            if operator is None:
                break
            if self._kind(operator) in _CONVOLUTIONS:
                convolutions_found.append(
                    _Convolution(
                        image=tensor,
                        weights=int(operator.inputs[1]),
                        bias=int(operator.inputs[2]),
                        output=int(operator.outputs[0]),
                        depthwise=self._kind(operator) == "DEPTHWISE_CONV_2D",
                        stride=int(operator.builtinOptions.strideH),
                    )
                )
            tensor = int(operator.outputs[0])
        return convolutions_found

    def _kind(self, operator: Any) -> str:
        code = self._model.operatorCodes[operator.opcodeIndex]
        return _OPERATORS.get(max(code.builtinCode, code.deprecatedBuiltinCode), "CUSTOM")

    def _check(self, found: _Convolution, expected: Convolution) -> None:
        shape = self._weights(found).shape
        if (shape, found.depthwise, found.stride) != (expected.kernel_shape, expected.depthwise, expected.stride):
            raise OtherNetworkError(
                f"its layer {expected.name} has weights {list(shape)} and stride {found.stride} where MobileNet V1 has "
                f"{list(expected.kernel_shape)} and {expected.stride}"
            )

    def _weights(self, found: _Convolution) -> NDArray[Any]:
        """In TensorFlow's order: [h, w, in, out], or [h, w, channels, 1]."""
        return self._values(found.weights).transpose(1, 2, 3, 0)

    def _values(self, number: int) -> NDArray[Any]:
        tensor = self._graph.tensors[number]
        data = np.asarray(self._model.buffers[tensor.buffer].data, np.uint8)
        return data.view(_TYPES[tensor.type]).reshape([int(size) for size in tensor.shape])

    def _range(self, number: int) -> ActivationRange:
        quantization = self._graph.tensors[number].quantization
        if len(quantization.scale) != 1:
            raise OtherNetworkError(f"tensor {number} has {len(quantization.scale)} scales")
        return ActivationRange(np.float32(quantization.scale[0]), int(quantization.zeroPoint[0]))

    def _shifted_range(self, number: int) -> ActivationRange:
        codes = self._range(number)
        shift = SHIFT if self._graph.tensors[number].type == schema.TensorType.INT8 else 0
        return replace(codes, zero_point=codes.zero_point + shift)
