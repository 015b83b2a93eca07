"""The whole training, with small stages: what a kill in each of them leaves, and what a second run makes of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fvcli.models.mobilenet.network import MobileNetV1
from tests.helpers.networks import plain_network, random_images

pytest.importorskip("tensorflow")

from training import photographs, second_teacher, teacher, train
from training.recipe import CLASSES, FLOAT
from training.trainer import Batch, Trainer

SMALL: dict[str, Any] = {"chunk": 8, "window": 2, "batch": 4, "rounds": 2, "warm_up": 1, "average": 0.5}
STAGES = (replace(FLOAT, **SMALL), replace(CLASSES, **SMALL))


class Killed(BaseException):
    pass


class Chunks:
    """In the place of the teacher's process."""

    def __init__(self, task: teacher.Task) -> None:
        self._task = task

    def read(self, number: int) -> teacher.Chunk:
        count, seed = self._task.size, 10 * self._task.seed + number
        last = random_images(count, 5, seed=seed).mean(axis=3, keepdims=True) / np.float32(255)
        maps = np.broadcast_to(last, (count, 5, 5, 1024)).astype(np.float16)
        hint = np.full((count, 10, 10, 512), 0.5, np.float16)
        second = np.random.default_rng(seed).normal(0, 2, (count, second_teacher.OUTPUTS)).astype(np.float16)
        return teacher.Chunk(random_images(count, 160, seed=seed), hint, maps, maps.mean((1, 2), np.float32), second)

    def join(self) -> None:
        pass


class Nothing:
    """In the place of the photographs set aside."""

    def __init__(self, *_: object) -> None:
        pass

    def measure(self, _: object) -> dict[str, dict[str, float]]:
        return {}


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> list[MobileNetV1]:
    """The networks that are brought to 8 bits; the teacher and the photographs are stand-ins."""
    network = plain_network(160, 1.0)
    start = train.Start(network, {teacher.HINT: np.ones(512, np.float32)})
    made: list[MobileNetV1] = []
    monkeypatch.setattr(train, "first_start", lambda places: start)
    monkeypatch.setattr(train, "read_frozen_graph", lambda path: network)
    monkeypatch.setattr(train, "Holdout", Nothing)
    monkeypatch.setattr(teacher, "Producer", Chunks)
    monkeypatch.setattr(teacher, "write_teacher", lambda graph, target: target.touch())
    monkeypatch.setattr(second_teacher, "write_second_teacher", lambda model, target: target.touch())
    monkeypatch.setattr(photographs, "split", lambda data: photographs.Split((), (), ()))
    monkeypatch.setattr(train, "write_grid", lambda network, places: made.append(network))
    return made


def places(work: Path) -> train.Places:
    return train.Places(work / "graph.pb", work / "second.tflite", work, work / "labels.txt", work)


def rounds(work: Path, stage: str) -> list[int]:
    return [json.loads(line)["round"] for line in (work / stage / "log.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_a_kill_in_either_stage_is_resumed(
    tmp_path: Path, results: list[MobileNetV1], monkeypatch: pytest.MonkeyPatch
) -> None:
    train.train(STAGES, places(tmp_path / "whole"))

    whole_step = Trainer.step

    def killed_after(steps: int) -> None:
        left = iter(range(steps))

        def step(self: Trainer, batch: Batch, schedule: Any) -> Any:
            if next(left, None) is None:
                raise Killed
            return whole_step(self, batch, schedule)

        monkeypatch.setattr(Trainer, "step", step)

    stopped = places(tmp_path / "stopped")
    killed_after(6)  # in the second round of the first stage
    with pytest.raises(Killed):
        train.train(STAGES, stopped)
    killed_after(4 + 6)  # a round of the first stage is left; then in the second round of the other
    with pytest.raises(Killed):
        train.train(STAGES, stopped)
    assert len(results) == 1, "nothing was rounded too early"
    monkeypatch.setattr(Trainer, "step", whole_step)
    train.train(STAGES, stopped)

    whole, resumed = results
    for one, two in zip(whole.layers, resumed.layers, strict=True):
        np.testing.assert_allclose(one.kernel, two.kernel, atol=1e-3 * np.abs(one.kernel).max(), err_msg=one.name)
    first = plain_network(160, 1.0).layers[-1].kernel
    assert np.abs(whole.layers[-1].kernel - first).max() > 1e-3 * np.abs(first).max(), "both have learned"
    for stage in STAGES:
        assert rounds(stopped.work, stage.name) == [0, 1, 2]
