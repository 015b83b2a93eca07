"""Variants of the recipe, and the table that compares them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("tensorflow")

from training import trial
from training.holdout import FITS
from training.recipe import RECIPE
from training.start import Start
from training.trial import SHOWN, parsed, table, tried
from training.work import Places

PHOTOGRAPHS = 50


def results(seed: int, more: float = 0.0) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    keys = [f"{of}/{fit}/{score}" for of, scores in SHOWN.items() for fit in FITS for score in scores]
    return {key: generator.uniform(0, 1, PHOTOGRAPHS) + more for key in keys}


def test_a_variant_names_the_fields_that_it_changes() -> None:
    assert parsed("fast:kernel_rate=0.01,window=2", RECIPE) == ("fast", replace(RECIPE, kernel_rate=0.01, window=2))
    assert parsed("base", RECIPE) == ("base", RECIPE)


@pytest.mark.parametrize("variant", ["a:speed=2", "a:drawing=2", "a:steps=2"])
def test_other_fields_are_refused(variant: str) -> None:
    field = variant.partition(":")[2].partition("=")[0]
    with pytest.raises(ValueError, match=f"recipes have no {field}"):
        parsed(variant, RECIPE)


def test_whole_numbers_stay_whole() -> None:
    with pytest.raises(ValueError, match=r"1\.5"):
        parsed("a:window=1.5", RECIPE)


def test_the_table_has_a_row_for_each_variant_and_its_paired_difference() -> None:
    lines = table({"base": results(1), "better": results(1, more=0.25)}).splitlines()
    assert len(lines) == 4
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["variant", *(score for scores in SHOWN.values() for score in scores)]
    assert [row[0] for row in cells[2:]] == ["base", "better"]
    own = results(1)
    assert cells[2][1] == " / ".join(f"{own[f'aside/{fit}/agreement'].mean():.3f}" for fit in FITS)
    assert all("(+0.2500 ± 0.0000 / +0.2500 ± 0.0000)" in cell for cell in cells[3][1:])


def test_a_finished_variant_is_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run: list[Path] = []
    monkeypatch.setattr(trial, "trained", lambda recipe, start, original, places, folder: run.append(folder))
    monkeypatch.setattr(trial, "scores_of", lambda end, sets: results(len(run)))
    given: Any = (RECIPE, Start(None, None), None, Places(*[tmp_path] * 5), {})  # type: ignore[arg-type]
    first = tried(tmp_path / "variant", *given)
    again = tried(tmp_path / "variant", *given)
    assert run == [tmp_path / "variant"]
    assert first.keys() == again.keys() == results(1).keys()
    for key, values in results(1).items():
        np.testing.assert_array_equal(first[key], values)
        np.testing.assert_array_equal(again[key], values)
    other = (replace(RECIPE, pull=0.1), *given[1:])
    with pytest.raises(ValueError, match="another pull"):
        tried(tmp_path / "variant", *other)
