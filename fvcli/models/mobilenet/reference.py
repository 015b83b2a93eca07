"""The reference: a network's own graph on TensorFlow, plain or quantops, with weights and ranges as variables."""

from __future__ import annotations

from typing import Any

import numpy as np

from fvcli.models.mobilenet import graph
from fvcli.models.mobilenet.network import MobileNetV1
from fvcli.models.tensorflow import TensorFlowModel, single_thread, tf
from fvcli.records import Float32Array


def network_model(network: MobileNetV1, name: str, license: str) -> TensorFlowModel:
    """The FeatureModel of a network's own graph."""
    single_thread()
    variables = graph.network_variables(graph.network_arrays(network))
    spec = network.input_spec

    def run(images: Any) -> Any:
        return graph.features(variables, images)

    shape = tf.TensorSpec([1, spec.height, spec.width, 3], tf.float32)
    function = tf.function(run, input_signature=[shape], autograph=False)
    values = np.repeat(unit_values(network)[:, np.newaxis], 3, axis=1)
    return TensorFlowModel(name, spec, network.layers[-1].bias.size, network.identity, license, function, values)


def unit_values(network: MobileNetV1) -> Float32Array:
    """float32 [256]: what the graph takes in [0, 1] for each pixel value, so that FakeQuant gives the table's code."""
    spec = network.input_spec
    if network.input is None or spec.pixel_table is None:
        return np.arange(256, dtype=np.float32) / np.float32(255)
    codes = np.array(spec.pixel_table, np.float32) - np.float32(network.input.zero_point)
    return (codes * network.input.scale + np.float32(1)) / np.float32(2)
