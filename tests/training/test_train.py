"""The whole training in small: what is left by a kill, and what a second run makes of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from PIL import Image

from fvcli.models.mobilenet.network import MobileNetV1
from fvcli.records import UInt8Array
from tests.helpers.networks import plain_network

torch = pytest.importorskip("torch")
pytest.importorskip("tensorflow")

from tests.helpers.answers import SMALL, answers, small_network, small_start  # noqa: E402
from training import train, work  # noqa: E402
from training.crops import draw  # noqa: E402
from training.device import Device  # noqa: E402
from training.float_network import FloatNetwork  # noqa: E402
from training.recipe import Recipe  # noqa: E402
from training.rounding import Rounded  # noqa: E402
from training.second_teacher import OUTPUTS, SecondTeacher, Step  # noqa: E402
from training.teachers import Answers, Teachers  # noqa: E402
from training.trainer import Trainer  # noqa: E402
from training.work import Places, between  # noqa: E402


class Killed(BaseException):
    pass


def places(folder: Path) -> Places:
    return Places(folder / "graph.pb", folder / "second.tflite", folder, folder / "labels.txt", folder)


def rounds(folder: Path) -> list[int]:
    return [json.loads(line)["round"] for line in (folder / work.LOG).read_text().splitlines()]


def trained(folder: Path) -> MobileNetV1:
    return work.load_layers(folder / work.TRAINED, small_network())[0]


@pytest.fixture
def grids(monkeypatch: pytest.MonkeyPatch) -> list[MobileNetV1]:
    """The networks that are brought to 8 bits. The photographs and the teachers have stand-ins."""
    made: list[MobileNetV1] = []

    def answered(trainer: Trainer, _: MobileNetV1, __: Places, numbers: range) -> Iterator[tuple[int, Answers]]:
        for number in numbers:
            given = answers(trainer.recipe.chunk, number)
            yield number, Answers(*(part.to(trainer.device.name) for part in given.parts))

    def write_grid(network: MobileNetV1, recipe: Recipe, where: Places) -> None:
        made.append(network)
        (where.work / work.GRID).touch()

    monkeypatch.setattr(train, "SAVED", 1)
    monkeypatch.setattr(train, "answered", answered)
    monkeypatch.setattr(train, "start_of", lambda original, recipe, places: small_start())
    monkeypatch.setattr(train, "read_frozen_graph", lambda path: small_network())
    monkeypatch.setattr(train, "write_grid", write_grid)
    return made


@pytest.fixture
def whole(tmp_path: Path, grids: list[MobileNetV1]) -> MobileNetV1:
    """The network that a training ends with that nothing stops."""
    train.train(SMALL, places(tmp_path / "whole"))
    grids.clear()
    return trained(tmp_path / "whole")


def killed_at_step(number: int, patch: pytest.MonkeyPatch) -> None:
    """The process ends in the middle of a round."""
    left, step = iter(range(number)), Trainer.step

    def counted(self: Trainer, batch: Answers, schedule: float) -> Any:
        if next(left, None) is None:
            raise Killed
        return step(self, batch, schedule)

    patch.setattr(Trainer, "step", counted)


def killed_at_the_end(_: int, patch: pytest.MonkeyPatch) -> None:
    """The process ends after the last checkpoint, before the result is stored."""

    def killed(*_: object) -> None:
        raise Killed

    patch.setattr(work, "save_layers", killed)


def killed_in_save(number: int, patch: pytest.MonkeyPatch) -> None:
    """The process ends with half of a checkpoint written, and the round in the log."""
    left, save = iter(range(number)), torch.save

    def broken(state: Any, file: BinaryIO) -> None:
        if next(left, None) is None:
            file.write(b"half")
            raise Killed
        save(state, file)

    patch.setattr(torch, "save", broken)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kills",
    [
        pytest.param([(killed_at_step, 2)], id="before the first checkpoint"),
        pytest.param([(killed_at_step, 6), (killed_at_step, 5)], id="in two rounds"),
        pytest.param([(killed_in_save, 0), (killed_in_save, 1)], id="while a checkpoint was written"),
        pytest.param([(killed_in_save, 3), (killed_at_the_end, 0)], id="in the last round and behind it"),
    ],
)
def test_a_kill_is_resumed(
    tmp_path: Path,
    grids: list[MobileNetV1],
    whole: MobileNetV1,
    kills: list[tuple[Callable[[int, pytest.MonkeyPatch], None], int]],
) -> None:
    stopped = places(tmp_path / "stopped")
    for kill, number in kills:
        with pytest.MonkeyPatch.context() as patch:
            kill(number, patch)
            with pytest.raises(Killed):
                train.train(SMALL, stopped)
        with open(stopped.work / work.LOG, "a") as log:
            log.write('{"round": 9')
    assert grids == [], "nothing is rounded too early"

    train.train(SMALL, stopped)

    resumed = trained(stopped.work)
    assert rounds(stopped.work) == [1, 2, 3, 4]
    for one, two, start in zip(whole.layers, resumed.layers, small_network().layers, strict=True):
        way = np.abs(one.kernel - start.kernel).max()
        assert way > 1e-3 * np.abs(start.kernel).max(), "it has learned"
        np.testing.assert_allclose(two.kernel, one.kernel, atol=1e-2 * way, err_msg=one.name)
        np.testing.assert_allclose(two.bias, one.bias, atol=1e-2 * np.abs(one.bias - start.bias).max())


@pytest.mark.slow
def test_a_stopped_training_takes_no_step_twice(
    tmp_path: Path, grids: list[MobileNetV1], monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = places(tmp_path / "stopped")
    with pytest.MonkeyPatch.context() as patch:
        killed_at_step(10, patch)
        with pytest.raises(Killed):
            train.train(SMALL, stopped)
    step, rates = Trainer.step, []

    def noted(self: Trainer, batch: Answers, schedule: float) -> Any:
        rates.append(schedule)
        return step(self, batch, schedule)

    monkeypatch.setattr(Trainer, "step", noted)
    train.train(SMALL, stopped)
    assert rates == [SMALL.schedule(number) for number in range(8, 16)], "two rounds of four were saved"


@pytest.mark.slow
def test_a_finished_training_is_not_run_again(
    tmp_path: Path, grids: list[MobileNetV1], whole: MobileNetV1, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "whole"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setattr(train, "Trainer", None)
    train.train(SMALL, places(folder))
    assert grids == []
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before

    (folder / work.GRID).unlink()
    train.train(SMALL, places(folder))
    assert len(grids) == 1, "what is missing is made"


def test_a_folder_keeps_to_its_recipe(tmp_path: Path, grids: list[MobileNetV1]) -> None:
    folder = tmp_path / "work"
    train.train(replace(SMALL, rounds=1), places(folder))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ValueError, match=r"recipe\.json: .* another pull, rounds;"):
        train.train(replace(SMALL, pull=0.5), places(folder))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_weights_that_are_not_finite_end_training_before_a_checkpoint(
    tmp_path: Path, grids: list[MobileNetV1], monkeypatch: pytest.MonkeyPatch
) -> None:
    step, left = Trainer.step, iter(range(7))

    def overflowing(self: Trainer, batch: Answers, schedule: float) -> Any:
        if next(left, None) is None:
            batch = replace(batch, hint=batch.hint * float("inf"))
        return step(self, batch, schedule)

    monkeypatch.setattr(Trainer, "step", overflowing)
    folder = tmp_path / "work"
    with pytest.raises(FloatingPointError, match="round 2: weights are no longer finite"):
        train.train(SMALL, places(folder))
    assert rounds(folder) == [1]
    assert torch.load(folder / work.CHECKPOINT, weights_only=True)["rounds"] == 1


def test_the_kept_part_of_the_way_is_brought_to_8_bits(tmp_path: Path, grids: list[MobileNetV1]) -> None:
    recipe = replace(SMALL, rounds=1, kept=0.25)
    train.train(recipe, places(tmp_path / "work"))
    end = trained(tmp_path / "work")
    (given,) = grids
    for kept, layer in zip(between(small_network(), end, 0.25).layers, given.layers, strict=True):
        np.testing.assert_array_equal(layer.kernel, kept.kernel)
        np.testing.assert_array_equal(layer.bias, kept.bias)
    saved = json.loads((tmp_path / "work" / work.RECIPE).read_text())
    assert (saved["rounds"], saved["kept"], saved["drawing"]["teacher_limit"]) == (1, 0.25, 224)
    assert "torch" in json.loads((tmp_path / "work" / work.MACHINE).read_text())["libraries"]


def test_the_log_has_the_mean_of_each_part_of_the_loss(
    tmp_path: Path, grids: list[MobileNetV1], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = iter(range(1, 9))
    monkeypatch.setattr(Trainer, "step", lambda *_: torch.tensor([1.0, 2.0, 3.0, 4.0]) * next(made))
    train.train(replace(SMALL, rounds=2), places(tmp_path / "work"))
    first, second = map(json.loads, (tmp_path / "work" / work.LOG).read_text().splitlines())
    assert first == {"round": 1, "features": 2.5, "last": 5.0, "hint": 7.5, "classes": 10.0}
    assert second["features"] == 6.5


@pytest.fixture
def pictures(tmp_path: Path) -> Places:
    """Two photographs to train on."""
    (tmp_path / "bsds500").mkdir()
    for number in range(2):
        Image.new("RGB", (60, 40), (90 * number, 40, 200)).save(tmp_path / "bsds500" / f"{number}.jpg")
    return places(tmp_path)


def test_chunks_come_with_the_teachers_answers(pictures: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, teacher = replace(SMALL, chunk=3), plain_network(160, 1.0)
    steps = [Step((0,), 1, -1, 1), Step((1,), 2, -9, 9, torch.ones(OUTPUTS, 3, 1, 1), torch.zeros(OUTPUTS))]
    monkeypatch.setattr(train, "read_steps", lambda path: steps)
    trainer = Trainer(recipe, small_start(), small_network(), Device())

    given = dict(train.answered(trainer, teacher, pictures, range(5, 7)))

    assert list(given) == [5, 6]
    teachers = Teachers(FloatNetwork(teacher), SecondTeacher(steps), Device())
    for number, chunk in given.items():
        views = draw(pictures.album(), 3, (recipe.seed, number), recipe.drawing)
        for one, two in zip(chunk.parts, teachers(views).parts, strict=True):
            assert torch.equal(one, two)


def test_a_grid_is_read_as_it_was_written(pictures: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    network = small_network()
    limits = {layer.name: 0.1 + number for number, layer in enumerate(network.layers)}
    seen: list[UInt8Array] = []

    def rounded(network: MobileNetV1, views: UInt8Array, seed: int) -> Rounded:
        seen.append(views)
        return Rounded(replace(network, logits=None), limits)

    monkeypatch.setattr(train, "ROUNDING_VIEWS", 4)
    monkeypatch.setattr(train, "rounded", rounded)
    train.write_grid(network, SMALL, pictures)

    grid = train.load_grid(pictures.work / work.GRID, network)

    assert seen[0].shape == (4, 160, 160, 3)
    assert grid.limits == limits
    assert grid.network.logits is None
    for one, two in zip(grid.network.layers, network.layers, strict=True):
        np.testing.assert_array_equal(one.kernel, two.kernel)
        np.testing.assert_array_equal(one.bias, two.bias)
