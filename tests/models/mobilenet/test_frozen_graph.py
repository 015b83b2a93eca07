"""Frozen graphs: Google's own against TensorFlow running it, quantized ones made here, and damaged ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fvcli.errors import ModelError
from fvcli.models.loading import load_model
from fvcli.models.mobilenet.frozen_graph import parse_frozen_graph, read_frozen_graph
from fvcli.models.mobilenet.graph import convolutions, network_arrays
from fvcli.models.mobilenet.graph import features as features_of
from fvcli.models.mobilenet.graph import logits as logits_of
from fvcli.models.mobilenet.network import MobileNetV1
from tests.helpers.networks import plain_network, quantops_network, random_images

GOOGLE = "mobilenet_v1_1.0_224_2017_06_14_frozen.pb"


def tensorflow() -> Any:
    """TensorFlow takes seconds to load, which only the tests that need it pay."""
    return pytest.importorskip("tensorflow")


@pytest.fixture(scope="module")
def google(shared: Path) -> MobileNetV1:
    return read_frozen_graph(shared / "models" / GOOGLE)


@pytest.mark.slow
def test_googles_float_network_has_googles_logits(google: MobileNetV1, shared: Path) -> None:
    tf = tensorflow()
    photos = sorted((shared / "data" / "photos").glob("*.JPEG"))[::90]
    images = np.stack([np.asarray(Image.open(path).convert("RGB").resize((224, 224))) for path in photos])
    graph = tf.compat.v1.GraphDef()
    graph.ParseFromString((shared / "models" / GOOGLE).read_bytes())
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.import_graph_def(graph, name="")
        fetches = ["MobilenetV1/Logits/AvgPool_1a/AvgPool:0", "MobilenetV1/Logits/SpatialSqueeze:0"]
        # One at a time: the graph flattens its logits to a single row.
        results = [session.run(fetches, {"input:0": image[None].astype(np.float32) / 127.5 - 1}) for image in images]

    arrays = network_arrays(google)
    features = features_of(arrays, images.astype(np.float32) / 255)
    logits = logits_of(arrays, features)

    assert google.input_spec.height == google.input_spec.width == 224
    assert not google.quantized
    np.testing.assert_allclose(features, np.concatenate([pool.reshape(1, -1) for pool, _ in results]), atol=1e-4)
    expected = np.concatenate([answer.reshape(1, -1) for _, answer in results])
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    assert len(set(expected.argmax(axis=1))) > 3, "different photographs"


def frozen(network: MobileNetV1, change: Callable[[Any], None] = lambda graph: None) -> bytes:
    """The network as a GraphDef of constants with a placeholder, as TF1 tools freeze it."""
    tf, arrays = tensorflow(), network_arrays(network)
    with tf.Graph().as_default() as graph:
        size = network.input_spec.height
        images = tf.compat.v1.placeholder(tf.float32, [None, size, size, 3], name="input")
        features = features_of(arrays, images)
        if network.logits is not None:
            logits_of(arrays, features)
        definition = graph.as_graph_def()
    change(definition)
    data: bytes = definition.SerializeToString()
    return data


def test_a_quantized_graph_reads_back_to_the_same_identity() -> None:
    network = quantops_network()
    read = parse_frozen_graph(frozen(network))
    assert read.identity == network.identity
    assert read.logits is not None
    assert network.logits is not None
    np.testing.assert_array_equal(read.logits.bias_codes, network.logits.bias_codes)
    assert read.input_spec == network.input_spec


def test_a_plain_graph_reads_back_to_the_same_identity() -> None:
    network = plain_network()
    assert parse_frozen_graph(frozen(network)).identity == network.identity


def test_names_of_ranges_do_not_matter() -> None:
    network = quantops_network(logits=False)

    def rename(graph: Any) -> None:
        consumed = {node.name: f"c{number}" for number, node in enumerate(graph.node) if node.op == "Const"}
        for node in graph.node:
            node.name = consumed.get(node.name, node.name)
            node.input[:] = [consumed.get(source, source) for source in node.input]

    read = parse_frozen_graph(frozen(network, rename))
    assert read.identity == network.identity
    assert read.logits is None


@pytest.mark.parametrize("fused", [True, False])
def test_batch_norm_is_folded_whole_or_taken_apart(fused: bool) -> None:
    tf, network = tensorflow(), plain_network()
    generator = np.random.default_rng(0)
    with tf.Graph().as_default() as graph:
        images = x = tf.compat.v1.placeholder(tf.float32, [None, 128, 128, 3], name="input")
        x = x * 2.0 - 1.0
        for layer, shape in zip(network.layers, convolutions(0.25), strict=True):
            gamma, variance = generator.uniform(0.5, 1.5, (2, shape.channels)).astype(np.float32)
            beta, mean = generator.normal(0, 0.1, (2, shape.channels)).astype(np.float32)
            with tf.name_scope(f"MobilenetV1/MobilenetV1/{shape.name}"):
                operation = tf.nn.depthwise_conv2d if shape.depthwise else tf.nn.conv2d
                x = operation(x, tf.constant(layer.kernel), [1, shape.stride, shape.stride, 1], "SAME")
                if fused:
                    x = tf.compat.v1.nn.fused_batch_norm(
                        x, gamma, beta, mean, variance, epsilon=0.001, is_training=False
                    )[0]
                else:
                    x = tf.nn.batch_normalization(x, mean, variance, beta, gamma, 0.001)
                x = tf.nn.relu6(x)
        definition = graph.as_graph_def()
        pixels = random_images(2, 128).astype(np.float32) / 255
        with tf.compat.v1.Session() as session:
            expected = session.run(tf.reduce_mean(x, [1, 2]), {images: pixels})

    read = parse_frozen_graph(definition.SerializeToString())

    features = features_of(network_arrays(read), pixels)
    assert expected.std() > 0.01
    np.testing.assert_allclose(features, expected, atol=1e-4)


def without(part: str) -> Callable[[Any], None]:
    def change(graph: Any) -> None:
        for node in [node for node in graph.node if part in node.name]:
            graph.node.remove(node)

    return change


def plain_relu(graph: Any) -> None:
    for node in graph.node:
        if node.op == "Relu6" and "Conv2d_7_" in node.name:
            node.op = "Relu"


def without_range(graph: Any) -> None:
    """Takes the FakeQuant after one layer out of the way."""
    taken = next(
        n for n in graph.node if n.op.startswith("FakeQuant") and n.input[0].endswith("Conv2d_5_depthwise/Relu6")
    )
    for node in graph.node:
        node.input[:] = [taken.input[0] if source == taken.name else source for source in node.input]
    graph.node.remove(taken)


def not_a_number(graph: Any) -> None:
    value = next(n for n in graph.node if n.op == "Const" and n.attr["value"].tensor.tensor_shape.dim[:1])
    tensor = value.attr["value"].tensor
    tensor.tensor_content = np.full(len(tensor.tensor_content) // 4, np.nan, np.float32).tobytes()


def in_a_circle(graph: Any) -> None:
    for node in graph.node:
        if node.op == "Conv2D" and "Conv2d_0/" in node.name:
            loop = graph.node.add(name="loop", op="Identity")
            loop.input.append("loop")
            node.input[1] = "loop"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("Conv2d_9_pointwise"), "Conv2d_9_pointwise|missing from the graph"),
        (without("Conv2d_0/"), "no convolution in a scope Conv2d_0"),
        (plain_relu, "Conv2d_7_depthwise ends in Relu, not Relu6"),
        (without_range, "Conv2d_5_depthwise has no FakeQuant on its result"),
        (not_a_number, "not finite|does not hold zero"),
        (in_a_circle, "Identity|damaged"),
    ],
)
def test_a_damaged_graph_is_refused(change: Callable[[Any], None], message: str) -> None:
    data = frozen(quantops_network(logits=False), change)
    with pytest.raises(ModelError, match=message):
        parse_frozen_graph(data)


@pytest.mark.parametrize("content", [b"", b"not a graph at all" * 50, b"\x00" * 64])
def test_other_files_are_refused_by_name(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "odd.pb"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"odd\.pb: .*GraphDef"):
        read_frozen_graph(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gone\.pb: cannot be read"):
        read_frozen_graph(tmp_path / "gone.pb")


def test_another_image_size_is_applied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FVCLI_CACHE", str(tmp_path / "cache"))
    network = quantops_network()
    (tmp_path / "frozen.pb").write_bytes(frozen(network))
    own, smaller = (load_model(f"{tmp_path / 'frozen.pb'}{option}") for option in ("", "?image-size=96"))
    assert own.identity == network.identity
    assert (smaller.input_spec.height, smaller.input_spec.width) == (96, 96)
    assert smaller(random_images(1, 96)).shape == (1, 256)
