"""Trains the embedded model: ``python -m training.train --help``. See training/README.md."""

from __future__ import annotations

import argparse
import json
import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from fvcli.models import mobilenet_v1
from fvcli.models.frozen_graph import read_frozen_graph
from fvcli.models.weights import MobileNetV1
from training import photographs, teacher
from training.evaluate import Validation
from training.half_gradients import half_gradients
from training.optimizer import Optimizer
from training.student import Student, activation_maxima, equalized


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides the result, beside the graph, the images and the library versions.

    A round takes every crop of the last ``window`` chunks once, so each crop is seen ``window`` times.
    Rates are Adam's at the peak: of kernels as a share of each kernel's root mean square (equalisation makes its unit
    arbitrary), and of gains and biases as they are. Loss weights are of the relative squared error
    of the feature vector, of the last and of an inner map, and of the softened cross-entropy.
    """

    seed: int = 20
    rounds: int = 40
    chunk: int = 1024
    window: int = 3
    batch: int = 32
    warm_up: int = 150
    decay: float = 0.3
    kernel_rate: float = 8e-4
    gain_rate: float = 3e-4
    pull: float = 4e-4
    average: float = 0.998
    features_weight: float = 1.0
    last_weight: float = 0.5
    hint_weight: float = 0.25
    classes_weight: float = 0.6
    temperature: float = 2.0

    @property
    def steps_a_round(self) -> int:
        return self.chunk * self.window // self.batch

    def schedule(self, step: int) -> float:
        """0..1: linear warm-up, a long level, and over the last ``decay`` of the steps half a cosine to 1 %.

        The level does not depend on the number of rounds, so that a run can be ended earlier or later than planned
        (before the decay begins) and still be the run that this number of rounds gives from the start.
        """
        whole = self.rounds * self.steps_a_round
        level_end = whole * (1 - self.decay)
        if step < self.warm_up:
            return (step + 1) / self.warm_up
        done = max(0.0, (step - level_end) / (whole - level_end))
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))


class Trainer(tf.Module):
    """The student, its optimiser and one compiled step."""

    def __init__(self, recipe: Recipe, network: MobileNetV1, factors: dict[str, Any], original: MobileNetV1) -> None:
        super().__init__()
        self.recipe = recipe
        self.student = Student(network)
        self._variables = [*self.student.kernels, *self.student.gains, *self.student.biases]
        sizes = [float(np.sqrt(np.mean(np.square(layer.kernel)))) for layer in network.layers]
        self._rates = [recipe.kernel_rate * size for size in sizes] + [recipe.gain_rate] * 2 * len(sizes)
        self.optimizer = Optimizer(self._variables, pull=recipe.pull, average=recipe.average)
        self._hint_factors = tf.constant(factors[teacher.HINT])
        self._classifier = mobilenet_v1.network_arrays(original)

    @tf.function
    def step(self, images: Any, hints: Any, lasts: Any, features: Any, schedule: Any) -> tuple[Any, Any]:
        """One batch. Returns the loss and its four parts, unweighted."""
        recipe = self.recipe
        with half_gradients():
            maps = mobilenet_v1.endpoints(self.student.tensors(), tf.cast(images, tf.float32) / 255.0)
        last = maps[teacher.LAST]
        seen = mobilenet_v1.pooled(last)
        hint = maps[teacher.HINT] / self._hint_factors
        parts = tf.stack(
            [
                relative_error(seen, features),
                relative_error(last, tf.cast(lasts, tf.float32)),
                relative_error(hint, tf.cast(hints, tf.float32)),
                self._class_error(seen, features),
            ]
        )
        weights = [recipe.features_weight, recipe.last_weight, recipe.hint_weight, recipe.classes_weight]
        loss = tf.reduce_sum(parts * tf.constant(weights))
        gradients = tf.gradients(loss, self._variables)
        self.optimizer.apply(gradients, self._rates, schedule)
        return loss, parts

    def _class_error(self, seen: Any, features: Any) -> Any:
        """Divergence of the softened classes, through the teacher's own classifier on both sides."""
        heat = self.recipe.temperature
        wanted = tf.nn.log_softmax(mobilenet_v1.logits(self._classifier, features) / heat)
        given = tf.nn.log_softmax(mobilenet_v1.logits(self._classifier, seen) / heat)
        return tf.reduce_mean(tf.reduce_sum(tf.exp(wanted) * (wanted - given), axis=1)) * heat**2

    def swap_average(self) -> None:
        """Exchanges the variables and their moving averages; twice is nothing."""
        for variable, average in zip(self._variables, self.optimizer.averages, strict=True):
            value = tf.identity(variable)
            variable.assign(average)
            average.assign(value)


def relative_error(given: Any, wanted: Any) -> Any:
    """Squared error over the batch as a share of the squares of what was wanted."""
    return tf.reduce_sum(tf.math.squared_difference(given, wanted)) / tf.reduce_sum(tf.square(wanted))


def start(recipe: Recipe, graph: Path, data: Path) -> Trainer:
    """The trainer at step 0: the teacher's weights, equalised by what 1,024 random views activate."""
    original = read_frozen_graph(graph)
    images = [photographs.load(path) for path in photographs.split(data).train]
    views = photographs.draw(images, 1024, (recipe.seed, 10**6)).student
    network, factors = equalized(original, activation_maxima(original, views))
    return Trainer(recipe, network, factors, original)


