"""The LiteRT engine: the same bytes per image whatever the batch and the thread."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import resources

import numpy as np
import pytest

from fvcli.errors import ModelError, UsageError
from fvcli.models.litert import LiteRTModel
from fvcli.models.loading import load_model
from fvcli.models.model_card import ModelCard

FOLDER = resources.files("fvcli.models") / "embedded"
FILE = FOLDER / "mobilenet_v1_1.0_160.tflite"


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Smooth and noisy pictures with every pixel value in them."""
    generator = np.random.default_rng(7)
    ramp = np.broadcast_to(np.linspace(0, 255, 160, dtype=np.uint8)[:, None, None], (160, 160, 3))
    return np.stack([ramp, 255 - ramp, *generator.integers(0, 256, (4, 160, 160, 3), dtype=np.uint8)])


def test_card_describes_the_file_beside_it() -> None:
    card = ModelCard.parse((FOLDER / "mobilenet_v1_1.0_160.json").read_text())
    assert card.file_sha256 == hashlib.sha256(FILE.read_bytes()).hexdigest()
    assert (card.input_spec.height, card.input_spec.width, card.dimension) == (160, 160, 1024)
    assert card.license == "Apache-2.0"
    assert "Apache License" in (FOLDER / "NOTICE").read_text()
    origin = "3b90af536f810f5f75e9f6d431bc2e8a3c4fc2ff4f693aa0dd4ae429816f8735"
    assert origin in (FOLDER / "mobilenet_v1_1.0_160.json").read_text(), "the frozen graph that the weights come from"


def test_same_image_same_bytes_in_every_batch_and_thread(images: np.ndarray) -> None:
    model = load_model()
    whole = model(images)
    assert whole.shape == (6, 1024)
    assert np.isfinite(whole).all()
    assert whole.std(axis=0).any(), "every image gave the same vector"
    for size in (1, 2, 5):
        parts = [model(images[start : start + size]) for start in range(0, 6, size)]
        assert np.concatenate(parts).tobytes() == whole.tobytes()
    others = [model.per_thread() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for answer in pool.map(lambda other: other(images), others):
            assert answer.tobytes() == whole.tobytes()


def test_an_empty_batch_gives_no_rows() -> None:
    assert load_model()(np.empty((0, 160, 160, 3), np.uint8)).shape == (0, 1024)


TABLES = {
    "the pixel": list(range(256)),
    "one more above the middle": [code + (128 <= code < 255) for code in range(256)],
    "one more at first": [code + (code < 128) for code in range(256)],
    "all of one": [200] * 256,
    "clipped": [min(code + 9, 255) for code in range(256)],
    "every step its own": [(code * 37) % 256 for code in range(256)],
}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_pixels_go_through_the_table(images: np.ndarray, table: list[int]) -> None:
    card = ModelCard.parse((FOLDER / "mobilenet_v1_1.0_160.json").read_text())
    model, plain = (
        LiteRTModel(replace(card, input_spec=replace(card.input_spec, pixel_table=codes)), FILE.read_bytes())
        for codes in (tuple(table), tuple(range(256)))
    )
    assert model(images).tobytes() == plain(np.array(table, np.uint8)[images]).tobytes()


def test_default_model_needs_no_tensorflow_and_says_nothing() -> None:
    program = (
        "import sys, numpy; from fvcli.models.loading import load_model; model = load_model();"
        "model.per_thread()(numpy.zeros((1, 160, 160, 3), 'uint8'));"
        "sys.exit(1 if 'tensorflow' in sys.modules else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_other_lines_on_stderr_survive_the_loading() -> None:
    program = (
        "import os\nfrom fvcli.machine import stderr_without\nfrom fvcli.models.frameworks import LITERT\n"
        "with stderr_without(LITERT):\n"
        "    os.write(2, b'INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\\nkeep me\\n')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stderr == b"keep me\n"


def test_damaged_files_and_wrong_engines_are_refused() -> None:
    card = ModelCard.parse((FOLDER / "mobilenet_v1_1.0_160.json").read_text())
    with pytest.raises(ModelError, match="LiteRT does not take"):
        LiteRTModel(card, b"not a model at all")
    with pytest.raises(ModelError, match="not those of its card"):
        LiteRTModel(replace(card, dimension=512), FILE.read_bytes())
    with pytest.raises(UsageError, match="--engine int8"):
        load_model("embedded", "float")
    with pytest.raises(ModelError, match="the model card has no 'identity'"):
        ModelCard.parse('{"name": "embedded"}')
