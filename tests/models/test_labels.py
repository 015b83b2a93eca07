"""Labels: the best classes of each image, in the arithmetic of the network's own classifier."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

import fvcli
from fvcli.errors import DatasetError, ModelError, UsageError
from fvcli.images.loader import ImageLoader
from fvcli.models.frameworks import tensorflow
from fvcli.models.labels import Labeler, imagenet_labels
from fvcli.models.loading import load_classifier, load_model, unit_length
from fvcli.models.mobilenet import graph
from fvcli.models.mobilenet.compile_uint8 import compile_uint8
from fvcli.models.mobilenet.export import MODULE_DEF
from fvcli.models.mobilenet.network import MobileNetV1
from fvcli.records import ImageRef, Preprocessing
from tests.helpers.networks import plain_network, quantops_network, random_images

FVCLI = Path(sys.executable).with_name("fvcli")
GOOGLE = ("mobilenet_v1_0.25_128_quant", "mobilenet_v1_0.5_160_quant", "mobilenet_v1_0.75_192_quant")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FVCLI_CACHE", str(tmp_path / "cache"))


def run_whole(path: Path, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pooled codes and the logits' codes of Google's file, run by LiteRT: uint8 [n, d], uint8 [n, classes]."""
    interpreter = Interpreter(str(path), num_threads=1, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    operators = interpreter._get_ops_details()
    pooled = next(each["outputs"][0] for each in operators if each["op_name"] == "AVERAGE_POOL_2D")
    last = [each["outputs"][0] for each in operators if each["op_name"] == "CONV_2D"][-1]
    rows = []
    for image in images:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None])
        interpreter.invoke()
        rows.append((interpreter.get_tensor(pooled).ravel().copy(), interpreter.get_tensor(last).ravel().copy()))
    return np.stack([row[0] for row in rows]), np.stack([row[1] for row in rows])


@pytest.mark.slow
@pytest.mark.parametrize("name", GOOGLE)
@pytest.mark.filterwarnings("ignore:.*experimental_preserve_all_tensors")
def test_googles_classifier_answers_as_in_its_own_file(shared: Path, name: str) -> None:
    path = shared / "models" / f"{name}.tflite"
    size = load_model(str(path)).input_spec.height
    loader = ImageLoader(load_model(str(path)).input_spec, Preprocessing())
    images = np.empty((12, size, size, 3), np.uint8)
    for image, photograph in zip(images, sorted((shared / "data" / "photos").iterdir())[::50], strict=False):
        loader.load(ImageRef("", str(photograph)), image)
    pooled, logits = run_whole(path, images)
    labeler = Labeler(load_classifier(str(path)), 5)
    scale, zero_point = labeler._source["quantization"]
    found = labeler(((pooled.astype(np.float64) - zero_point) * scale).astype(np.float32))
    for (labels, scores), codes in zip(found, logits, strict=True):
        order = np.argsort(-codes.astype(np.int64), kind="stable")[:5]
        assert labels == tuple(imagenet_labels()[number] for number in order)
        assert list(scores) == sorted(scores, reverse=True)


