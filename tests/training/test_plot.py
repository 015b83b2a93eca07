"""The plot of a training log."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

from training.plot import draw


def test_a_log_becomes_an_svg_with_a_line_for_each_series(tmp_path: Path) -> None:
    figures = {fit: {"agreement": 0.7, "divergence": 0.6, "cosine": 0.8} for fit in ("squash", "crop")}
    rows = [
        {"round": 0, "aside": figures},
        {"round": 1, "loss": 2.0},
        {"round": 2, "loss": 1.0, "aside": figures},
    ]
    log = tmp_path / "log.jsonl"
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = ElementTree.fromstring(draw(log)).findall("{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 1 + 3 * 2
    assert len(lines[0].attrib["points"].split()) == 2
