"""The plot of a training log."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip("torch")
pytest.importorskip("tensorflow")

from training.plot import draw
from training.recipe import PARTS

SVG = "{http://www.w3.org/2000/svg}"


def test_a_log_becomes_an_svg_with_a_line_for_each_part(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    rows = [{"round": number, **dict.fromkeys(PARTS, 1 / number)} for number in (1, 2, 3)]
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    svg = ElementTree.fromstring(draw(log))
    lines = [line.attrib["points"].split() for line in svg.findall(f"{SVG}polyline")]
    assert [len(line) for line in lines] == [3] * len(PARTS)
    heights = [float(point.split(",")[1]) for point in lines[0]]
    assert heights == sorted(heights), "what falls goes down"
    texts = [text.text for text in svg.findall(f"{SVG}text")]
    assert set(PARTS) <= set(texts)
    assert "round 3" in texts


def test_a_log_without_rounds_becomes_an_empty_svg(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.touch()
    assert ElementTree.fromstring(draw(log)).findall(f"{SVG}polyline") == []