def restore(recipe: Recipe, graph: Path, data: Path, work: Path) -> tuple[Trainer, tf.train.CheckpointManager]:
    """The trainer as the last checkpoint in ``work`` left it, or at the start; and the checkpoints to add to."""
    trainer = start(recipe, graph, data)
    checkpoint = tf.train.Checkpoint(trainer=trainer, rounds=tf.Variable(0, dtype=tf.int64, trainable=False))
    checkpoints = tf.train.CheckpointManager(checkpoint, str(work / "checkpoints"), max_to_keep=3)
    if checkpoints.latest_checkpoint:
        checkpoint.restore(checkpoints.latest_checkpoint).assert_existing_objects_matched()
    return trainer, checkpoints


def train(recipe: Recipe, graph: Path, data: Path, labels: Path, work: Path) -> None:
    """Trains from the last checkpoint in ``work``, or from the start, to the end of the recipe."""
    work.mkdir(parents=True, exist_ok=True)
    (work / "recipe.json").write_text(json.dumps(asdict(recipe), indent=1) + "\n")
    model = work / "teacher.tflite"
    if not model.exists():
        teacher.write_teacher(graph, model)
    trainer, checkpoints = restore(recipe, graph, data, work)
    finished = checkpoints.checkpoint.rounds
    validation = Validation(read_frozen_graph(graph), data, labels)
    first = int(finished.numpy())
    chunks = work / "chunks"
    chunks.mkdir(exist_ok=True)
    for stale in chunks.glob("partial-*"):
        stale.unlink()
    numbers = (max(0, first - recipe.window + 1), recipe.rounds)
    producer = teacher.start_producer(model, data, chunks, recipe.seed, *numbers, recipe.chunk, recipe.window + 2)
    log = work / "log.jsonl"
    with tqdm(total=recipe.rounds * recipe.steps_a_round, initial=first * recipe.steps_a_round, unit="step") as bar:
        if first == 0:
            record(log, 0, validation, trainer, None)
        for number in range(first, recipe.rounds):
            losses = one_round(trainer, chunks, number, bar, producer)
            finished.assign(number + 1)
            checkpoints.save()
            oldest = number - recipe.window + 1
            teacher.chunk_path(chunks, oldest).unlink(missing_ok=True)
            if (number + 1) % 3 == 0 or number + 1 == recipe.rounds:
                record(log, number + 1, validation, trainer, losses)
            else:
                append(log, {"round": number + 1, **losses})
    producer.join()


def one_round(trainer: Trainer, chunks: Path, number: int, bar: Any, producer: Any) -> dict[str, float]:
    """All crops of the round's window once, in an order that the seed and the round decide. Returns mean losses."""
    recipe = trainer.recipe
    numbers = range(max(0, number - recipe.window + 1), number + 1)
    window = [teacher.read_chunk(chunks, which, producer) for which in numbers]
    order = np.random.default_rng((recipe.seed, number, 1)).permutation(len(window) * recipe.chunk)
    if len(window) < recipe.window:  # the first rounds repeat what there is
        order = np.concatenate([order] * recipe.window)
    totals = []
    for index in range(recipe.steps_a_round):
        rows = order[index * recipe.batch : (index + 1) * recipe.batch]
        picked = [(window[row // recipe.chunk], row % recipe.chunk) for row in rows]
        arrays = [
            np.stack([getattr(chunk, name)[row] for chunk, row in picked])
            for name in ("student", "hint", "last", "features")
        ]
        step = number * recipe.steps_a_round + index
        loss, parts = trainer.step(*arrays, tf.constant(recipe.schedule(step), tf.float32))
        totals.append([float(loss), *parts.numpy().tolist()])
        bar.set_postfix(loss=f"{totals[-1][0]:.3f}", refresh=False)
        bar.update()
    mean = np.mean(totals, axis=0)
    return dict(zip(("loss", "features", "last", "hint", "classes"), map(float, mean), strict=True))


def record(log: Path, number: int, validation: Validation, trainer: Trainer, losses: dict[str, float] | None) -> None:
    """Validates the weights and their moving average and logs both."""
    now = validation.measure(trainer.student.tensors())
    trainer.swap_average()
    average = validation.measure(trainer.student.tensors())
    trainer.swap_average()
    append(log, {"round": number, **(losses or {}), "validation": {"weights": now, "average": average}})


def append(log: Path, values: dict[str, Any]) -> None:
    with open(log, "a") as file:
        file.write(json.dumps(values) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.train", description=__doc__)
    parser.add_argument("--graph", type=Path, required=True, help="mobilenet_v1_1.0_224_2017_06_14_frozen.pb")
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds photos/ and bsds500/")
    parser.add_argument("--labels", type=Path, required=True, help="imagenet_labels.txt, one of 1,001 on each line")
    parser.add_argument("--work", type=Path, required=True, help="checkpoints, chunks and log; run again to resume")
    for name, value in asdict(Recipe()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    arguments = vars(parser.parse_args())
    places = [arguments.pop(name) for name in ("graph", "data", "labels", "work")]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    train(Recipe(**arguments), *places)


if __name__ == "__main__":
    main()
