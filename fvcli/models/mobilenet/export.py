"""A network in memory -> the forms that other programs read.

hub-module: a TF1-format hub.Module (https://www.tensorflow.org/hub/tf1_hub_module), as Google published it.
saved-model: a TF2 SavedModel (https://www.tensorflow.org/hub/tf2_saved_model).
Both take float32 [n, h, w, 3] in [0, 1] as ``images`` and give ``default``, under the signatures ``default`` and
``image_feature_vector`` (https://www.tensorflow.org/hub/common_signatures/images). tflite: what fvcli itself runs,
for uint8 pixels as they are where the network is quantized; it gives fvcli's vectors bit for bit. tflite-uint8:
Google's own form.

Each reads back to the same identity. A folder or file comes into being whole or not at all.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np

from fvcli.errors import ModelError, UsageError
from fvcli.machine import stderr_without
from fvcli.models.frameworks import TENSORFLOW, tensorflow
from fvcli.models.hub import SIGNATURES
from fvcli.models.mobilenet import graph
from fvcli.models.mobilenet.compile import compile_float, compile_int8, network_record
from fvcli.models.mobilenet.compile_uint8 import compile_uint8
from fvcli.models.mobilenet.graph import LayerTensors, NetworkTensors, Span
from fvcli.models.mobilenet.network import MobileNetV1

ExportForm = Literal["hub-module", "saved-model", "tflite", "tflite-uint8"]
EXPORT_FORMS: Final[tuple[ExportForm, ...]] = get_args(ExportForm)

RECORD: Final = "assets.extra/fvcli.json"
"""The file of a SavedModel for what its graph does not say, in the folder for files outside the graph."""

MODULE_DEF: Final = b"\x08\x03"
"""tfhub_module.pb: the protocol buffer ModuleDef with format = FORMAT_V3."""


def export_model(network: MobileNetV1, name: str, form: ExportForm, folder: Path) -> Path:
    """Writes ``network`` into ``folder`` and returns the path of the file or folder ``name`` there.

    Raises UsageError for a form that the network does not have or a path that exists; ModelError if writing fails.
    """
    if form == "tflite-uint8" and not network.quantized:
        raise UsageError("a plain network has no uint8 form; export it with --as tflite")
    if form in ("hub-module", "saved-model"):
        target, write = folder / name, _hub_module if form == "hub-module" else _saved_model
    else:
        target, write = folder / f"{name}.tflite", _uint8_file if form == "tflite-uint8" else _fast_file
    if target.exists():
        raise UsageError(f"{target} exists; give another folder, or remove it first")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _whole(target, lambda path: write(network, path))
    except OSError as error:
        raise ModelError(f"{target}: cannot be written: {error.strerror or error}") from error
    return target


def usage_line(form: ExportForm, path: Path) -> str:
    """A line of Python that loads an exported model, to paste into a program."""
    if form == "saved-model":
        return f'hub.KerasLayer("{path}")'
    if form == "hub-module":
        return f'hub.load("{path}").signatures["default"]'
    return f'Interpreter("{path}")  # from ai_edge_litert.interpreter'


def _uint8_file(network: MobileNetV1, path: Path) -> None:
    path.write_bytes(compile_uint8(network))


def _fast_file(network: MobileNetV1, path: Path) -> None:
    path.write_bytes(compile_int8(network, uint8_input=True) if network.quantized else compile_float(network))


def _saved_model(network: MobileNetV1, path: Path) -> None:
    tf = tensorflow()
    spec = network.input_spec
    with stderr_without(TENSORFLOW):
        variables = graph.network_variables(graph.network_arrays(_body(network)))
        module = tf.Module()
        module.variables_by_layer = list(graph.all_variables(variables))
        shape = tf.TensorSpec([None, spec.height, spec.width, 3], tf.float32, name="images")

        def run(images: Any) -> Any:
            return graph.features(variables, images)

        # hub.KerasLayer calls the object and takes a tensor; signatures name what they give.
        module.__call__ = tf.function(run, input_signature=[shape], autograph=False)
        named = tf.function(lambda images: {"default": run(images)}, input_signature=[shape], autograph=False)
        tf.saved_model.save(module, str(path), signatures=dict.fromkeys(SIGNATURES, named))
    _write_record(network, "saved-model", path)


def _hub_module(network: MobileNetV1, path: Path) -> None:
    tf = tensorflow()
    v1 = tf.compat.v1
    spec = network.input_spec
    with stderr_without(TENSORFLOW), tf.Graph().as_default(), v1.Session() as session:
        feeds: dict[Any, Any] = {}

        def placeholder(value: Any) -> Any:
            # Weights go in by feeding, so that the graph does not hold them as constants beside the variables.
            stand_in = v1.placeholder(tf.float32, np.shape(value))
            feeds[stand_in] = value
            return stand_in

        arrays = graph.network_arrays(_body(network))
        variables = graph.network_variables(_mapped(arrays, placeholder))
        images = v1.placeholder(tf.float32, [None, spec.height, spec.width, 3], name="images")
        features = tf.identity(graph.features(variables, images), name="features")
        session.run(v1.global_variables_initializer(), feeds)
        signature = v1.saved_model.predict_signature_def({"images": images}, {"default": features})
        builder = v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(session, [], dict.fromkeys(SIGNATURES, signature))
        builder.save()
    (path / "tfhub_module.pb").write_bytes(MODULE_DEF)
    _write_record(network, "hub-module", path)


def _body(network: MobileNetV1) -> MobileNetV1:
    return replace(network, logits=None)


def _mapped(tensors: NetworkTensors, change: Callable[[Any], Any]) -> NetworkTensors:
    """The structure with ``change`` applied to every tensor."""

    def span(values: Span | None) -> Span | None:
        return values and Span(change(values.minimum), change(values.maximum))

    def layer(values: LayerTensors) -> LayerTensors:
        return LayerTensors(change(values.kernel), change(values.bias), span(values.weights), span(values.output))

    return replace(tensors, layers=[layer(each) for each in tensors.layers], input=span(tensors.input))


def _write_record(network: MobileNetV1, form: str, path: Path) -> None:
    record = path / RECORD
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_bytes(network_record(network, form, []))


def _whole(target: Path, write: Callable[[Path], None]) -> None:
    """Lets ``write`` make a file or folder beside ``target``, then gives it that name."""
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        write(staging / target.name)
        os.replace(staging / target.name, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
