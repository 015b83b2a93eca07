"""Any .tflite with one image input and one vector output, run by LiteRT as it is."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from fvcli.errors import ModelError, UsageError
from fvcli.models.litert import LiteRTModel
from fvcli.models.model_card import ModelCard
from fvcli.models.protocol import is_vector
from fvcli.models.source_options import (
    MissingOptionError,
    SourceOptions,
    asked_range,
    float_input,
    input_size,
    normalized_ranges,
    options_identity,
)
from fvcli.models.tflite_metadata import ENTRY, IDENTIFIER, TFLiteMetadata, parse_metadata
from fvcli.records import InputSpec

_FLOAT, _UINT8, _INT8 = schema.TensorType.FLOAT32, schema.TensorType.UINT8, schema.TensorType.INT8


@dataclass(frozen=True, slots=True)
class _Tensor:
    """An input or output. names: what it is called: the signature's, the tensor's and the metadata's name for it.

    shape: a dimension that is free is -1. kind: a TensorType of the schema.
    """

    names: tuple[str, ...]
    shape: tuple[int, ...]
    kind: int


@dataclass(frozen=True, slots=True)
class _Layout:
    inputs: list[_Tensor]
    outputs: list[_Tensor]
    metadata: TFLiteMetadata


def load_embedder(path: Path, name: str, license: str, options: SourceOptions) -> LiteRTModel:
    """The model in a file, under the name it has for the user.

    Float and int8 inputs need the range of their pixels: from the file's metadata or from ``options``. A uint8 input
    takes the pixels as they are, as MediaPipe and the Task Library feed it. Raises ModelError, naming the model, for a
    file that has no image input and vector output, or does not state its input; UsageError for options that do not fit.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error
    if data[4:8] != IDENTIFIER:
        raise ModelError(f"{name}: not a .tflite file (no TFL3 mark); give a model file, or get it again")
    try:
        layout = _layout(data)
    except (AttributeError, IndexError, TypeError, ValueError, struct.error) as error:
        raise ModelError(f"{name}: the .tflite file is damaged or cut short; get it again") from error
    except ModelError as error:
        raise ModelError(f"{name}: {error}") from error
    spec = _input_spec(layout, name, options)
    output = _output(layout, name, options)
    digest = hashlib.sha256(data).hexdigest()
    card = ModelCard(
        name=name,
        identity=options_identity(digest, options),
        engine="litert",
        dimension=int(np.prod(output.shape[1:])),
        license=license,
        input_spec=spec,
        file_sha256=digest,
    )
    return LiteRTModel(card, data, output.names[-1] if len(layout.outputs) > 1 else None)


def _layout(data: bytes) -> _Layout:
    model = schema.Model.GetRootAs(data, 0)
    metadata = TFLiteMetadata()
    for number in range(model.MetadataLength()):
        entry = model.Metadata(number)
        if entry.Name() == ENTRY:
            metadata = parse_metadata(model.Buffers(entry.Buffer()).DataAsNumpy().tobytes())
    graph = model.Subgraphs(0)
    aliases: dict[int, str] = {}
    if model.SignatureDefsLength():
        signature = model.SignatureDefs(0)
        pairs = [signature.Outputs(number) for number in range(signature.OutputsLength())]
        aliases = {pair.TensorIndex(): pair.Name().decode("utf-8", "replace") for pair in pairs}
    inputs = [_tensor(graph.Tensors(graph.Inputs(number)), ()) for number in range(graph.InputsLength())]
    outputs = []
    for number in range(graph.OutputsLength()):
        index = graph.Outputs(number)
        documented = metadata.output_names[number] if number < len(metadata.output_names) else ""
        outputs.append(_tensor(graph.Tensors(index), (aliases.get(index, ""), documented)))
    return _Layout(inputs, outputs, metadata)


def _tensor(tensor: Any, aliases: tuple[str, ...]) -> _Tensor:
    shape = tensor.ShapeSignatureAsNumpy() if tensor.ShapeSignatureLength() else tensor.ShapeAsNumpy()
    sizes = tuple(int(size) for size in shape) if tensor.ShapeLength() else ()
    name = tensor.Name().decode("utf-8", "replace") if tensor.Name() else ""
    return _Tensor((*(alias for alias in aliases if alias), name), sizes, tensor.Type())


def _input_spec(layout: _Layout, name: str, options: SourceOptions) -> InputSpec:
    images = layout.inputs[0] if len(layout.inputs) == 1 else None
    if (
        images is None
        or len(images.shape) != 4
        or images.shape[0] not in (1, -1)
        or images.shape[3] != 3
        or images.kind not in (_FLOAT, _UINT8, _INT8)
    ):
        shapes = ", ".join(str(list(tensor.shape)) for tensor in layout.inputs)
        raise ModelError(
            f"{name}: takes {shapes or 'nothing'}, not one batch of images [1, height, width, 3] as float32, int8 or "
            "uint8; give another model"
        )
    first, second = (None if side < 0 else side for side in images.shape[1:3])
    height, width = input_size((first, second), options, name)
    ranges = options.ranges
    if ranges is None and images.kind == _UINT8:
        return InputSpec(height, width, pixel_table=tuple(range(256)))
    if ranges is None and layout.metadata.normalization is not None:
        try:
            ranges = normalized_ranges(*layout.metadata.normalization)
        except ValueError as error:
            raise ModelError(f"{name}: the file's normalization is damaged: {error}") from error
    if ranges is None:
        raise asked_range(name)
    return float_input(height, width, ranges)


def _output(layout: _Layout, name: str, options: SourceOptions) -> _Tensor:
    """The output that holds the vector."""
    outputs = layout.outputs
    listed = ", ".join(f"{output.names[0]} {list(output.shape)}" for output in outputs)
    if options.output is not None:
        outputs = [output for output in outputs if options.output in output.names]
        if not outputs:
            raise UsageError(f"{name}: has no output {options.output}; its outputs are {listed}")
    if len(outputs) != 1:
        example = layout.outputs[0].names[0] if layout.outputs else ""
        raise MissingOptionError(f"{name}: has several outputs ({listed}); name one of them, as in ?output={example}")
    (output,) = outputs
    if output.kind not in (_FLOAT, _UINT8, _INT8) or not is_vector(output.shape):
        raise ModelError(f"{name}: its output {listed} is not a vector [1, d] of numbers; give another model or output")
    return output
