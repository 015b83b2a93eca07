"""Trains the embedded model: ``python -m training.train --help``. See training/README.md.

Each step is resumed where it was left: how far kernels reach at 160, two stages in float, rounding to the 8-bit grid.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from fvcli.models.mobilenet.frozen_graph import read_frozen_graph
from fvcli.models.mobilenet.network import MobileNetV1
from fvcli.records import Float32Array
from training import crops, photographs, second_teacher, teacher
from training.holdout import Holdout
from training.reach import SEARCHED, STEPS, Nearness, found, resampled
from training.recipe import FLOAT, KEPT, ROUNDING_SEED, ROUNDING_VIEWS, STAGES, Stage
from training.rounding import Rounded, rounded
from training.student import activation_maxima, equalized
from training.trainer import PARTS, Trainer
from training.window import Window

RECIPE, REACH, GRID = "recipe.json", "reach.json", "rounded.npz"
TEACHER, SECOND = "teacher.tflite", "second_teacher.tflite"
"""Files in the work folder: the recipe, found reaches, the result on the 8-bit grid; both teachers for LiteRT."""

MEASURED = 8
"""Rounds between measurements on the first ``LOGGED`` of the photographs set aside."""

LOGGED = 250

VIEWS = 10**6
"""The second seed of views that are no chunk; those of chunks are the chunks' numbers."""


@dataclass(frozen=True, slots=True)
class Places:
    """The files that training reads, and the folder it works in.

    graph: Google's frozen float network. second: Google's quantized MobileNet V2. data: the folder of photos/, bsds500/
    and more/. labels: of the 1,001 classes.
    """

    graph: Path
    second: Path
    data: Path
    labels: Path
    work: Path

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--graph", type=Path, required=True, help="mobilenet_v1_1.0_224_2017_06_14_frozen.pb")
        parser.add_argument("--second", type=Path, required=True, help="mobilenet_v2_1.0_224_quant.tflite")
        parser.add_argument("--data", type=Path, required=True, help="folder with photos/, bsds500/ and more/")
        parser.add_argument("--labels", type=Path, required=True, help="imagenet_labels.txt, 1,001 lines")
        parser.add_argument("--work", type=Path, required=True, help="checkpoints and logs; run again to resume")

    @classmethod
    def of(cls, values: argparse.Namespace) -> Places:
        return cls(values.graph, values.second, values.data, values.labels, values.work)


def trained_on(places: Places) -> photographs.Album:
    """The photographs that the student is trained on."""
    return photographs.Album(photographs.split(places.data).train)


@dataclass(frozen=True, slots=True)
class Start:
    """A float network before a stage, and by layer name what equalization multiplied its channels by."""

    network: MobileNetV1
    factors: Mapping[str, Float32Array]


def first_start(places: Places) -> Start:
    """The teacher's weights, resampled for 160, equalized by what 1,024 random views activate."""
    original = read_frozen_graph(places.graph)
    network = resampled(original, found_reaches(original, places))
    views = crops.draw(trained_on(places), 1024, (FLOAT.seed, VIEWS), FLOAT.drawing).student
    return Start(*equalized(network, activation_maxima(network, views)))


def trainer_at(start: Start, stage: Stage, places: Places) -> Trainer:
    """The trainer of a stage, at step 0."""
    return Trainer(stage, start.network, start.factors, read_frozen_graph(places.graph))


def next_start(trainer: Trainer, start: Start) -> Start:
    """The part that is kept of the way that the trainer's stage went from ``start``."""
    trainer.settle(trainer.stage.kept)
    return Start(trainer.student.plain_network(start.network), start.factors)


def between(first: MobileNetV1, last: MobileNetV1, share: float) -> MobileNetV1:
    """The float network that is ``share`` of the way from ``first`` to ``last``."""
    layers = tuple(
        replace(
            to,
            kernel=start.kernel + share * (to.kernel - start.kernel),
            bias=start.bias + share * (to.bias - start.bias),
        )
        for start, to in zip(first.layers, last.layers, strict=True)
    )
    return replace(last, layers=layers)


def found_reaches(original: MobileNetV1, places: Places) -> dict[str, float]:
    """By layer name, from ``places.work`` where they were found before."""
    path = places.work / REACH
    if not path.exists():
        reaches = found(Nearness(original, places.data).divergence, SEARCHED, STEPS)
        path.write_text(json.dumps(reaches, indent=1) + "\n")
    return dict(json.loads(path.read_text()))


def write_grid(network: MobileNetV1, places: Places) -> None:
    """Rounds the network that the last stage ended with."""
    views = crops.draw_single(trained_on(places), ROUNDING_VIEWS, (ROUNDING_SEED, VIEWS), STAGES[-1].drawing)
    save_rounded(places.work / GRID, rounded(network, views, ROUNDING_SEED))


def save_rounded(path: Path, result: Rounded) -> None:
    arrays: dict[str, Any] = {}
    for layer in result.network.layers:
        arrays[f"{layer.name}/kernel"] = layer.kernel
        arrays[f"{layer.name}/bias"] = layer.bias
        arrays[f"{layer.name}/limit"] = np.float64(result.limits[layer.name])
    partial = path.with_name(f"partial-{path.name}")
    np.savez(partial, **arrays)
    partial.rename(path)


