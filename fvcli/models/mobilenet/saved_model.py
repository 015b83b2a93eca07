"""SavedModel folders that hold a MobileNet V1 -> the network in memory.

A hub.Module (TF1 format: ``tfhub_module.pb``, a SavedModel whose tags are empty, variables) is frozen and then read as
any frozen graph. A TF2 SavedModel that fvcli exported is read from its variables.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fvcli.errors import ModelError, first_line
from fvcli.models.frameworks import tensorflow
from fvcli.models.mobilenet.checkpoint import network_from_variables, network_variable_name
from fvcli.models.mobilenet.export import RECORD
from fvcli.models.mobilenet.frozen_graph import parse_frozen_graph
from fvcli.models.mobilenet.network import MobileNetV1
from fvcli.models.model_card import input_spec_from_json

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
        raise ModelError(f"its variables cannot be read ({first_line(error)}); get the module again") from error


def _named_variables(prefix: Path) -> dict[str, NDArray[Any]]:
    """A TF2 checkpoint's variables under the names they had in the program, cut as the network names them."""
    tf = tensorflow()
    from tensorflow.core.protobuf import trackable_object_graph_pb2

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
        raise ModelError(f"its variables cannot be read ({first_line(error)}); export it again") from error
    return variables
