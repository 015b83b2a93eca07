"""Compares recipes over the same views: ``python -m training.trial --help``.

A variant is ``NAME:FIELD=VALUE,...``, with fields of :class:`training.recipe.Recipe` that are numbers; all others are
as in the recipe. Each is measured with the moving average of its weights, on the photographs set aside and on those of
validation/. Finished variants are not run again.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from fvcli.models.loading import load_model
from fvcli.models.mobilenet import graph
from fvcli.models.mobilenet.frozen_graph import read_frozen_graph
from fvcli.models.mobilenet.network import MobileNetV1
from fvcli.records import Fit
from training import photographs, work
from training.device import keep_freed_memory
from training.holdout import FITS, Holdout
from training.recipe import RECIPE, Recipe
from training.scores import means, standard_errors
from training.start import Start, start_of
from training.train import keep_recipe, trained
from training.work import Places, between

SHOWN = {
    "aside": ("agreement", "divergence", "neighbors"),
    "validation": ("top1", "cross_entropy", "retrieval", "average_precision"),
}
"""By set of photographs the scores in the table."""

Sets = Mapping[str, Holdout]


def parsed(variant: str, base: Recipe) -> tuple[str, Recipe]:
    """Name and recipe. Raises ValueError for a field that recipes do not have, and for one that is no number."""
    name, _, settings = variant.partition(":")
    given = dict(setting.split("=", 1) for setting in settings.split(",") if setting)
    known = {field.name for field in fields(Recipe) if isinstance(getattr(base, field.name), int | float)}
    if unknown := given.keys() - known:
        raise ValueError(f"{variant}: recipes have no {', '.join(sorted(unknown))}")
    return name, replace(base, **{key: type(getattr(base, key))(value) for key, value in given.items()})


def tried(
    folder: Path, recipe: Recipe, start: Start, original: MobileNetV1, places: Places, sets: Sets
) -> dict[str, Any]:
    """By set, fit and score one number per photograph. The variant works in ``folder``."""
    keep_recipe(recipe, folder)
    result = folder / "scores.npz"
    if not result.exists():
        end = trained(recipe, start, original, places, folder)
        np.savez(result, **scores_of(end, sets))
    with np.load(result) as arrays:
        return dict(arrays)


def shares(start: Start, places: Places, sets: Sets, wanted: Sequence[float]) -> dict[str, Mapping[str, Any]]:
    """The scores of the file that ships and of WORK's finished training, by the share of its way that is kept."""
    embedded = load_model()
    results = {"shipped": measured(sets, lambda holdout, fit: holdout.scores_of(fit, embedded))}
    end, _ = work.load_layers(places.work / work.TRAINED, start.network)
    for share in wanted:
        results[f"{share:g} of the way"] = scores_of(between(start.network, end, share), sets)
    return results


def scores_of(network: MobileNetV1, sets: Sets) -> Mapping[str, Any]:
    """The scores of a float network."""
    tensors = graph.network_arrays(network)
    return measured(sets, lambda holdout, fit: holdout.scores(fit, tensors))


def measured(sets: Sets, scores: Callable[[Holdout, Fit], Mapping[str, Any]]) -> Mapping[str, Any]:
    """By ``set/fit/score`` one number per photograph."""
    return {
        f"{name}/{fit}/{score}": array
        for name, holdout in sets.items()
        for fit in FITS
        for score, array in scores(holdout, fit).items()
    }


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown: of each variant the scores, squash / crop, and how much more they are than the first's (paired)."""
    columns = [(name, score) for name, scores in SHOWN.items() for score in scores]
    lines = [f"| variant | {' | '.join(score for _, score in columns)} |", "|---|" + "---|" * len(columns)]
    first = next(iter(results.values()))
    for name, values in results.items():
        mean = means(values)
        paired = {key: each - first[key] for key, each in values.items()}
        more, error = means(paired), standard_errors(paired)
        cells = []
        for of, score in columns:
            keys = [f"{of}/{fit}/{score}" for fit in FITS]
            own = " / ".join(f"{mean[key]:.3f}" for key in keys)
            difference = " / ".join(f"{more[key]:+.4f} ± {error[key]:.4f}" for key in keys)
            cells.append(own if values is first else f"{own} ({difference})")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.trial", description=__doc__)
    Places.add_arguments(parser)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--shares", type=float, nargs="+", help="instead: measure these shares of WORK's way")
    parser.add_argument("variants", nargs="*", metavar="NAME:FIELD=VALUE,...")
    values = parser.parse_args()
    keep_freed_memory()
    places = Places.of(values)
    original = read_frozen_graph(places.graph)
    folder = places.data / "validation"
    labeled = photographs.labeled(folder / "labels.tsv", folder, photographs.MISNAMED)
    sets = {
        "aside": Holdout(original, photographs.split(places.data).aside),
        "validation": Holdout(original, *labeled),
    }
    start = start_of(original, RECIPE, places)
    if values.shares:
        print(table(shares(start, places, sets, values.shares)))
        return
    base = RECIPE.in_rounds(values.rounds)
    results = {}
    for name, variant in [parsed(variant, base) for variant in values.variants]:
        results[name] = tried(places.work / name, variant, start, original, places, sets)
        print(table(results), flush=True)


if __name__ == "__main__":
    main()
