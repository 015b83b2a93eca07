"""The shipped model: what its card says is so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fvcli.models.loading import embedded_file, load_model, load_network
from fvcli.models.mobilenet.frozen_graph import read_frozen_graph
from fvcli.models.mobilenet.network import exactness
from training import crops, photographs


def test_every_channel_is_exact_and_the_file_is_small() -> None:
    card, data = embedded_file()
    network = load_network("embedded")
    assert network.identity == card.identity
    reports = exactness(network)
    assert sum(report.channels for report in reports) == 10_944
    assert all(report.exact == report.channels for report in reports)
    assert len(data) <= 3_600_000


def test_the_cards_figures_are_what_int8_gives(shared: Path) -> None:
    pytest.importorskip("tensorflow")
    card, _ = embedded_file()
    logits = read_frozen_graph(shared / "models" / "mobilenet_v1_1.0_224_2017_06_14_frozen.pb").logits
    assert logits is not None
    paths = photographs.split(shared / "data").validation
    truth = photographs.true_classes(paths, shared / "models" / "imagenet_labels.txt")
    images = [photographs.load(path) for path in paths]
    model = load_model()
    for fit in ("squash", "crop"):
        features = model(crops.views(images, 160, fit))
        answers = (features @ logits.kernel[0, 0] + logits.bias).argmax(axis=1)
        # Another CPU's last bit may turn an answer or two.
        assert np.mean(answers == truth) == pytest.approx(card.notes["measured"][fit]["int8"]["top1"], abs=2.5 / 106)
