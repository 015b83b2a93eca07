"""The network against published numbers, its own integers and TensorFlow."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from fvcli.models.mobilenet import graph
from tests.helpers.networks import plain_network, quantops_network, random_images

SHAPES_AT_160 = {
    "Conv2d_0": (80, 80, 32),
    "Conv2d_1_depthwise": (80, 80, 32),
    "Conv2d_1_pointwise": (80, 80, 64),
    "Conv2d_2_depthwise": (40, 40, 64),
    "Conv2d_2_pointwise": (40, 40, 128),
    "Conv2d_3_pointwise": (40, 40, 128),
    "Conv2d_4_depthwise": (20, 20, 128),
    "Conv2d_5_pointwise": (20, 20, 256),
    "Conv2d_6_depthwise": (10, 10, 256),
    "Conv2d_6_pointwise": (10, 10, 512),
    "Conv2d_11_pointwise": (10, 10, 512),
    "Conv2d_12_depthwise": (5, 5, 512),
    "Conv2d_12_pointwise": (5, 5, 1024),
    "Conv2d_13_depthwise": (5, 5, 1024),
    "Conv2d_13_pointwise": (5, 5, 1024),
}


def test_the_table_needs_no_tensorflow() -> None:
    code = "import sys, fvcli.models.mobilenet.graph as m; m.convolutions(1.0); assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_endpoint_shapes() -> None:
    shapes = graph.endpoint_shapes(1.0, 160, 160)
    assert len(shapes) == 27
    assert {name: shapes[name] for name in SHAPES_AT_160} == SHAPES_AT_160
    assert graph.endpoint_shapes(0.25, 128, 128)["Conv2d_13_pointwise"] == (4, 4, 256)
    assert graph.endpoint_shapes(0.75, 192, 224)["Conv2d_13_pointwise"] == (6, 7, 768)


@pytest.mark.parametrize(
    ("multiplier", "weights", "channels"),
    # As the sizes that keras.applications states without its top: 3,228,864, 1,832,976, 829,536 and 218,544
    # parameters, each with four numbers a BatchNorm channel.
    [(1.0, 3_185_088, 10_944), (0.75, 1_800_144, 8_208), (0.5, 807_648, 5_472), (0.25, 207_600, 2_736)],
)
def test_parameter_counts(multiplier: float, weights: int, channels: int) -> None:
    layers = graph.convolutions(multiplier)
    assert sum(int(np.prod(layer.kernel_shape)) for layer in layers) == weights
    assert sum(layer.channels for layer in layers) == channels
    assert graph.feature_dimension(multiplier) == int(1024 * multiplier)


@pytest.mark.parametrize("size", [160, 131])
def test_the_graph_has_the_shapes_of_the_table(size: int) -> None:
    pytest.importorskip("tensorflow")
    network = plain_network(size)
    images = random_images(2, size).astype(np.float32) / 255
    maps = graph.endpoints(graph.network_arrays(network), images)
    expected = graph.endpoint_shapes(0.25, size, size)
    assert {name: tuple(values.shape) for name, values in maps.items()} == {
        name: (2, *shape) for name, shape in expected.items()
    }


def test_a_quantized_layer_computes_what_its_integers_say() -> None:
    tf = pytest.importorskip("tensorflow")
    network = quantops_network()
    images = random_images(2, 128)
    maps = graph.endpoints(graph.network_arrays(network), images.astype(np.float32) / np.float32(255))

    assert network.input is not None
    assert network.input_spec.pixel_table is not None
    source, codes = network.input, np.array(network.input_spec.pixel_table)[images]
    strides = {"Conv2d_0": 2, "Conv2d_1_depthwise": 1}
    for layer in network.layers[:2]:
        assert layer.weights is not None
        assert layer.bias_codes is not None
        assert layer.output is not None
        kernel = layer.weights.codes.astype(np.float64) - layer.weights.zero_point
        operation = tf.nn.depthwise_conv2d if layer.name.endswith("depthwise") else tf.nn.conv2d
        step = strides[layer.name]
        sums = operation(codes.astype(np.float64) - source.zero_point, kernel, [1, step, step, 1], "SAME").numpy()
        real = (sums + layer.bias_codes) * (float(source.scale) * float(layer.weights.scale))
        exact = np.clip(real, 0, 6) / float(layer.output.scale)
        got = maps[layer.name].numpy() / np.float64(layer.output.scale)
        np.testing.assert_allclose(got, np.rint(got), atol=1e-3)
        assert np.abs(got - exact).max() <= 0.501
        source, codes = layer.output, np.rint(got)


def test_variables_compute_what_arrays_do() -> None:
    pytest.importorskip("tensorflow")
    network = quantops_network()
    arrays = graph.network_arrays(network)
    variables = graph.network_variables(arrays)
    images = random_images(3, 128).astype(np.float32) / 255
    features = graph.features(variables, images)
    np.testing.assert_array_equal(features, graph.features(arrays, images))
    np.testing.assert_array_equal(graph.logits(variables, features), graph.logits(arrays, features))
    names = [variable.name for variable in graph.all_variables(variables)]
    # A kernel, a bias and two ranges of min and max for each layer and the classifier, and the input's range.
    assert len(names) == len(set(names)) == 28 * 6 + 2


def test_a_network_without_classifier_has_no_logits() -> None:
    pytest.importorskip("tensorflow")
    arrays = graph.network_arrays(quantops_network(logits=False))
    with pytest.raises(ValueError, match="no classifier"):
        graph.logits(arrays, np.zeros((1, 256), np.float32))
