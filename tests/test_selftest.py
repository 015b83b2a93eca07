"""The installation's own check passes where it should and fails where it should."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fvcli.selftest
from fvcli.models.loading import load_model
from fvcli.selftest import IMAGES, selftest

FVCLI = Path(sys.executable).with_name("fvcli")


def test_the_installed_command_passes() -> None:
    done = subprocess.run([FVCLI, "selftest", "--json", "-q"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["passed"]
    assert set(told["images"]) == set(IMAGES)


def test_both_engines_agree_with_their_golden_vectors_and_each_other() -> None:
    stored = Path(fvcli.selftest.__file__).with_name("golden.npz")
    golden = np.load(io.BytesIO(stored.read_bytes()), allow_pickle=False)
    for int8, reference in zip(golden["int8"], golden["tensorflow"], strict=True):
        cosine = float(int8 @ reference) / float(np.linalg.norm(int8) * np.linalg.norm(reference))
        assert cosine > 0.998
    assert json.loads(str(golden["made"]))["identity"] == load_model().identity


def test_a_model_that_computes_something_else_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = fvcli.selftest.vectors_of

    def disturbed(model: object) -> object:
        vectors = honest(model)  # type: ignore[arg-type]
        return vectors[::-1]

    monkeypatch.setattr(fvcli.selftest, "vectors_of", disturbed)
    assert not selftest().passed
