"""README's figures are those of the pages that record them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CARD = ROOT / "fvcli" / "models" / "embedded" / "mobilenet_v1_1.0_160.json"
NETWORKS = {
    "float network at 224": "teacher at 224",
    "float network at 160": "teacher at 160",
    "`embedded`, int8": "embedded (ships)",
}


def rows(page: str) -> list[list[str]]:
    """The cells of all table rows of a page, without emphasis."""
    lines = (ROOT / page).read_text("utf-8").splitlines()
    return [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]


def row(page: str, first: str) -> list[str]:
    """The one row of a page that begins with a cell."""
    (found,) = [cells for cells in rows(page) if cells[0] == first]
    return found


def numbers(cell: str) -> list[float]:
    return [float(number) for number in cell.replace(",", "").split(" / ")]


def test_speed() -> None:
    at = rows("README.md").index(["fvcli", "usual TensorFlow Hub script", "limit of the machine"])
    shown = [float(cell) for cell in rows("README.md")[at + 2]]
    recorded = [
        numbers(row("docs/performance.md", name)[1])[0] for name in ("fvcli extract", "TensorFlow Hub script", "limit")
    ]
    assert shown == [pytest.approx(figure, abs=0.5) for figure in recorded]


@pytest.mark.parametrize("network", NETWORKS)
def test_quality(network: str) -> None:
    labeled, unlabeled = (cells for cells in rows("training/README.md") if cells[0] == NETWORKS[network])
    _, top1, _top5, retrieval, _precision = labeled
    _, agreement, divergence, _neighbors = unlabeled
    assert row("README.md", network)[1:] == [top1, retrieval, agreement, divergence]


def test_quality_in_the_model_card() -> None:
    measured = json.loads(CARD.read_text("utf-8"))["measured"]
    top1, retrieval, agreement, divergence = map(numbers, row("README.md", "`embedded`, int8")[1:])
    for number, fit in enumerate(("squash", "crop")):
        labeled = measured["validation"][fit]["int8"]["mean"]
        unlabeled = measured["aside"][fit]["int8"]["mean"]
        assert labeled["top1"] == pytest.approx(top1[number], abs=5.1e-4)
        assert labeled["retrieval"] == pytest.approx(retrieval[number], abs=5.1e-4)
        assert unlabeled["agreement"] == pytest.approx(agreement[number], abs=5.1e-4)
        assert unlabeled["divergence"] == pytest.approx(divergence[number], abs=5.1e-4)
