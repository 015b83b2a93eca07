"""The trainer's step on a frozen trunk, and the window of chunks that it draws batches from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fvcli.models.mobilenet import graph
from fvcli.records import Float32Array
from tests.helpers.networks import plain_network, random_images

pytest.importorskip("tensorflow")

import tensorflow as tf

from training import teacher
from training.recipe import FLOAT
from training.scores import divergence, similarities
from training.second_teacher import OUTPUTS
from training.train import Start, between, next_start
from training.trainer import Batch, Trainer
from training.window import Window

STAGE = replace(FLOAT, chunk=8, window=2, batch=4, rounds=3, frozen=11)
FACTORS = {teacher.HINT: np.ones(512, np.float32)}


@pytest.fixture(scope="module")
def trainer() -> Trainer:
    network = plain_network(160, 1.0)
    return Trainer(STAGE, network, FACTORS, network)


class Chunks:
    """In the place of the teacher's process: chunk k holds crops whose features are k."""

    def __init__(self) -> None:
        self.read_numbers: list[int] = []

    def read(self, number: int) -> teacher.Chunk:
        self.read_numbers.append(number)
        count = STAGE.chunk
        return teacher.Chunk(
            random_images(count, 160, seed=number),
            np.full((count, 10, 10, 512), 0.5, np.float16),
            np.full((count, 5, 5, 1024), 0.5, np.float16),
            np.full((count, 1024), 100 * number, np.float32) + np.arange(count, dtype=np.float32)[:, None],
            np.zeros((count, OUTPUTS), np.float16),
        )


def test_a_round_takes_every_crop_of_its_window_once(trainer: Trainer, tmp_path: Path) -> None:
    window, chunks = Window(trainer, tmp_path, 0), Chunks()
    seen = []
    for number in range(3):
        window.move(chunks, number)  # type: ignore[arg-type]
        seen.append([value for batch in window.batches(number) for value in batch.features[:, 0]])
    assert chunks.read_numbers == [0, 1, 2]
    assert sorted(seen[1]) == [*range(8), *range(100, 108)]
    assert sorted(seen[2]) == [*range(100, 108), *range(200, 208)]
    assert sorted(set(seen[0])) == [*range(8)], "the first round repeats what there is"

    resumed, again = Window(trainer, tmp_path, 2), Chunks()
    resumed.move(again, 2)  # type: ignore[arg-type]
    assert again.read_numbers == [1, 2]
    assert [value for batch in resumed.batches(2) for value in batch.features[:, 0]] == seen[2]


@pytest.mark.slow
def test_the_frozen_layers_stay_and_the_others_learn(trainer: Trainer, tmp_path: Path) -> None:
    images = random_images(4, 160)
    whole = graph.endpoints(trainer.tensors(), images / np.float32(255))
    maps = trainer.trunk(images)
    np.testing.assert_allclose(maps, whole["Conv2d_5_pointwise"], atol=0.005)

    before = [kernel.numpy() for kernel in trainer.student.kernels]
    hints, lasts = np.zeros((4, 10, 10, 512), np.float16), np.full((4, 5, 5, 1024), 0.5, np.float16)
    hints += 1
    batch = Batch(maps, hints, lasts, lasts.mean((1, 2), np.float32), np.zeros((4, OUTPUTS), np.float16))
    losses = [float(trainer.step(batch, 1.0)[0]) for _ in range(4)]

    assert losses[-1] < losses[0]
    same = [np.array_equal(one, two.numpy()) for one, two in zip(before, trainer.student.kernels, strict=True)]
    assert same == [True] * STAGE.frozen + [False] * (27 - STAGE.frozen)


def test_the_second_teacher_has_its_share_of_the_classes() -> None:
    network = plain_network(160, 1.0)
    features = np.random.default_rng(3).uniform(0, 2, (4, 1024)).astype(np.float32)
    first = graph.logits(graph.network_arrays(network), features).numpy()
    second = np.random.default_rng(4).normal(0, 3, first.shape).astype(np.float16)

    def class_error(share: float, seen: Float32Array) -> float:
        trainer = Trainer(replace(STAGE, second_weight=share, temperature=1.0), network, FACTORS, network)
        logits = trainer._wanted_logits(Batch(None, None, None, features, second))
        return float(trainer._class_error(tf.constant(seen), logits))

    def expected(wanted: Float32Array) -> float:
        return divergence(wanted, first)

    assert class_error(0, features) == pytest.approx(0, abs=1e-5)
    assert class_error(1, features) == pytest.approx(expected(second.astype(np.float32)), rel=1e-3)
    assert class_error(0.25, features) == pytest.approx(expected(0.75 * first + 0.25 * second), rel=1e-3)


def test_sharper_features_of_a_class_are_nearer_to_one_another() -> None:
    network = plain_network(160, 1.0)
    features = np.random.default_rng(3).uniform(0, 2, (4, 1024)).astype(np.float32)
    logits = np.zeros((4, OUTPUTS), np.float32)
    logits[[0, 1], 7] = logits[2, 8] = 50
    trainer = Trainer(replace(STAGE, sharpness=0.1), network, FACTORS, network)

    toward = trainer._toward_classes(tf.constant(features), tf.constant(logits)).numpy()

    lengths = np.linalg.norm(toward, axis=1) / np.linalg.norm(features, axis=1)
    np.testing.assert_allclose(lengths[:3], 0.1, rtol=1e-4)
    assert lengths[3] < 0.001, "no class, no direction"
    same, other = similarities(features + toward)[0, 1:3] - similarities(features)[0, 1:3]
    assert same > 0.001
    assert other < -0.001
    classifier = graph.network_arrays(network)
    more = (graph.logits(classifier, features + toward) - graph.logits(classifier, features)).numpy()
    assert more.argmax(axis=1).tolist()[:3] == [7, 7, 8]


def test_the_next_stage_starts_from_the_kept_part_of_the_way() -> None:
    network = plain_network(160, 1.0)
    stage = replace(STAGE, kept=0.25)
    trainer = Trainer(stage, network, FACTORS, network)
    last = len(network.layers) - 1
    way = {"kernels": 4.0, "gains": 2.0, "biases": 8.0}
    for name, step in way.items():
        index = [id(each) for each in trainer.optimizer.variables_].index(id(getattr(trainer.student, name)[last]))
        trainer.optimizer.averages[index].assign_add(tf.fill(trainer.optimizer.averages[index].shape, step))

    start = next_start(trainer, Start(network, {}))

    kernel, bias = start.network.layers[last].kernel, start.network.layers[last].bias
    np.testing.assert_allclose(kernel, (network.layers[last].kernel + 1) * 1.5, rtol=1e-5)
    np.testing.assert_allclose(bias, network.layers[last].bias + 2, rtol=1e-5)
    np.testing.assert_array_equal(start.network.layers[5].kernel, network.layers[5].kernel)


def test_a_network_between_two_has_a_share_of_the_way() -> None:
    first, last = plain_network(160, 1.0), plain_network(160, 1.0)
    layers = tuple(replace(layer, kernel=layer.kernel + 4, bias=layer.bias - 2) for layer in first.layers)
    part = between(first, replace(last, layers=layers), 0.75)
    for layer, start in zip(part.layers, first.layers, strict=True):
        np.testing.assert_allclose(layer.kernel, start.kernel + 3, rtol=1e-5)
        np.testing.assert_allclose(layer.bias, start.bias - 1.5, rtol=1e-5)
