"""Compares recipes of the float stage over the same chunks: ``python -m training.trial --help``.

A variant is ``NAME:FIELD=VALUE,...``, with fields of :class:`training.recipe.Recipe`; all others are as in FLOAT. Each
is measured on the photographs set aside, with the moving average of its weights. Finished variants are not run again.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from fvcli.models.mobilenet.frozen_graph import read_frozen_graph
from training import photographs, teacher
from training.holdout import FITS, Holdout
from training.recipe import FLOAT, Recipe
from training.train import FLOAT_STAGE, REACH, TEACHER, Places, checkpoints_of, float_trainer, found_reaches, run_stage


def parsed(variant: str, base: Recipe) -> tuple[str, Recipe]:
    """Name and recipe. Raises ValueError for a field that recipes do not have."""
    name, _, settings = variant.partition(":")
    given = dict(setting.split("=", 1) for setting in settings.split(",") if setting)
    known = {field.name: field for field in fields(Recipe)}
    if unknown := given.keys() - known.keys():
        raise ValueError(f"{variant}: recipes have no {', '.join(sorted(unknown))}")
    return name, replace(base, **{key: type(getattr(base, key))(value) for key, value in given.items()})


def prepare(places: Places, rounds: int) -> None:
    """Makes what all variants share, where it is missing: the reach of kernels, and the teacher's chunks."""
    chunks = places.work / "chunks"
    chunks.mkdir(parents=True, exist_ok=True)
    found_reaches(read_frozen_graph(places.graph), places)
    model = places.work / TEACHER
    if not model.exists():
        teacher.write_teacher(places.graph, model)
    task = teacher.Task(model, places.data, chunks, FLOAT.seed, range(rounds), FLOAT.chunk, rounds + 1)
    teacher.Producer(task).join()


def tried(name: str, recipe: Recipe, places: Places, holdout: Holdout) -> dict[str, Any]:
    """By fit and score one number per photograph set aside. The variant works in a folder of its own."""
    own = replace(places, work=places.work / name)
    result = own.work / "scores.npz"
    if not result.exists():
        chunks = own.work / FLOAT_STAGE / "chunks"
        chunks.mkdir(parents=True, exist_ok=True)
        shared = [(places.work / name, own.work / name) for name in (REACH, TEACHER)]
        shared += [(chunk, chunks / chunk.name) for chunk in (places.work / "chunks").glob("chunk-*.npz")]
        for source, target in shared:
            target.unlink(missing_ok=True)
            os.link(source, target)
        trainer = float_trainer(recipe, own)
        run_stage(trainer, own)
        checkpoints_of(trainer, own)
        trainer.swap_average()
        np.savez(result, **flat({fit: holdout.scores(fit, trainer.tensors()) for fit in FITS}))
    with np.load(result) as arrays:
        return dict(arrays)


def show_shares(places: Places, holdouts: Mapping[tuple[str, str], Holdout], wanted: Sequence[float]) -> None:
    """Prints the scores of the finished float stage in ``places.work``, by the share of its way that is kept."""
    trainer = float_trainer(FLOAT, places)
    checkpoints_of(trainer, places)
    for shown, holdout in holdouts.items():
        results = {}
        for share in wanted:
            trainer.settle(share)
            scored = {fit: holdout.scores(fit, trainer.tensors()) for fit in FITS}
            results[f"{share:g} of the way"] = flat(scored)
        print(table(results, shown), flush=True)


def flat(scored: Mapping[Any, Mapping[str, Any]]) -> dict[str, Any]:
    """By ``fit/score`` one number per photograph."""
    return {f"{fit}/{name}": array for fit, each in scored.items() for name, array in each.items()}


def table(results: Mapping[str, Mapping[str, Any]], shown: tuple[str, str] = ("agreement", "divergence")) -> str:
    """Markdown: of each variant two scores, and how much less the second is than the first variant's (paired)."""
    first_score, second_score = shown
    lines = [
        f"| variant | {first_score} squash / crop | {second_score} squash / crop | less than the first |",
        "|---|---|---|---|",
    ]
    sums = {name: sum(values[f"{fit}/{second_score}"] for fit in FITS) / len(FITS) for name, values in results.items()}
    first = next(iter(sums.values()))
    for name, values in results.items():
        cells = [" / ".join(f"{values[f'{fit}/{key}'].mean():.3f}" for fit in FITS) for key in shown]
        less = first - sums[name]
        error = less.std() / np.sqrt(less.size)
        lines.append(f"| {name} | {' | '.join(cells)} | {less.mean():.3f} ± {error:.3f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.trial", description=__doc__)
    Places.add_arguments(parser)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--photographs", type=int, default=photographs.ASIDE, help="how many of those set aside")
    parser.add_argument("--shares", type=float, nargs="+", help="instead: measure these shares of WORK's float stage")
    parser.add_argument("variants", nargs="*", metavar="NAME:FIELD=VALUE,...")
    values = parser.parse_args()
    places = Places(values.graph, values.data, values.labels, values.work)
    variants = dict(parsed(variant, replace(FLOAT, rounds=values.rounds)) for variant in values.variants)
    aside = photographs.split(places.data).aside[: values.photographs]
    holdout = Holdout(read_frozen_graph(places.graph), aside)
    if values.shares:
        folder = places.data / "validation"
        paths, truth = photographs.labeled(folder / "labels.tsv", folder, photographs.MISNAMED)
        labeled = Holdout(read_frozen_graph(places.graph), paths, truth)
        holdouts = {("agreement", "divergence"): holdout, ("top1", "retrieval"): labeled}
        show_shares(places, holdouts, values.shares)
        return
    prepare(places, values.rounds)
    results = {}
    for name, recipe in variants.items():
        results[name] = tried(name, recipe, places, holdout)
        print(table(results), flush=True)


if __name__ == "__main__":
    main()