def test_pooled_codes_are_rounded_as_the_files_own_pooling_rounds_them(tmp_path: Path) -> None:
    """Features are a mean in float; what the classifier gets is the rounded mean of codes."""
    network = quantops_network()
    (tmp_path / "m.tflite").write_bytes(compile_uint8(network))
    images = random_images(6, 128)
    labeler = Labeler(load_classifier(str(tmp_path / "m.tflite")), 1)
    scale, zero_point = labeler._source["quantization"]
    positions = 16
    generator = np.random.default_rng(4)
    maps = generator.integers(0, 256, (6, positions, 256))
    features = ((maps - zero_point).mean(axis=1) * scale).astype(np.float32)
    expected = (maps.sum(axis=1) + positions // 2) // positions
    np.testing.assert_array_equal(np.stack([labeler._input(row) for row in features]), expected)
    assert len(labeler(load_model(str(tmp_path / "m.tflite"))(images))) == 6


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def write_classification_module(network: MobileNetV1, folder: Path) -> None:
    """A TF1-format module as Google's ``classification/3``: images in, logits out."""
    tf = tensorflow()
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        feeds: dict[Any, Any] = {}

        def held(value: Any) -> Any:
            stand_in = v1.placeholder(tf.float32, np.shape(value))
            feeds[stand_in] = value
            return stand_in

        def span(value: Any) -> Any:
            return value and graph.Span(held(value.minimum), held(value.maximum))

        def layer(value: Any) -> Any:
            return graph.LayerTensors(held(value.kernel), held(value.bias), span(value.weights), span(value.output))

        arrays = graph.network_arrays(network)
        variables = graph.network_variables(
            replace(
                arrays,
                layers=[layer(each) for each in arrays.layers],
                input=span(arrays.input),
                logits=layer(arrays.logits),
            )
        )
        images = v1.placeholder(tf.float32, [None, 128, 128, 3], name="images")
        features = graph.features(variables, images)
        logits = tf.identity(graph.logits(variables, features), name="logits")
        session.run(v1.global_variables_initializer(), feeds)
        signature = v1.saved_model.predict_signature_def({"images": images}, {"default": logits})
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(session, [], {"default": signature, "image_classification": signature})
        builder.save()
    (folder / "tfhub_module.pb").write_bytes(MODULE_DEF)


@pytest.mark.slow
def test_a_classification_module_gives_features_and_labels(tmp_path: Path, photographs: Path) -> None:
    network = quantops_network()
    folder = tmp_path / "classification"
    write_classification_module(network, folder)
    (tmp_path / "m.tflite").write_bytes(compile_uint8(network))
    rows = {}
    for model in (folder, tmp_path / "m.tflite"):
        output = tmp_path / f"of-{model.name}"
        fvcli.extract(str(photographs), output, model=str(model), labels=3)
        dataset = fvcli.open_dataset(output)
        assert dataset.schema.names[-2:] == ["labels", "scores"]
        rows[model.name] = dataset.metadata(["path", "labels"]).to_pylist()
    assert rows["classification"] == rows["m.tflite"], "another form of one network has the same classes"
    assert all(len(row["labels"]) == 3 for row in rows["classification"])


def test_a_plain_networks_scores_are_the_softmax_of_its_logits(tmp_path: Path) -> None:
    from fvcli.models.labels import Classifier
    from fvcli.models.mobilenet.classifier_file import compile_classifier

    network = plain_network()
    data = compile_classifier(network)
    assert data is not None
    assert network.logits is not None
    features = np.random.default_rng(1).uniform(0, 3, (4, 256)).astype(np.float32)
    logits = features.astype(np.float64) @ network.logits.kernel[0, 0] + network.logits.bias
    for (labels, scores), row in zip(Labeler(Classifier("plain", data, 16), 4)(features), logits, strict=True):
        order = np.argsort(-row)[:4]
        assert labels == tuple(imagenet_labels()[number] for number in order)
        np.testing.assert_allclose(scores, softmax(row)[order], rtol=1e-4)


def test_models_without_a_classifier_are_refused(tmp_path: Path, photographs: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(compile_uint8(replace(quantops_network(), logits=None)))
    with pytest.raises(UsageError, match="has no classifier, so no labels"):
        fvcli.extract(str(photographs), tmp_path / "f", model=str(tmp_path / "m.tflite"), labels=1)
    with pytest.raises(UsageError, match="labels is 1 to 1001"):
        fvcli.extract(str(photographs), tmp_path / "f", labels=1002)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["parquet", "npy"])
def test_labels_are_the_same_for_any_threads_and_stay_with_their_rows(
    tmp_path: Path, photographs: Path, format: str
) -> None:
    tables = []
    for number, (workers, batch_size) in enumerate([(1, 1), (2, 7), (4, 32)]):
        folder = tmp_path / str(number)
        options: Any = {"labels": 2, "workers": workers, "batch_size": batch_size, "format": format}
        fvcli.extract(str(photographs), folder, shard_size=9, **options)
        tables.append(fvcli.open_dataset(folder).metadata())
    assert tables[0].equals(tables[1])
    assert tables[0].equals(tables[2])
    by_path = {row["path"]: row["labels"] for row in tables[0].to_pylist()}
    assert by_path["cat.jpg"][0] in ("tabby, tabby cat", "Egyptian cat", "tiger cat")
    (photographs / "cat.jpg").rename(photographs / "renamed.jpg")
    try:
        summary = fvcli.extract(str(photographs), tmp_path / "0", shard_size=9, labels=2, format=format, prune=True)  # type: ignore[arg-type]
    finally:
        (photographs / "renamed.jpg").rename(photographs / "cat.jpg")
    assert summary.extracted == 0
    after = {row["path"]: row["labels"] for row in fvcli.open_dataset(tmp_path / "0").metadata().to_pylist()}
    assert after["renamed.jpg"] == by_path["cat.jpg"]
    with pytest.raises(DatasetError, match="made with labels 2; this command asks for labels 3"):
        fvcli.extract(str(photographs), tmp_path / "0", labels=3, format=format)  # type: ignore[arg-type]


def test_normalized_vectors_have_unit_length_and_are_another_recipe(tmp_path: Path, photographs: Path) -> None:
    fvcli.extract(str(photographs), tmp_path / "plain")
    fvcli.extract(str(photographs), tmp_path / "unit", normalize=True)
    plain, unit = (fvcli.open_dataset(tmp_path / name).vectors().astype(np.float64) for name in ("plain", "unit"))
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(unit, plain / np.linalg.norm(plain, axis=1, keepdims=True), atol=1e-7)
    with pytest.raises(DatasetError, match="made with no normalize; this command asks for normalize True"):
        fvcli.extract(str(photographs), tmp_path / "plain", normalize=True)


def test_a_zero_vector_stays_zero() -> None:
    vectors = np.zeros((3, 5), np.float32)
    vectors[1] = [3, 0, 4, 0, 0]
    vectors[2] = 1e-30
    np.testing.assert_array_equal(unit_length(vectors)[0], 0)
    np.testing.assert_allclose(unit_length(vectors)[1], [0.6, 0, 0.8, 0, 0], rtol=1e-7)
    np.testing.assert_allclose(np.linalg.norm(unit_length(vectors)[2].astype(np.float64)), 1, rtol=1e-6)


def test_zero_vectors_are_counted(tmp_path: Path, photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fvcli.models.litert import LiteRTModel

    honest = LiteRTModel.__call__

    def dark(model: LiteRTModel, images: np.ndarray) -> np.ndarray:
        vectors = honest(model, images)
        vectors[images.mean(axis=(1, 2, 3)) < 100] = 0
        return vectors

    monkeypatch.setattr(LiteRTModel, "__call__", dark)
    summary = fvcli.extract(str(photographs), tmp_path / "f", normalize=True)
    vectors = fvcli.open_dataset(tmp_path / "f").vectors()
    assert summary.zero_vectors == int((~vectors.any(axis=1)).sum()) > 0
    assert summary.to_json()["zero_vectors"] == summary.zero_vectors
    again = fvcli.extract(str(photographs), tmp_path / "f", normalize=True)
    assert (again.extracted, again.zero_vectors) == (0, summary.zero_vectors)


def test_a_damaged_classifier_is_a_model_error() -> None:
    from fvcli.models.labels import Classifier

    with pytest.raises(ModelError, match="LiteRT does not take"):
        Labeler(Classifier("m", b"no model", 1), 1)


@pytest.mark.slow
def test_neighbors_tell_the_labels_of_their_rows(tmp_path: Path, photographs: Path) -> None:
    fvcli.extract(str(photographs), tmp_path / "f", labels=2)

    def neighbors(*options: str) -> str:
        command = [FVCLI, "neighbors", str(tmp_path / "f"), "cat.jpg", "-k", "3", *options]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    near = json.loads(neighbors("--json"))
    labels = {row["path"]: row["labels"] for row in fvcli.open_dataset(tmp_path / "f").metadata().to_pylist()}
    assert [each["labels"] for each in near] == [labels[each["path"]] for each in near]
    assert [line.split("\t")[-1] for line in neighbors().splitlines()] == [each["labels"][0] for each in near]