def load_rounded(path: Path, like: MobileNetV1) -> Rounded:
    with np.load(path) as arrays:
        layers = [
            replace(layer, kernel=arrays[f"{layer.name}/kernel"], bias=arrays[f"{layer.name}/bias"])
            for layer in like.layers
        ]
        limits = {layer.name: float(arrays[f"{layer.name}/limit"]) for layer in like.layers}
    return Rounded(replace(like, layers=tuple(layers), logits=None), limits)


def checkpoints_of(trainer: Trainer, places: Places) -> tf.train.CheckpointManager:
    """The stage's checkpoints; ``trainer`` takes the last one's state."""
    folder = places.work / trainer.stage.name
    checkpoint = tf.train.Checkpoint(trainer=trainer, rounds=tf.Variable(0, dtype=tf.int64, trainable=False))
    checkpoints = tf.train.CheckpointManager(checkpoint, str(folder / "checkpoints"), max_to_keep=3)
    if checkpoints.latest_checkpoint:
        checkpoint.restore(checkpoints.latest_checkpoint).assert_existing_objects_matched()
    return checkpoints


def train(stages: Sequence[Stage], places: Places) -> None:
    """Trains from wherever ``places.work`` left off to the end of the last stage, and rounds the result."""
    prepare(places)
    (places.work / RECIPE).write_text(json.dumps([asdict(stage) for stage in stages], indent=1) + "\n")
    starts = [first_start(places)]
    with tqdm(total=sum(stage.steps for stage in stages), unit="step", mininterval=10) as bar:
        for stage in stages:
            trainer = trainer_at(starts[-1], stage, places)
            run_stage(trainer, places, bar)
            starts.append(next_start(trainer, starts[-1]))
    if not (places.work / GRID).exists():
        write_grid(between(starts[1].network, starts[-1].network, KEPT), places)


def prepare(places: Places) -> None:
    """Makes the work folder, and the teachers in it."""
    places.work.mkdir(parents=True, exist_ok=True)
    if not (places.work / TEACHER).exists():
        teacher.write_teacher(places.graph, places.work / TEACHER)
    if not (places.work / SECOND).exists():
        second_teacher.write_second_teacher(places.second, places.work / SECOND)


def run_stage(trainer: Trainer, places: Places, bar: Any) -> None:
    """Trains from the stage's last checkpoint to its end; ``bar`` counts all steps, those done before included."""
    stage = trainer.stage
    folder = places.work / stage.name
    checkpoints = checkpoints_of(trainer, places)
    finished = checkpoints.checkpoint.rounds
    first = int(finished.numpy())
    skip(bar, first * stage.steps_a_round)
    bar.set_description(stage.name)
    if first >= stage.rounds:
        return
    (places.work / GRID).unlink(missing_ok=True)  # of a shorter stage
    chunks, log = folder / "chunks", folder / "log.jsonl"
    chunks.mkdir(parents=True, exist_ok=True)
    window = Window(trainer, chunks, first)
    producer = teacher.Producer(window.task(places.work / TEACHER, places.work / SECOND, places.data, first))
    holdout = Holdout(read_frozen_graph(places.graph), photographs.split(places.data).aside[:LOGGED])
    if first == 0:
        append(log, {"round": 0, "aside": averaged(trainer, holdout)})
    for number in range(first, stage.rounds):
        window.move(producer, number)
        losses = one_round(trainer, window, number, bar)
        finished.assign(number + 1)
        checkpoints.save()
        row: dict[str, Any] = {"round": number + 1, **losses}
        if (number + 1) % MEASURED == 0 or number + 1 == stage.rounds:
            row["aside"] = averaged(trainer, holdout)
        append(log, row)
    producer.join()
    teacher.remove_before(chunks, stage.rounds)


def skip(bar: Any, steps: int) -> None:
    """Counts steps that were done before, so that the time that is left is told from the pace of the others."""
    bar.initial += steps
    bar.n += steps
    bar.last_print_n = bar.n


def one_round(trainer: Trainer, window: Window, number: int, bar: Any) -> dict[str, float]:
    """Trains on the round's window. Returns mean losses."""
    totals = []
    start = number * trainer.stage.steps_a_round
    for step, batch in enumerate(window.batches(number), start):
        loss, parts = trainer.step(batch, tf.constant(trainer.stage.schedule(step), tf.float32))
        totals.append([float(loss), *parts.numpy().tolist()])
        bar.set_postfix(loss=f"{totals[-1][0]:.3f}", refresh=False)
        bar.update()
    mean = np.mean(totals, axis=0)
    return dict(zip(("loss", *PARTS), map(float, mean), strict=True))


def averaged(trainer: Trainer, holdout: Holdout) -> dict[str, dict[str, float]]:
    """The figures of the moving average of the weights."""
    trainer.swap_average()
    figures = holdout.measure(trainer.tensors())
    trainer.swap_average()
    return figures


def append(log: Path, values: dict[str, Any]) -> None:
    with open(log, "a") as file:
        file.write(json.dumps(values) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.train", description=__doc__)
    Places.add_arguments(parser)
    for stage in STAGES:
        parser.add_argument(f"--{stage.name}-rounds", type=int, default=stage.rounds)
    parser.add_argument("--chunk", type=int, default=FLOAT.chunk, help="crops in a chunk; small for a trial")
    values = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    rounds = {stage: getattr(values, f"{stage.name}_rounds") for stage in STAGES}
    stages = [replace(stage, rounds=number, chunk=values.chunk) for stage, number in rounds.items()]
    train(stages, Places.of(values))


if __name__ == "__main__":
    main()
