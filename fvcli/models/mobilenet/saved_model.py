"""SavedModel folders: MobileNet V1 among them is read into memory, any other is run as it is.

A hub.Module (TF1 format: ``tfhub_module.pb``, a SavedModel whose tags are empty, variables) is frozen and then read as
any frozen graph. A TF2 SavedModel that fvcli exported is read from its variables. Everything else with the image
feature vector signature (https://www.tensorflow.org/hub/common_signatures/images) keeps its graph.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from fvcli.errors import ModelError
from fvcli.models.mobilenet.checkpoint import network_from_variables, network_variable_name
from fvcli.models.mobilenet.export import RECORD, SIGNATURES
from fvcli.models.mobilenet.frozen_graph import parse_frozen_graph
from fvcli.models.mobilenet.network import MobileNetV1
from fvcli.models.model_card import ModelCard, input_spec_from_json, input_spec_to_json
from fvcli.models.stderr_filter import TENSORFLOW, stderr_without, tensorflow, tensorflow_hub
from fvcli.models.tensorflow import TensorFlowModel, range_values, single_thread
from fvcli.records import InputSpec

MODULE_FILE: Final = "tfhub_module.pb"
GRAPH_FILE: Final = "saved_model.pb"

_VARIABLES: Final = ("VariableV2", "Variable", "VarHandleOp")
_LAST_LAYER: Final = "Conv2d_13_pointwise/"
_OBJECT_GRAPH: Final = "_CHECKPOINTABLE_OBJECT_GRAPH"


def read_saved_model(folder: Path) -> MobileNetV1 | None:
    """The MobileNet V1 in a hub.Module or in a SavedModel that fvcli wrote; None if the folder holds another network.

    Raises ModelError, naming the folder, for one that is damaged or no SavedModel.
    """
    try:
        record = _record(folder)
        if (folder / MODULE_FILE).exists():
            network = _module_network(folder)
        elif record is not None:
            size = int(record["input_spec"]["height"])
            network = network_from_variables(_named_variables(folder / "variables" / "variables"), size)
        else:
            return None
        if record is None or network is None:
            return network
        network = replace(network, input_spec=input_spec_from_json(record["input_spec"]))
        if network.identity != record["identity"]:
            raise ModelError("damaged: its numbers are not those it was written with; export it again")
        return network
    except ModelError as error:
        raise ModelError(f"{folder}: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{folder}: {RECORD} is damaged ({error}); export it again") from error


@dataclass(frozen=True, slots=True)
class ForeignModel:
    """Any image feature vector model, loaded: its signature's function and what it takes and gives."""

    name: str
    input_spec: InputSpec
    dimension: int
    identity: str
    loaded: Any
    function: Any
    input_name: str
    output_name: str

    def run(self, images: Any) -> Any:
        """float32 [n, h, w, 3] in the value range -> float32 [n, d]."""
        return self.function(**{self.input_name: images})[self.output_name]


def load_foreign(
    folder: Path, name: str, value_range: tuple[float, float] | None, image_size: int | None = None
) -> ForeignModel:
    """Loads a SavedModel or hub.Module that has the image feature vector signature.

    value_range: the floats that pixels 0 and 255 become; such a model does not say it, so it has to be given.
    image_size: for a model that takes images of any size. Raises ModelError for another signature, or without these.
    """
    tf, hub = tensorflow(), tensorflow_hub()
    single_thread()
    try:
        with stderr_without(TENSORFLOW):
            loaded = hub.load(str(folder))
        signatures = dict(loaded.signatures)
    except (tf.errors.OpError, AttributeError, OSError, RuntimeError, ValueError) as error:
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise ModelError(f"{name}: not a SavedModel that TensorFlow can load: {reason}") from error
    for signature in (*SIGNATURES, "serving_default"):
        if signature in signatures:
            found = _image_signature(signatures[signature])
            if found:
                break
    else:
        _refuse(name, signatures)
    if value_range is None:
        raise ModelError(
            f"{name}: this model does not say what numbers it takes for pixels; add that to its name, most often as "
            f"--model '{name}?input-range=0,1'"
        )
    input_name, shape, output_name, dimension = found
    height, width = (side or image_size for side in shape)
    if height is None or width is None:
        raise ModelError(f"{name}: this model takes images of any size; add one to its name, such as &image-size=224")
    spec = InputSpec(height, width, value_range=value_range)
    return ForeignModel(
        name=name,
        input_spec=spec,
        dimension=dimension,
        identity=_folder_identity(folder, spec),
        loaded=loaded,
        function=signatures[signature],
        input_name=input_name,
        output_name=output_name,
    )


def foreign_tensorflow_model(model: ForeignModel) -> TensorFlowModel:
    """The model as it is, on TensorFlow."""
    assert model.input_spec.value_range is not None
    return TensorFlowModel(
        name=model.name,
        input_spec=model.input_spec,
        dimension=model.dimension,
        identity=model.identity,
        licence="unknown",
        function=model.run,
        pixel_values=range_values(model.input_spec.value_range),
    )


