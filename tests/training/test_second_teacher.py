"""The second teacher: the real file in float, up to its logits."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.networks import litert_rows

torch = pytest.importorskip("torch")
pytest.importorskip("ai_edge_litert")

from training.second_teacher import OUTPUTS, SIZE, SecondTeacher, Step, read_steps  # noqa: E402

EMBEDDED = resources.files("fvcli.models") / "embedded"


@pytest.fixture(scope="module")
def model(shared: Path) -> Path:
    return shared / "models" / "mobilenet_v2_1.0_224_quant.tflite"


@pytest.mark.slow
def test_its_classes_are_those_of_the_file(model: Path, photographs: Path) -> None:
    paths = sorted(path for path in photographs.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    assert len(paths) > 10
    images = np.stack(
        [np.asarray(Image.open(path).convert("RGBA").convert("RGB").resize((SIZE, SIZE))) for path in paths]
    )
    likely = litert_rows(model, images) / 256

    with torch.no_grad():
        logits = SecondTeacher(read_steps(model))(torch.from_numpy(images).permute(0, 3, 1, 2))

    assert logits.shape == (len(paths), OUTPUTS)
    given = logits.softmax(dim=1).numpy()
    # The file rounds what each of its layers gives to 8 bits, and its probabilities to 1/256.
    seen = (likely > 0.02) & (likely < 0.98)
    assert seen.sum() > 30
    logarithms = np.log(given[seen]), np.log(likely[seen])
    assert np.corrcoef(*logarithms)[0, 1] > 0.98
    assert np.abs(logarithms[0] - logarithms[1]).mean() < 0.2
    sure = likely.max(axis=1) > 0.4
    assert sure.sum() > 5
    np.testing.assert_array_equal(given.argmax(axis=1)[sure], likely.argmax(axis=1)[sure])


def test_a_file_with_other_operations_is_refused() -> None:
    with (
        resources.as_file(EMBEDDED / "mobilenet_v1_1.0_160.tflite") as path,
        pytest.raises(ValueError, match=r"mobilenet_v1_1\.0_160\.tflite: .*not this CONV_2D"),
    ):
        read_steps(path)


def test_its_results_are_clipped_added_and_averaged() -> None:
    twice = torch.full((1, 1, 1, 1), 2.0)
    steps = [
        Step((0,), 1, 0.0, 1.0, twice, torch.tensor([0.25])),
        Step((0, 1), 2, -1.0, 9.0),
        Step((2,), 3, -1.0, 0.5),
    ]
    pixels = torch.tensor([[[[0, 128], [160, 255]]]], dtype=torch.uint8)
    values = np.array([-1, 0, 0.25, 127 / 128])
    added = np.maximum(values + np.clip(2 * values + 0.25, 0, 1), -1)
    assert SecondTeacher(steps)(pixels).item() == pytest.approx(min(added.mean(), 0.5))
    wide = [*steps[:2], Step((2,), 3, -1.0, 9.0)]
    assert SecondTeacher(wide)(pixels).item() == pytest.approx(added.mean())
