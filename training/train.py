"""Trains the embedded model: ``python -m training.train --help``. See training/README.md.

What was done before is not done again: the start, the training up to its last checkpoint, the rounding to 8 bits.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from fvcli.files import replacing
from fvcli.machine import usable_cpus
from fvcli.models.mobilenet.frozen_graph import read_frozen_graph
from fvcli.models.mobilenet.network import MobileNetV1
from training import crops, work
from training.device import Device, keep_freed_memory
from training.float_network import FloatNetwork
from training.recipe import PARTS, RECIPE, ROUNDING_SEED, ROUNDING_VIEWS, Recipe
from training.rounding import Rounded, rounded
from training.second_teacher import SecondTeacher, read_steps
from training.start import VIEWS, Start, start_of
from training.supply import Chunks, supply
from training.teachers import Answers, Teachers
from training.trainer import Trainer
from training.window import Window
from training.work import Places, between

SAVED = 16
"""Rounds between checkpoints."""


def train(recipe: Recipe, places: Places) -> None:
    """Trains from wherever ``places.work`` left off to the end, and rounds the result."""
    keep_recipe(recipe, places.work)
    original = read_frozen_graph(places.graph)
    start = start_of(original, recipe, places)
    end = trained(recipe, start, original, places, places.work)
    if not (places.work / work.GRID).exists():
        write_grid(between(start.network, end, recipe.kept), recipe, places)


def keep_recipe(recipe: Recipe, folder: Path) -> None:
    """Stores the recipe in ``folder``, made if need be. Raises ValueError if a training there has another one."""
    folder.mkdir(parents=True, exist_ok=True)
    path, values = folder / work.RECIPE, asdict(recipe)
    if not path.exists():
        path.write_text(json.dumps(values, indent=1) + "\n")
    known = json.loads(path.read_text())
    if other := sorted(name for name in known.keys() | values.keys() if known.get(name) != values.get(name)):
        raise ValueError(f"{path}: the training in this folder has another {', '.join(other)}; work in another folder")


def trained(recipe: Recipe, start: Start, original: MobileNetV1, places: Places, folder: Path) -> MobileNetV1:
    """The float network that training ends with; checkpoints, the log and the result are in ``folder``."""
    path = folder / work.TRAINED
    if not path.exists():
        trainer = Trainer(recipe, start, original, Device())
        run(trainer, original, places, folder)
        (folder / work.MACHINE).write_text(json.dumps(trainer.device.description(), indent=1) + "\n")
        work.save_layers(path, trainer.layers())
    return work.load_layers(path, original)[0]


def run(trainer: Trainer, original: MobileNetV1, places: Places, folder: Path) -> None:
    """Trains from the last checkpoint in ``folder`` to the last round."""
    recipe = trainer.recipe
    checkpoint, log = folder / work.CHECKPOINT, folder / work.LOG
    first = restored(trainer, checkpoint)
    drop_rounds(log, first)
    window = Window(recipe)
    chunks = answered(trainer, original, places, range(window.first(first), recipe.rounds))
    with tqdm(total=recipe.steps, initial=first * recipe.steps_a_round, unit="step", mininterval=10) as bar:
        for number, chunk in chunks:
            window.put(number, chunk)
            if number < first:
                continue
            losses = one_round(trainer, window, number, bar)
            with open(log, "a") as file:
                file.write(json.dumps({"round": number + 1, **losses}) + "\n")
            if (number + 1) % SAVED == 0 or number + 1 == recipe.rounds:
                save(trainer, number + 1, checkpoint)


def answered(trainer: Trainer, original: MobileNetV1, places: Places, numbers: range) -> Iterator[tuple[int, Answers]]:
    """The chunks of views ``numbers``, in order, with the teachers' answers."""
    recipe = trainer.recipe
    teachers = Teachers(FloatNetwork(original), SecondTeacher(read_steps(places.second)), trainer.device)
    views = Chunks(places.album(), recipe.drawing, recipe.chunk, recipe.seed)
    processes = max(1, usable_cpus() - 1)
    for number, pair in zip(numbers, supply(views, numbers, processes), strict=True):
        yield number, teachers(pair)


def one_round(trainer: Trainer, window: Window, number: int, bar: Any) -> dict[str, float]:
    """Trains on the round's window. Returns the mean of each part of the loss."""
    recipe = trainer.recipe
    parts = []
    for step, batch in enumerate(window.batches(number), number * recipe.steps_a_round):
        parts.append(trainer.step(batch, recipe.schedule(step)))
        bar.update()
    if not all(bool(parameter.isfinite().all()) for parameter in trainer.optimizer.parameters):
        raise FloatingPointError(
            f"round {number + 1}: weights are no longer finite. A gradient overflowed (LOSS_SCALE in trainer.py is "
            "too high for half precision), or a rate is too high. The last checkpoint is from before."
        )
    means = torch.stack(parts).mean(dim=0).tolist()
    bar.set_postfix(features=f"{means[0]:.4f}", refresh=False)
    return dict(zip(PARTS, means, strict=True))


def save(trainer: Trainer, rounds: int, path: Path) -> None:
    """Stores a checkpoint after so many rounds, whole or not at all."""
    with replacing(path) as file:
        torch.save({"rounds": rounds, **trainer.state()}, file)


def restored(trainer: Trainer, path: Path) -> int:
    """The number of rounds that were done; ``trainer`` takes the state after them."""
    if not path.exists():
        return 0
    state = torch.load(path, map_location=trainer.device.name, weights_only=True)
    trainer.restore(state)
    return int(state["rounds"])


def drop_rounds(log: Path, first: int) -> None:
    """Drops the rounds after ``first``, which are done again, from the log; the last may be half a line."""
    if log.exists():
        log.write_text("".join(log.read_text().splitlines(keepends=True)[:first]))


def write_grid(network: MobileNetV1, recipe: Recipe, places: Places) -> None:
    """Brings the float network to 8 bits."""
    views = crops.draw_single(places.album(), ROUNDING_VIEWS, (ROUNDING_SEED, VIEWS), recipe.drawing)
    result = rounded(network, views, ROUNDING_SEED)
    limits = {f"{name}/limit": np.float64(limit) for name, limit in result.limits.items()}
    work.save_layers(places.work / work.GRID, result.network.layers, **limits)


def load_grid(path: Path, like: MobileNetV1) -> Rounded:
    """The result that :func:`write_grid` wrote."""
    network, arrays = work.load_layers(path, like)
    limits = {layer.name: float(arrays[f"{layer.name}/limit"]) for layer in like.layers}
    return Rounded(replace(network, logits=None), limits)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.train", description=__doc__)
    Places.add_arguments(parser)
    parser.add_argument(
        "--rounds", type=int, default=RECIPE.rounds, help="and its schedule with it (default: %(default)s)"
    )
    parser.add_argument("--chunk", type=int, default=RECIPE.chunk, help="views in a round; small for a trial")
    parser.add_argument("--batch", type=int, default=RECIPE.batch, help="views in a step; small for a trial")
    values = parser.parse_args()
    keep_freed_memory()
    recipe = replace(RECIPE.in_rounds(values.rounds), chunk=values.chunk, batch=values.batch)
    train(recipe, Places.of(values))


if __name__ == "__main__":
    main()
