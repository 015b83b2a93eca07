"""The shipped model: what its card says is so."""

from __future__ import annotations

from pathlib import Path

import pytest

from fvcli.models.loading import embedded_file, load_model, load_network
from fvcli.models.mobilenet.network import exactness
from fvcli.records import Preprocessing

pytest.importorskip("tensorflow")

from training import photographs
from training.evaluate import Classifier
from training.holdout import FITS
from training.photographs import loaded
from training.scores import means, scores


def test_every_channel_is_exact_and_the_file_is_small() -> None:
    card, data = embedded_file()
    network = load_network("embedded")
    assert network.identity == card.identity
    reports = exactness(network)
    assert sum(report.channels for report in reports) == 10_944
    assert all(report.exact == report.channels for report in reports)
    assert len(data) <= 3_600_000


@pytest.mark.slow
def test_the_cards_figures_are_what_int8_gives(shared: Path) -> None:
    folder = shared / "data" / "validation"
    if not folder.is_dir():
        pytest.skip("no validation photographs")
    card, _ = embedded_file()
    paths, truth = photographs.labeled(folder / "labels.tsv", folder, photographs.MISNAMED)
    model, classifier = load_model(), Classifier()
    for fit in FITS:
        values = means(scores(classifier(model(loaded(paths, model.input_spec, Preprocessing(fit=fit)))), truth))
        known = card.notes["measured"]["validation"][fit]["int8"]["mean"]
        for name in ("top1", "top5", "retrieval"):
            # Another CPU's last bit may turn a few answers.
            assert values[name] == pytest.approx(known[name], abs=0.005), (fit, name)
