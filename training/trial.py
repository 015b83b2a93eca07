"""Compares recipes of a stage over the same chunks: ``python -m training.trial --help``.

A variant is ``NAME:FIELD=VALUE,...``, with fields of :class:`training.recipe.Stage` that are numbers; all others are as
in the recipe. Each is measured with the moving average of its weights, on the photographs set aside and on those of
validation/. Finished variants are not run again. Variants start from where WORK's stages before theirs ended.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from fvcli.models.loading import load_model
from fvcli.models.mobilenet.frozen_graph import read_frozen_graph
from fvcli.records import Fit
from training import photographs, teacher
from training.holdout import FITS, Holdout
from training.recipe import STAGES, Stage
from training.scores import means, standard_errors
from training.train import (
    SECOND,
    TEACHER,
    Places,
    Start,
    checkpoints_of,
    first_start,
    next_start,
    prepare,
    run_stage,
    trainer_at,
)

SHOWN = {
    "aside": ("agreement", "divergence", "neighbors"),
    "validation": ("top1", "cross_entropy", "retrieval", "average_precision"),
}
"""By set of photographs the scores in the table."""

Sets = Mapping[str, Holdout]


def parsed(variant: str, base: Stage) -> tuple[str, Stage]:
    """Name and recipe. Raises ValueError for a field that recipes do not have, and for one that is no number."""
    name, _, settings = variant.partition(":")
    given = dict(setting.split("=", 1) for setting in settings.split(",") if setting)
    known = {field.name for field in fields(Stage) if isinstance(getattr(base, field.name), int | float)}
    if unknown := given.keys() - known:
        raise ValueError(f"{variant}: recipes have no {', '.join(sorted(unknown))}")
    return name, replace(base, **{key: type(getattr(base, key))(value) for key, value in given.items()})


def start_of(stage: Stage, places: Places) -> Start:
    """Where the stages before it ended in ``places.work``."""
    start = first_start(places)
    for earlier in STAGES:
        if earlier.name == stage.name:
            break
        trainer = trainer_at(start, earlier, places)
        checkpoints_of(trainer, places)
        start = next_start(trainer, start)
    return start


def write_chunks(stage: Stage, places: Places) -> Path:
    """Makes the chunks that all variants of the stage share, where they are missing. Returns their folder."""
    chunks = places.work / f"{stage.name}-chunks"
    chunks.mkdir(parents=True, exist_ok=True)
    numbers = range(stage.rounds)
    task = teacher.Task(
        model=places.work / TEACHER,
        second=places.work / SECOND,
        data=places.data,
        folder=chunks,
        drawing=stage.drawing,
        seed=stage.seed,
        numbers=numbers,
        size=stage.chunk,
        limit=len(numbers) + 1,
    )
    teacher.Producer(task).join()
    return chunks


def tried(folder: Path, start: Start, stage: Stage, places: Places, sets: Sets) -> dict[str, Any]:
    """By set, fit and score one number per photograph. The variant works in ``folder``."""
    result = folder / "scores.npz"
    if not result.exists():
        own = replace(places, work=folder)
        chunks = folder / stage.name / "chunks"
        chunks.mkdir(parents=True, exist_ok=True)
        shared = [(places.work / name, folder / name) for name in (TEACHER, SECOND)]
        shared += [(chunk, chunks / chunk.name) for chunk in write_chunks(stage, places).glob("chunk-*.npz")]
        for source, target in shared:
            target.unlink(missing_ok=True)
            os.link(source, target)
        trainer = trainer_at(start, stage, own)
        with tqdm(total=stage.steps, unit="step", mininterval=10) as bar:
            run_stage(trainer, own, bar)
        trainer.swap_average()
        np.savez(result, **measured(sets, lambda holdout, fit: holdout.scores(fit, trainer.tensors())))
    with np.load(result) as arrays:
        return dict(arrays)


def shares(stage: Stage, places: Places, sets: Sets, wanted: Sequence[float]) -> dict[str, Mapping[str, Any]]:
    """The scores of the file that ships and of a finished stage, by the share of its way that is kept."""
    embedded = load_model()
    results = {"shipped": measured(sets, lambda holdout, fit: holdout.scores_of(fit, embedded))}
    trainer = trainer_at(start_of(stage, places), stage, places)
    checkpoints_of(trainer, places)
    for share in wanted:
        trainer.settle(share)
        results[f"{share:g} of the way"] = measured(sets, lambda holdout, fit: holdout.scores(fit, trainer.tensors()))
    return results


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
    stages = {stage.name: stage for stage in STAGES}
    parser.add_argument("--stage", choices=stages, default=STAGES[-1].name)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument(
        "--shares", type=float, nargs="+", help="instead: measure these shares of WORK's finished stage"
    )
    parser.add_argument("variants", nargs="*", metavar="NAME:FIELD=VALUE,...")
    values = parser.parse_args()
    places = Places.of(values)
    stage = stages[values.stage]
    original = read_frozen_graph(places.graph)
    folder = places.data / "validation"
    labeled = photographs.labeled(folder / "labels.tsv", folder, photographs.MISNAMED)
    sets = {
        "aside": Holdout(original, photographs.split(places.data).aside),
        "validation": Holdout(original, *labeled),
    }
    if values.shares:
        print(table(shares(stage, places, sets, values.shares)))
        return
    variants = dict(parsed(variant, replace(stage, rounds=values.rounds)) for variant in values.variants)
    prepare(places)
    start = start_of(stage, places)
    results = {}
    for name, variant in variants.items():
        results[name] = tried(places.work / name, start, variant, places, sets)
        print(table(results), flush=True)


if __name__ == "__main__":
    main()
