"""Embedders of other makers: the vectors are those of the runtime itself, whatever the batch and the threads."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

import fvcli
from fvcli.errors import ModelError, UsageError
from fvcli.models import foreign
from fvcli.models.frameworks import tensorflow
from fvcli.models.litert import LiteRTModel
from fvcli.models.loading import load_model
from fvcli.records import Float32Array, InputSpec, UInt8Array
from tests.helpers.contents import data_files, manifest
from tests.helpers.foreign_models import (
    DIMENSION,
    MEDIAPIPE,
    SIZE,
    embed,
    metadata,
    with_metadata,
    write_keras,
    write_onnx,
    write_tflite,
)
from tests.helpers.networks import random_images

pytestmark = pytest.mark.slow

IMAGENET = ([0.485 * 255, 0.456 * 255, 0.406 * 255], [0.229 * 255, 0.224 * 255, 0.225 * 255])
IMAGENET_OPTIONS = "mean=0.485,0.456,0.406&std=0.229,0.224,0.225"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FVCLI_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def images() -> np.ndarray:
    return random_images(4, SIZE)


def normalized(images: np.ndarray, mean: list[float], std: list[float]) -> np.ndarray:
    return ((images.astype(np.float64) - mean) / std).astype(np.float32)


def run_litert(path: Path, values: np.ndarray) -> np.ndarray:
    """The first output for each image, as LiteRT itself gives it, as real numbers."""
    interpreter = Interpreter(str(path), num_threads=1)
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    interpreter.resize_tensor_input(source["index"], [1, *values.shape[1:]])
    interpreter.allocate_tensors()
    scale, zero_point = target["quantization"]
    rows = []
    for image in values:
        interpreter.set_tensor(source["index"], image[np.newaxis])
        interpreter.invoke()
        row = interpreter.get_tensor(target["index"])[0]
        rows.append(row if target["dtype"] == np.float32 else (row.astype(np.float32) - zero_point) * np.float32(scale))
    return np.stack(rows)


@pytest.mark.parametrize(
    "normalization", [MEDIAPIPE, IMAGENET, ([0.0], [255.0])], ids=["mediapipe", "imagenet", "unit"]
)
def test_a_float_file_is_fed_as_its_metadata_says(
    tmp_path: Path, images: np.ndarray, normalization: tuple[list[float], list[float]]
) -> None:
    path = write_tflite(tmp_path / "m.tflite", normalization=normalization)
    model = load_model(str(path))
    assert (model.engine, model.dimension, model.name) == ("litert", DIMENSION, str(path))
    assert model.identity == hashlib.sha256(path.read_bytes()).hexdigest()
    expected = run_litert(path, normalized(images, *normalization))
    assert expected.std(axis=0).min() > 0.001, "the network gives every image the same vector"
    np.testing.assert_allclose(model(images), expected, rtol=1e-4, atol=1e-5)


def test_an_int8_file_is_fed_codes_of_the_normalized_pixels_and_its_output_is_dequantized(
    tmp_path: Path, images: np.ndarray
) -> None:
    path = write_tflite(tmp_path / "m.tflite", "int8")
    scale, zero_point = Interpreter(str(path)).get_input_details()[0]["quantization"]
    codes = np.clip(np.round(normalized(images, *MEDIAPIPE) / scale + zero_point), -128, 127).astype(np.int8)
    assert load_model(str(path))(images).tobytes() == run_litert(path, codes).astype(np.float32).tobytes()


@pytest.mark.parametrize("normalization", [MEDIAPIPE, None], ids=["with metadata", "without"])
def test_a_uint8_file_takes_the_pixels_as_they_are(
    tmp_path: Path, images: np.ndarray, normalization: tuple[list[float], list[float]] | None
) -> None:
    path = write_tflite(tmp_path / "m.tflite", "uint8", normalization)
    assert load_model(str(path))(images).tobytes() == run_litert(path, images).tobytes()


@pytest.mark.parametrize("kind", ["float32", "int8"])
def test_a_range_that_nobody_states_is_asked_for(tmp_path: Path, images: np.ndarray, kind: str) -> None:
    path = write_tflite(tmp_path / "m.tflite", kind, None)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=r"m\.tflite\?input-range=0,1"):
        load_model(str(path))
    told = load_model(f"{path}?input-range=-1,1")
    stated = load_model(str(write_tflite(tmp_path / "stated.tflite", kind)))  # type: ignore[arg-type]
    np.testing.assert_allclose(told(images), stated(images), rtol=1e-4, atol=1e-5)
    assert told.identity != load_model(f"{path}?input-range=0,1").identity


def test_one_of_several_outputs_is_named(tmp_path: Path, images: np.ndarray) -> None:
    path = write_tflite(tmp_path / "m.tflite", outputs=2)
    with pytest.raises(ModelError, match=r"several outputs \(.*\?output="):
        load_model(str(path))
    embedding, other = (load_model(f"{path}?output={name}")(images) for name in ("embedding", "other"))
    np.testing.assert_allclose(other, 2 * embedding, rtol=1e-5)
    with pytest.raises(UsageError, match="has no output third; its outputs are"):
        load_model(f"{path}?output=third")


def test_a_file_for_any_size_asks_for_one(tmp_path: Path) -> None:
    path = write_tflite(tmp_path / "m.tflite", size=None)
    with pytest.raises(ModelError, match=r"takes images of any size.*\?image-size=224"):
        load_model(str(path))
    model, images = load_model(f"{path}?image-size=48"), random_images(3, 48)
    assert (model.input_spec.height, model.input_spec.width) == (48, 48)
    np.testing.assert_allclose(model(images), run_litert(path, normalized(images, *MEDIAPIPE)), rtol=1e-4, atol=1e-5)
    fixed = write_tflite(tmp_path / "fixed.tflite")
    assert load_model(f"{fixed}?image-size={SIZE}").dimension == DIMENSION
    with pytest.raises(UsageError, match="32 x 32 pixels only"):
        load_model(f"{fixed}?image-size=48")


def test_damaged_files_end_in_a_model_error(tmp_path: Path) -> None:
    path = write_tflite(tmp_path / "m.tflite")
    data = path.read_bytes()
    for end in (9, 60, len(data) // 2, len(data) - 40):
        path.write_bytes(data[:end])
        with pytest.raises(ModelError, match=r"m\.tflite"):
            load_model(str(path))
    plain = write_tflite(path, normalization=None).read_bytes()
    values = metadata(*MEDIAPIPE)
    for end in (2, 20, len(values) // 2):
        path.write_bytes(with_metadata(plain, values[:end]))
        with pytest.raises(ModelError, match=r"m\.tflite"):
            load_model(str(path))
    path.write_bytes(with_metadata(plain, metadata([127.5], [0.0])))
    with pytest.raises(ModelError, match="normalization is damaged"):
        load_model(str(path))


def test_another_engine_than_the_files_own_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="runs with --engine litert"):
        load_model(str(write_tflite(tmp_path / "m.tflite")), "int8")


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_onnx_is_fed_channels_where_it_has_them(tmp_path: Path, images: np.ndarray, layout: str) -> None:
    runtime = pytest.importorskip("onnxruntime")
    path = write_onnx(tmp_path / "m.onnx", layout)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=r"m\.onnx\?input-range=0,1"):
        load_model(str(path))
    model = load_model(f"{path}?{IMAGENET_OPTIONS}")
    assert (model.engine, model.dimension) == ("onnx", DIMENSION)
    values = normalized(images, *IMAGENET)
    feed = values.transpose(0, 3, 1, 2) if layout == "NCHW" else values
    expected = runtime.InferenceSession(str(path)).run(None, {"images": np.ascontiguousarray(feed)})[0]
    np.testing.assert_allclose(model(images), expected, rtol=1e-4, atol=1e-5)


def test_onnx_of_any_size_with_several_outputs_and_with_bytes(tmp_path: Path, images: np.ndarray) -> None:
    runtime = pytest.importorskip("onnxruntime")
    path = write_onnx(tmp_path / "m.onnx", size=None, outputs=2)
    with pytest.raises(ModelError, match=r"several outputs \(embedding, pooled\)"):
        load_model(f"{path}?input-range=0,1&image-size=32")
    with pytest.raises(ModelError, match="any size"):
        load_model(f"{path}?input-range=0,1&output=pooled")
    assert load_model(f"{path}?input-range=0,1&image-size=32&output=pooled").dimension == 8
    raw = write_onnx(tmp_path / "raw.onnx", "NHWC", uint8=True)
    expected = runtime.InferenceSession(str(raw)).run(None, {"images": images})[0]
    np.testing.assert_allclose(load_model(str(raw))(images), expected, rtol=1e-4)
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"bad\.onnx\?input-range=0,1: ONNX Runtime cannot load this file"):
        load_model(f"{tmp_path / 'bad.onnx'}?input-range=0,1")


def test_onnx_without_its_runtime_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    (tmp_path / "m.onnx").write_bytes(b"")
    with pytest.raises(ModelError, match=r"onnxruntime, which is not installed.*pip install 'fvcli\[onnx\]'"):
        load_model(f"{tmp_path / 'm.onnx'}?input-range=0,1")


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_keras_models_run_as_keras_runs_them(tmp_path: Path, images: np.ndarray, ending: str) -> None:
    path = write_keras(tmp_path / f"m.{ending}")
    with pytest.raises(ModelError, match="input-range=0,1"):
        load_model(str(path))
    model = load_model(f"{path}?input-range=-1,1")
    assert (model.engine, model.dimension) == ("tensorflow", DIMENSION)
    expected = tensorflow().keras.models.load_model(str(path)).predict(normalized(images, *MEDIAPIPE), verbose=0)
    np.testing.assert_allclose(model(images), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(UsageError, match="runs with --engine tensorflow"):
        load_model(f"{path}?input-range=-1,1", "float")
    with pytest.raises(UsageError, match="32 x 32 pixels only"):
        load_model(f"{path}?input-range=-1,1&image-size=64")


MODELS: dict[str, Callable[[Path], str]] = {
    "float tflite": lambda folder: str(write_tflite(folder / "m.tflite")),
    "int8 tflite": lambda folder: str(write_tflite(folder / "m.tflite", "int8")),
    "onnx": lambda folder: f"{write_onnx(folder / 'm.onnx')}?{IMAGENET_OPTIONS}",
    "keras": lambda folder: f"{write_keras(folder / 'm.keras')}?input-range=0,1",
}


@pytest.mark.slow
@pytest.mark.parametrize("write", MODELS.values(), ids=MODELS)
def test_every_batch_and_number_of_threads_gives_the_same_files(
    tmp_path: Path, photographs: Path, write: Callable[[Path], str]
) -> None:
    if write is MODELS["onnx"]:
        pytest.importorskip("onnxruntime")
    model, found = write(tmp_path), []
    for number, (workers, batch_size) in enumerate(product((1, 2, 4), (1, 7, 32))):
        folder = tmp_path / str(number)
        summary = fvcli.extract(str(photographs), folder, model=model, workers=workers, batch_size=batch_size)
        assert summary.counts.failed == 0
        found.append(data_files(folder))
    assert found[0]
    assert all(files == found[0] for files in found)
    written = manifest(tmp_path / "0")
    assert written is not None
    assert written["dimension"] == DIMENSION


def test_a_conversion_that_computes_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the converter leaves variables out; here all numbers of the result are a twentieth too large."""

    class Off(LiteRTModel):
        def __call__(self, images: UInt8Array) -> Float32Array:
            return super().__call__(images) * np.float32(1.05)

    spec, module = InputSpec(SIZE, SIZE, (0.0, 1.0)), tensorflow().Module()
    model = foreign.ForeignModel("m", "MIT", spec, DIMENSION, "ab" * 32, module, embed)
    assert foreign.converted(model)[0].identity == model.identity
    monkeypatch.setattr(foreign, "LiteRTModel", Off)
    with pytest.raises(ModelError, match="computes something else; use --engine tensorflow"):
        foreign.converted(model)
