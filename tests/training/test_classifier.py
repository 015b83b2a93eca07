"""The shipped classifier: Google's own, beside the embedded model."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from fvcli.models.mobilenet.frozen_graph import read_frozen_graph
from training.classifier import write_classifier

EMBEDDED = resources.files("fvcli.models") / "embedded"
GRAPH = "mobilenet_v1_1.0_224_2017_06_14_frozen.pb"


def test_the_shipped_classifier_is_that_of_the_float_network(shared: Path) -> None:
    logits = read_frozen_graph(shared / "models" / GRAPH).logits
    assert logits is not None
    with resources.as_file(EMBEDDED / "classifier.npz") as path, np.load(path) as arrays:
        assert path.stat().st_size <= 2_000_000
        assert (arrays["weights"].dtype, arrays["biases"].dtype) == (np.float16, np.float32)
        np.testing.assert_allclose(arrays["weights"], logits.kernel[0, 0], atol=5e-4)
        np.testing.assert_array_equal(arrays["biases"], logits.bias)


def test_there_is_one_label_per_class() -> None:
    names = (EMBEDDED / "labels.txt").read_text().splitlines()
    assert len(names) == 1001
    assert all(names)
    assert (names[0], names[1], names[1000]) == (
        "background",
        "tench, Tinca tinca",
        "toilet tissue, toilet paper, bathroom tissue",
    )


def test_labels_of_another_network_are_refused(shared: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\ndog\n")
    with pytest.raises(ValueError, match="2 lines for 1001 classes"):
        write_classifier(shared / "models" / GRAPH, labels, tmp_path)
    assert not (tmp_path / "classifier.npz").exists()
