"""The engines against Google's own files, on photographs (benchmarks/engines.py does it on all of them)."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from fvcli.images.loader import ImageLoader
from fvcli.models.loading import load_model
from fvcli.models.mobilenet.network import ACTIVATION_CODES, quantize, range_limits
from fvcli.records import ImageRef, Preprocessing
from tests.helpers.networks import GOOGLE_FILES, quantops_network, random_images

PHOTOGRAPHS = 8


@pytest.mark.slow
@pytest.mark.parametrize("name", GOOGLE_FILES)
@pytest.mark.filterwarnings("ignore:.*experimental_preserve_all_tensors")
def test_features_are_googles(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("FVCLI_CACHE", str(tmp_path))
    path = shared / "models" / f"{name}.tflite"
    int8 = load_model(str(path))
    loader = ImageLoader(int8.input_spec, Preprocessing())
    images = np.empty((PHOTOGRAPHS, int8.input_spec.height, int8.input_spec.width, 3), np.uint8)
    for image, photograph in zip(images, sorted((shared / "data" / "photos").iterdir())[::80], strict=False):
        loader.load(ImageRef("", str(photograph)), image)
    google, first, second = pooled(path, images), int8(images), load_model(str(path), "tensorflow")(images)
    least = 0.9985 if GOOGLE_FILES[name][0] <= 0.5 else 0.9995
    for a, b in ((first, google), (second, google), (first, second)):
        cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        assert cosine.mean() >= least
        assert cosine.min() >= 0.995
        np.testing.assert_allclose(np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1), rtol=0.05)


def pooled(path: Path, images: np.ndarray) -> np.ndarray:
    """The pooled tensor of Google's file, run by LiteRT, as real numbers."""
    interpreter = Interpreter(str(path), num_threads=1, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    operators = interpreter._get_ops_details()
    tensor = next(each["outputs"][0] for each in operators if each["op_name"] == "AVERAGE_POOL_2D")
    scale, zero_point = interpreter._get_tensor_details(tensor, 0)["quantization"]
    rows = []
    for image in images:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None])
        interpreter.invoke()
        rows.append((interpreter.get_tensor(tensor).ravel().astype(np.float32) - zero_point) * np.float32(scale))
    return np.stack(rows)


@pytest.fixture(scope="module")
def reference() -> Any:
    """The module; it loads TensorFlow, which collecting tests shall not wait for."""
    return importlib.import_module("fvcli.models.mobilenet.reference")


def test_the_graph_gets_the_codes_of_the_pixel_table(reference: Any) -> None:
    network = quantops_network()
    assert network.input is not None
    low, high = range_limits(network.input.scale, network.input.zero_point, ACTIVATION_CODES)
    seen = quantize(
        reference.unit_values(network) * np.float32(2) - np.float32(1), float(low), float(high), ACTIVATION_CODES
    )
    assert tuple(seen.codes.tolist()) == network.input_spec.pixel_table


def test_the_reference_gives_the_same_bytes_in_every_batch(reference: Any) -> None:
    model, images = reference.network_model(quantops_network(), "reference", "Apache-2.0"), random_images(5, 128)
    whole = model(images)
    parts = [model.per_thread()(images[start : start + 2]) for start in (0, 2, 4)]
    assert np.concatenate(parts).tobytes() == whole.tobytes()