def foreign_litert(model: ForeignModel) -> tuple[ModelCard, bytes]:
    """The model converted to a float32 .tflite for one image, and its card.

    Raises ModelError where TensorFlow's converter does not take it.
    """
    tf = tensorflow()
    spec = model.input_spec
    shape = tf.TensorSpec([1, spec.height, spec.width, 3], tf.float32, name="images")
    try:
        with stderr_without(TENSORFLOW):
            concrete = tf.function(model.run, autograph=False).get_concrete_function(shape)
            data = tf.lite.TFLiteConverter.from_concrete_functions([concrete], model.loaded).convert()
    except Exception as error:
        # The converter raises classes of its own that it does not export, and says a page about each.
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise ModelError(f"{model.name}: does not convert to LiteRT ({reason}); use --engine tensorflow") from error
    digest = hashlib.sha256(data).hexdigest()
    return ModelCard(model.name, model.identity, "float", model.dimension, "unknown", spec, digest), data


def _record(folder: Path) -> dict[str, Any] | None:
    path = folder / RECORD
    if not path.exists():
        return None
    record = json.loads(path.read_text("utf-8"))
    if not isinstance(record, dict):
        raise ValueError("not a JSON object")
    return record


def _module_network(folder: Path) -> MobileNetV1 | None:
    """A hub.Module's network: its graph with each variable replaced by the value that ``variables/`` holds for it."""
    tf = tensorflow()
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel()
    try:
        model.ParseFromString((folder / GRAPH_FILE).read_bytes())
    except (OSError, DecodeError) as error:
        raise ModelError(f"{GRAPH_FILE} is missing or damaged ({error}); get the module again") from error
    metas = [meta for meta in model.meta_graphs if not meta.meta_info_def.tags]
    if not metas:
        raise ModelError(f"{GRAPH_FILE} has no graph with empty tags, as a hub.Module has; get the module again")
    graph = metas[0].graph_def
    if not any(_LAST_LAYER in node.name for node in graph.node):
        return None
    values = _checkpoint(folder / "variables" / "variables")
    for node in graph.node:
        if node.op in _VARIABLES:
            # The checkpoint's key is a resource's shared name, or the op's own name.
            key = node.attr["shared_name"].s.decode() or node.name
            if key not in values and node.name not in values:
                continue
            value = values.get(key, values.get(node.name))
            node.op = "Const"
            node.attr.clear()
            node.attr["dtype"].type = tf.float32.as_datatype_enum
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, tf.float32))
            del node.input[:]
        elif node.op == "ReadVariableOp":
            node.op = "Identity"
    return parse_frozen_graph(graph.SerializeToString())


def _checkpoint(prefix: Path) -> dict[str, NDArray[Any]]:
    """Every float variable of a TF1 checkpoint by its key."""
    tf = tensorflow()
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        types = reader.get_variable_to_dtype_map()
        return {name: np.asarray(reader.get_tensor(name)) for name, kind in types.items() if kind == tf.float32}
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"its variables cannot be read ({reason}); get the module again") from error


def _named_variables(prefix: Path) -> dict[str, NDArray[Any]]:
    """A TF2 checkpoint's variables under the names they had in the program, cut as the network names them."""
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    tf = tensorflow()
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        objects = trackable_object_graph_pb2.TrackableObjectGraph()
        objects.ParseFromString(reader.get_tensor(_OBJECT_GRAPH))
        variables = {}
        for node in objects.nodes:
            for attribute in node.attributes:
                name = network_variable_name(attribute.full_name)
                if name:
                    variables[name] = np.asarray(reader.get_tensor(attribute.checkpoint_key))
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"its variables cannot be read ({reason}); export it again") from error
    return variables


def _image_signature(function: Any) -> tuple[str, tuple[int | None, int | None], str, int] | None:
    """Input name, (height, width), output name and dimension, if images go in and vectors come out."""
    _, inputs = function.structured_input_signature
    outputs = function.structured_outputs
    if len(inputs) != 1:
        return None
    ((input_name, image),) = inputs.items()
    output_name = "default" if "default" in outputs else next(iter(outputs))
    features = outputs[output_name]
    if image.dtype.name != "float32" or image.shape.rank != 4 or image.shape[3] not in (3, None):
        return None
    if features.dtype.name != "float32" or features.shape.rank != 2 or features.shape[1] is None:
        return None
    return input_name, (image.shape[1], image.shape[2]), output_name, int(features.shape[1])


def _refuse(name: str, signatures: dict[str, Any]) -> NoReturn:
    raise ModelError(
        f"{name}: has the signatures {', '.join(sorted(signatures)) or '(none)'}, and none that takes float images "
        "[n, height, width, 3] and gives vectors [n, d] (TF Hub's image feature vector); give another model"
    )


def _folder_identity(folder: Path, spec: InputSpec) -> str:
    """SHA-256 over the graph, the variables and the InputSpec."""
    digest = hashlib.sha256(json.dumps(input_spec_to_json(spec), sort_keys=True).encode())
    for path in sorted([folder / GRAPH_FILE, *(folder / "variables").glob("*"), *(folder / "assets").rglob("*")]):
        if path.is_file():
            digest.update(str(path.relative_to(folder)).encode() + b"\0")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
