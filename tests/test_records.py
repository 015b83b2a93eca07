"""The recipe of a row: what is part of it, and that it survives JSON."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from fvcli.records import Preprocessing, Recipe

PLAIN = Recipe("ab" * 32, "int8", Preprocessing())
LABELED = replace(PLAIN, labels=3, classifier="cd" * 32)


@pytest.mark.parametrize(
    "recipe", [PLAIN, LABELED, replace(PLAIN, normalize=True, preprocessing=Preprocessing(fit="crop"))], ids=str
)
def test_a_recipe_is_read_back_as_it_was_written(recipe: Recipe) -> None:
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


def test_whatever_decides_what_a_row_holds_makes_another_recipe() -> None:
    others = [
        LABELED,
        replace(LABELED, labels=4),
        replace(LABELED, classifier="ef" * 32),
        replace(PLAIN, normalize=True),
        replace(PLAIN, engine="tensorflow"),
        replace(PLAIN, decoder="pillow"),
        *(
            replace(PLAIN, preprocessing=Preprocessing(**each))
            for each in ({"fit": "crop"}, {"resize": "tf1-bilinear"})
        ),
        replace(PLAIN, preprocessing=Preprocessing(fit="crop", crop_fraction=0.5)),
    ]
    assert len({recipe.identity for recipe in (PLAIN, *others)}) == 1 + len(others)


def test_what_is_not_asked_for_leaves_no_trace() -> None:
    assert replace(PLAIN, preprocessing=Preprocessing(crop_fraction=0.5)).identity == PLAIN.identity
    assert not {"labels", "classifier", "normalize", "crop_fraction"} & set(PLAIN.to_json())
