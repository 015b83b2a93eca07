"""The schedule of the learning rate."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from training.recipe import RECIPE

SMALL = replace(RECIPE, chunk=8, window=2, batch=4, rounds=25, warm_up=10, level=40, fall=60)


def test_the_rate_rises_is_level_and_falls() -> None:
    rates = [SMALL.schedule(step) for step in range(SMALL.steps + 1)]
    assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert rates[9:41] == [1.0] * 32
    assert all(after < before for before, after in pairwise(rates[40:]))
    assert rates[70] == pytest.approx(0.505), "half of the fall"
    assert rates[100] == pytest.approx(0.01)


def test_after_the_fall_the_rate_stays() -> None:
    assert SMALL.schedule(101) == SMALL.schedule(10_000) == pytest.approx(0.01)


def test_a_round_takes_every_view_of_the_window_once() -> None:
    assert (SMALL.steps_a_round, SMALL.steps) == (4, 100)
    assert replace(SMALL, batch=5).steps_a_round == 4, "the last batch is smaller"


def test_the_rounds_of_the_recipe_end_within_the_fall() -> None:
    assert RECIPE.warm_up < RECIPE.level < RECIPE.steps <= RECIPE.level + RECIPE.fall
    assert RECIPE.schedule(RECIPE.steps) < 0.1
    assert (RECIPE.chunk * RECIPE.window) % RECIPE.batch == 0, "no batch is smaller than the others"


def test_every_view_is_resized_by_one_of_the_kernels() -> None:
    assert sum(RECIPE.drawing.kernels) == pytest.approx(1)
    assert RECIPE.drawing.whole + RECIPE.drawing.center <= 1
    assert RECIPE.drawing.pasted + RECIPE.drawing.blended <= 1


def test_a_shortened_recipe_has_its_schedule_in_fewer_rounds() -> None:
    short = RECIPE.in_rounds(RECIPE.rounds // 5)
    assert short.rounds == 265
    for share in (0.0, 0.1, 0.4, 0.6, 0.8, 1.0):
        expected = RECIPE.schedule(round(share * RECIPE.steps))
        assert short.schedule(round(share * short.steps)) == pytest.approx(expected, abs=0.02)
    assert RECIPE.in_rounds(1).schedule(0) <= 1
    assert RECIPE.in_rounds(RECIPE.rounds) == RECIPE
