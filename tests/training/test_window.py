"""The window of chunks that a round draws its batches from."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

import pytest

from tests.helpers.networks import random_images

torch = pytest.importorskip("torch")
pytest.importorskip("tensorflow")

from tests.helpers.answers import SMALL  # noqa: E402
from training.teachers import Answers  # noqa: E402
from training.window import Window  # noqa: E402


def chunk(number: int) -> Answers:
    """The features of a view are its number, and so is all else."""
    numbers = 100.0 * number + torch.arange(SMALL.chunk)
    student = torch.from_numpy(random_images(SMALL.chunk, 32, number)).permute(0, 3, 1, 2).clone()
    student[:, 0, 0, 0] = numbers.to(torch.uint8)
    rows = numbers[:, None]
    maps = rows[:, :, None, None].half()
    return Answers(student, maps, maps.expand(-1, 2, -1, -1), rows, rows.half())


def views(window: Window, number: int) -> list[float]:
    """The numbers of the views of round ``number``, in the order of its batches."""
    batches = [batch.features[:, 0].tolist() for batch in window.batches(number)]
    assert [len(batch) for batch in batches] == [4, 4, 4, 4]
    return list(chain.from_iterable(batches))


def played(rounds: int) -> tuple[Window, list[list[float]]]:
    """The window after so many rounds, and the numbers of the views of each round."""
    window, numbers = Window(SMALL), []
    for number in range(rounds):
        window.put(number, chunk(number))
        numbers.append(views(window, number))
    return window, numbers


def test_a_round_takes_every_view_of_its_window_once() -> None:
    _, rounds = played(4)
    for number in (1, 2, 3):
        wanted = [*range(100 * (number - 1), 100 * (number - 1) + 8), *range(100 * number, 100 * number + 8)]
        assert sorted(rounds[number]) == wanted
        assert rounds[number] != wanted, "in a mixed order"
    places = [[view // 100 % 2 * 8 + view % 100 for view in views] for views in rounds[1:]]
    assert places[0] != places[1] != places[2], "in another order each time"


def test_the_last_batch_takes_what_is_left() -> None:
    recipe = replace(SMALL, batch=5)
    window = Window(recipe)
    window.put(0, chunk(0))
    sizes = [len(batch.features) for batch in window.batches(0)]
    assert sizes == [5, 5, 5, 1]
    assert len(sizes) == recipe.steps_a_round


def test_the_first_round_repeats_what_there_is() -> None:
    _, (numbers,) = played(1)
    assert sorted(numbers) == sorted([*range(8), *range(8)])


def test_the_parts_of_a_view_stay_together() -> None:
    window, _ = played(3)
    for batch in window.batches(2):
        numbers = batch.features[:, 0]
        assert torch.equal(batch.student[:, 0, 0, 0], numbers.to(torch.uint8))
        assert torch.equal(batch.hint[:, 0, 0, 0], numbers.half())
        assert torch.equal(batch.last[:, 1, 0, 0], numbers.half())
        assert torch.equal(batch.second[:, 0], numbers.half())


@pytest.mark.parametrize("number", [0, 1, 3])
def test_resumed_it_gives_the_same_batches(number: int) -> None:
    _, rounds = played(4)
    first = Window(SMALL).first(number)
    assert first == max(0, number - 1)
    window = Window(SMALL)
    for each in range(first, number + 1):
        window.put(each, chunk(each))
    assert views(window, number) == rounds[number]
