"""The installation's own check passes where it should and fails where it should."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import fvcli.selftest
from fvcli.cli import app
from fvcli.models.loading import load_model
from fvcli.records import Engine
from fvcli.selftest import selftest, vectors_of

FVCLI = Path(sys.executable).with_name("fvcli")


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return (first * second).sum(axis=1) / lengths


def turned(vectors: np.ndarray, cosine: float) -> np.ndarray:
    """Vectors at this cosine to those given."""
    noise = np.random.default_rng(3).normal(size=vectors.shape)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    noise -= (noise * vectors).sum(axis=1, keepdims=True) / length**2 * vectors
    noise *= length / np.linalg.norm(noise, axis=1, keepdims=True)
    return (cosine * vectors + np.sqrt(1 - cosine**2) * noise).astype(np.float32)


@pytest.fixture
def change(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[np.ndarray], np.ndarray]], None]:
    """Puts something between the model and the comparison."""

    def through(function: Callable[[np.ndarray], np.ndarray]) -> None:
        honest = vectors_of(load_model())
        monkeypatch.setattr(fvcli.selftest, "vectors_of", lambda model: function(honest))

    return through


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another machine than the one that made the golden vectors."""
    monkeypatch.setattr(fvcli.selftest, "environment", lambda: {"cpu": "another"})


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["int8", "tensorflow"])
def test_the_installed_command_passes(engine: str) -> None:
    command = [FVCLI, "selftest", "--engine", engine, "--json", "-q"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert (told["passed"], told["engine"], told["identity"]) == (True, engine, told["identity_expected"])
    assert set(told["images"]) == {"cat.jpg", "coffee-exif-3.jpg", "camera-16-bit.png", "cat-alpha.png"}
    assert all(image["cosine"] >= 0.998 for image in told["images"].values())


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["int8", "tensorflow"])
def test_the_engines_give_the_golden_vectors(engine: Engine) -> None:
    stored = Path(fvcli.selftest.__file__).with_name("golden.npz")
    golden = np.load(io.BytesIO(stored.read_bytes()), allow_pickle=False)
    model = load_model(engine=engine)
    assert model.identity == json.loads(str(golden["made"]))["identity"]
    assert cosines(vectors_of(model), golden[engine]).min() >= 0.999
    assert cosines(vectors_of(model), golden["tensorflow" if engine == "int8" else "int8"]).min() >= 0.998


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize(
    ("cosine", "passes"), [(0.9, False), (0.99, False), (0.9985, False), (0.9995, True), (1.0, True)]
)
def test_elsewhere_vectors_have_to_be_near(change: Any, cosine: float, passes: bool) -> None:
    change(lambda vectors: turned(vectors, cosine))
    assert selftest().passed is passes


@pytest.mark.usefixtures("elsewhere")
def test_one_wrong_image_is_enough_to_fail(change: Any) -> None:
    change(lambda vectors: np.concatenate([vectors[:-1], turned(vectors[-1:], 0.99)]))
    assert not selftest().passed


def test_on_the_same_machine_every_bit_counts(change: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = Path(fvcli.selftest.__file__).with_name("golden.npz")
    golden = np.load(io.BytesIO(stored.read_bytes()), allow_pickle=False)
    monkeypatch.setattr(fvcli.selftest, "environment", lambda: json.loads(str(golden["made"]))["environment"])
    monkeypatch.setattr(fvcli.selftest, "vectors_of", lambda model: golden["int8"])
    assert selftest().passed
    touched = golden["int8"].copy()
    touched[2, 5] = np.nextafter(touched[2, 5], np.float32(100))
    monkeypatch.setattr(fvcli.selftest, "vectors_of", lambda model: touched)
    assert not selftest().passed


@pytest.mark.usefixtures("elsewhere")
def test_another_model_fails_whatever_it_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fvcli.models.litert.LiteRTModel.identity", "0" * 64)
    result = selftest()
    assert [comparison.cosine > 0.999 for comparison in result.comparisons] == [True] * 4
    assert not result.passed


@pytest.mark.usefixtures("elsewhere")
def test_a_failed_selftest_ends_with_1_and_says_what_to_do(change: Any) -> None:
    change(lambda vectors: turned(vectors, 0.9))
    done = CliRunner().invoke(app, ["selftest"])
    assert done.exit_code == 1
    assert "selftest failed" in done.stderr
    assert "reinstall fvcli" in done.stderr
    change(lambda vectors: vectors)
    assert CliRunner().invoke(app, ["selftest"]).exit_code == 0
