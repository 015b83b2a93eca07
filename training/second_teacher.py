"""The second teacher: Google's quantized MobileNet V2 at 224. It has the same 1,001 classes and errs on other images.

Its file ends in probabilities, in steps of 1/256. The logits before them say more, so the file is cut there.
"""

from __future__ import annotations

from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray
from PIL import Image

from fvcli.models.litert import new_interpreter
from fvcli.models.tflite_metadata import IDENTIFIER
from fvcli.records import UInt8Array

SIZE = 224
OUTPUTS = 1001
BATCH = 16


def write_second_teacher(model: Path, target: Path) -> None:
    """Writes ``model``, a .tflite file that ends in a convolution, a reshape and a softmax, up to its convolution."""
    root = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model.read_bytes(), 0))
    graph = root.subgraphs[0]
    graph.operators = graph.operators[:-2]
    graph.outputs = graph.operators[-1].outputs
    root.signatureDefs = None
    builder = flatbuffers.Builder()
    builder.Finish(root.Pack(builder), IDENTIFIER)
    target.write_bytes(builder.Output())


class SecondTeacher:
    """Logits for batches of views, by the file that :func:`write_second_teacher` wrote; one thread."""

    def __init__(self, model: Path) -> None:
        self._interpreter = new_interpreter(model.read_bytes(), model.name)
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._interpreter.resize_tensor_input(self._input, (BATCH, SIZE, SIZE, 3))
        self._interpreter.allocate_tensors()
        self._output = self._interpreter.get_output_details()[0]

    def __call__(self, views: tuple[UInt8Array, ...]) -> NDArray[np.float16]:
        """uint8 [size, size, 3] of any sizes -> logits [n, 1001]."""
        logits = np.empty((len(views), OUTPUTS), np.float16)
        scale, zero_point = self._output["quantization"]
        for start in range(0, len(views), BATCH):
            some = views[start : start + BATCH]
            images = np.zeros((BATCH, SIZE, SIZE, 3), np.uint8)
            images[: len(some)] = np.stack([resized(view) for view in some])
            self._interpreter.set_tensor(self._input, images)
            self._interpreter.invoke()
            codes = self._interpreter.get_tensor(self._output["index"])[: len(some)].reshape(len(some), OUTPUTS)
            logits[start : start + len(some)] = (codes.astype(np.float32) - zero_point) * scale
        return logits


def resized(view: UInt8Array) -> UInt8Array:
    """The view at the size of the second teacher."""
    if view.shape[0] == SIZE:
        return view
    return np.asarray(Image.fromarray(view).resize((SIZE, SIZE), Image.Resampling.BILINEAR))
