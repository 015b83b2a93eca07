"""The metadata that MediaPipe's and the Task Library's models carry: input normalization and output names.

It is a flatbuffer of its own, in the model's metadata entry ``TFLITE_METADATA``. Fields are read by their number in
https://github.com/tensorflow/tflite-support/blob/master/tensorflow_lite_support/metadata/metadata_schema.fbs
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Final

import flatbuffers
from flatbuffers.number_types import Float32Flags, Uint8Flags

from fvcli.errors import ModelError

IDENTIFIER: Final = b"TFL3"
"""Bytes 4 to 8 of every .tflite file."""

ENTRY: Final = b"TFLITE_METADATA"
"""The name of the metadata entry in the file."""

_SUBGRAPH_METADATA: Final = 3  # of ModelMetadata
_INPUT_TENSORS, _OUTPUT_TENSORS = 2, 3  # of SubGraphMetadata
_NAME, _PROCESS_UNITS = 0, 4  # of TensorMetadata
_OPTIONS_TYPE, _OPTIONS = 0, 1  # of ProcessUnit
_NORMALIZATION: Final = 1  # in the union ProcessUnitOptions
_MEAN, _STD = 0, 1  # of NormalizationOptions


@dataclass(frozen=True, slots=True)
class TFLiteMetadata:
    """The statements of the metadata on the first input and of the outputs.

    normalization: (mean, std), one or three numbers each; the input is (pixel - mean) / std with pixels 0 to 255.
    output_names: in the order of the outputs; "" for one without a name.
    """

    normalization: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    output_names: tuple[str, ...] = ()


def parse_metadata(data: bytes) -> TFLiteMetadata:
    """The metadata in the bytes of that entry's buffer. Raises ModelError if they are damaged."""
    try:
        root = _Table(flatbuffers.table.Table(bytearray(data), struct.unpack_from("<I", data)[0]))
        subgraphs = root.tables(_SUBGRAPH_METADATA)
        if not subgraphs:
            return TFLiteMetadata()
        inputs, outputs = subgraphs[0].tables(_INPUT_TENSORS), subgraphs[0].tables(_OUTPUT_TENSORS)
        names = tuple(output.text(_NAME) for output in outputs)
        return TFLiteMetadata(_normalization(inputs[0]) if inputs else None, names)
    except (struct.error, IndexError, TypeError, ValueError) as error:
        raise ModelError("the file's TFLite metadata is damaged; get the file again") from error


def _normalization(tensor: _Table) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    for unit in tensor.tables(_PROCESS_UNITS):
        if unit.byte(_OPTIONS_TYPE) == _NORMALIZATION:
            options = unit.table(_OPTIONS)
            return options.floats(_MEAN), options.floats(_STD)
    return None


class _Table:
    """A flatbuffer's table whose fields are read by number."""

    def __init__(self, table: Any) -> None:
        self._table = table

    def table(self, number: int) -> _Table:
        return self._at(self._table.Indirect(self._table.Pos + self._offset(number)))

    def tables(self, number: int) -> list[_Table]:
        start, count = self._vector(number)
        return [self._at(self._table.Indirect(start + 4 * index)) for index in range(count)]

    def floats(self, number: int) -> tuple[float, ...]:
        start, count = self._vector(number)
        return tuple(self._table.Get(Float32Flags, start + 4 * index) for index in range(count))

    def byte(self, number: int) -> int:
        offset = self._offset(number)
        return int(self._table.Get(Uint8Flags, self._table.Pos + offset)) if offset else 0

    def text(self, number: int) -> str:
        offset = self._offset(number)
        return bytes(self._table.String(self._table.Pos + offset)).decode("utf-8", "replace") if offset else ""

    def _at(self, position: int) -> _Table:
        return _Table(flatbuffers.table.Table(self._table.Bytes, position))

    def _offset(self, number: int) -> int:
        """The offset of a field in the table; 0 for one that is not there."""
        return int(self._table.Offset(4 + 2 * number))

    def _vector(self, number: int) -> tuple[int, int]:
        """(position of the first element, number of elements)."""
        offset = self._offset(number)
        return (self._table.Vector(offset), self._table.VectorLen(offset)) if offset else (0, 0)
