"""The second teacher: the real file up to its logits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.helpers.networks import litert_rows, random_images
from training.second_teacher import BATCH, OUTPUTS, SecondTeacher, resized, write_second_teacher


@pytest.fixture(scope="module")
def model(shared: Path) -> Path:
    return shared / "models" / "mobilenet_v2_1.0_224_quant.tflite"


@pytest.fixture(scope="module")
def teacher(model: Path, tmp_path_factory: pytest.TempPathFactory) -> SecondTeacher:
    path = tmp_path_factory.mktemp("second") / "second.tflite"
    write_second_teacher(model, path)
    return SecondTeacher(path)


def test_its_logits_are_those_before_the_probabilities_of_the_file(model: Path, teacher: SecondTeacher) -> None:
    images = random_images(BATCH + 1, 224)  # more than fits into a batch
    codes = litert_rows(model, images)

    logits = teacher(tuple(images)).astype(np.float64)
    likely = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    assert logits.shape == (BATCH + 1, OUTPUTS)
    assert len({int(row.argmax()) for row in codes}) > 1
    np.testing.assert_allclose(likely, codes / 256, atol=1.01 / 256)


def test_views_of_other_sizes_are_resized(teacher: SecondTeacher) -> None:
    small, large = random_images(1, 192)[0], random_images(1, 224, seed=1)[0]
    assert resized(large) is large
    np.testing.assert_array_equal(teacher((small, large)), teacher((resized(small), large)))
    assert resized(small).shape == large.shape
    assert abs(float(resized(small).mean()) - float(small.mean())) < 1
