"""The command that measures a model, on real photographs with known classes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("tensorflow")

from training import evaluate

GRAPH = "mobilenet_v1_1.0_224_2017_06_14_frozen.pb"


def rows(output: str) -> dict[tuple[str, str], dict[str, float]]:
    """By network and fit the figures of the printed table, without their errors."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in output.splitlines() if "|" in line]
    heads = lines[0][2:]
    return {
        (line[0], line[1]): {
            name: float(cell.split("±")[0]) for name, cell in zip(heads, line[2:], strict=True) if cell
        }
        for line in lines[2:]
    }


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["evaluate", *arguments])
    evaluate.main()


@pytest.mark.slow
def test_labeled_photographs(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shared / "data" / "validation"
    if not folder.is_dir():
        pytest.skip("no validation photographs")
    head, *lines = (folder / "labels.tsv").read_text().splitlines()
    labels = tmp_path / "labels.tsv"
    labels.write_text("\n".join([head, *lines[200:260]]) + "\n")

    teacher = str(shared / "models" / GRAPH)
    network = f"{teacher}?image-size=160"
    options = ["--labels", str(labels), "--teacher", teacher, "--against", network]
    run(monkeypatch, "embedded", "--photographs", str(folder), *options)

    figures = rows(capsys.readouterr().out)
    assert {fit for _, fit in figures} == {"squash", "crop"}
    for fit in ("squash", "crop"):
        own, large, small = (figures[name, fit] for name in ("embedded", "teacher at 224", "teacher at 160"))
        assert (large["agreement"], large["divergence"]) == (1, 0)
        assert large["top1"] > 0.5, "60 photographs of 1,000 classes are not named by chance"
        assert own["top1"] > 0.4
        assert own["top1"] <= own["top5"]
        assert own["divergence"] < small["divergence"], "the embedded model is trained to be nearer to the teacher"
        less = figures[f"embedded - {network}", fit]
        assert less["divergence"] == pytest.approx(own["divergence"] - small["divergence"], abs=0.002)
        assert less["top1"] == pytest.approx(own["top1"] - small["top1"], abs=0.02)


def test_unlabeled_photographs_without_a_teacher_have_no_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(monkeypatch, "embedded", "--photographs", str(tmp_path))
    assert stopped.value.code == 2
    assert "--labels or --teacher" in capsys.readouterr().err
