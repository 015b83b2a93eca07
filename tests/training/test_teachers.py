"""The answers of the teachers to views of several sizes."""

from __future__ import annotations

import numpy as np
import pytest

from fvcli.models.mobilenet import graph
from tests.helpers.networks import plain_network, random_images

torch = pytest.importorskip("torch")
pytest.importorskip("tensorflow")

from training import teachers  # noqa: E402
from training.crops import Pair  # noqa: E402
from training.device import Device  # noqa: E402
from training.float_network import HINT, FloatNetwork  # noqa: E402
from training.second_teacher import OUTPUTS, SIZE, SecondTeacher, Step  # noqa: E402
from training.teachers import Answers, Teachers, area_matrix  # noqa: E402

LAST = "Conv2d_13_pointwise"
ROWS = {192: [0, 2, 3], 224: [1, 4]}


def second_teacher() -> SecondTeacher:
    """The mean color and a layer of random numbers."""
    generator = torch.Generator().manual_seed(1)
    kernel = torch.randn((OUTPUTS, 3, 1, 1), generator=generator)
    bias = torch.randn(OUTPUTS, generator=generator)
    return SecondTeacher([Step((0,), 1, -1, 1), Step((1,), 2, -9, 9, kernel, bias)])


@pytest.fixture(scope="module")
def both() -> Teachers:
    return Teachers(FloatNetwork(plain_network(160, 1.0)), second_teacher(), Device())


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teachers, "BATCH", 2)


def pair_of(rows: dict[int, list[int]], seed: int = 3) -> Pair:
    """Each view is another, and has its number as the seed."""
    views = {
        size: (np.array(some), np.concatenate([random_images(1, size, seed + row) for row in some]))
        for size, some in rows.items()
    }
    return Pair(random_images(sum(map(len, rows.values())), 160, seed), views)


@pytest.fixture(scope="module")
def mixed(both: Teachers) -> Answers:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(teachers, "BATCH", 2)
        answers: Answers = both(pair_of(ROWS))
        return answers


@pytest.mark.slow
def test_each_answer_is_in_the_row_of_its_view(mixed: Answers) -> None:
    arrays = graph.network_arrays(plain_network(160, 1.0))
    assert mixed.student.shape == (5, 3, 160, 160)
    np.testing.assert_array_equal(mixed.student.permute(0, 2, 3, 1).cpu(), random_images(5, 160))
    for size, rows in ROWS.items():
        views = pair_of(ROWS).teacher[size][1]
        maps = graph.endpoints(arrays, views / np.float32(255))
        wanted = maps[LAST].numpy().mean(axis=(1, 2))
        assert np.abs(wanted[1:] - wanted[0]).max() > 0.3, "views can be told apart"
        np.testing.assert_allclose(mixed.features[rows].cpu(), wanted, atol=1e-3)
        if size == 192:
            continue
        matrix = area_matrix(14, 10)
        hint = np.einsum("yi,nijc,xj->ncyx", matrix, maps[HINT].numpy(), matrix)
        np.testing.assert_allclose(mixed.hint[rows].float().cpu(), hint, atol=5e-3)


def test_resampled_maps_keep_their_mean(mixed: Answers) -> None:
    assert (mixed.hint.shape, mixed.last.shape) == ((5, 512, 10, 10), (5, 1024, 5, 5))
    np.testing.assert_allclose(mixed.last.float().mean(dim=(2, 3)).cpu(), mixed.features.cpu(), atol=3e-3)


def test_the_second_teacher_sees_every_view_at_its_own_size(mixed: Answers) -> None:
    for size, rows in ROWS.items():
        views = torch.from_numpy(pair_of(ROWS).teacher[size][1]).permute(0, 3, 1, 2).float()
        large = torch.nn.functional.interpolate(views, SIZE, mode="bilinear")
        with torch.no_grad():
            wanted = second_teacher()(large)
        assert wanted.std() > 0.5
        np.testing.assert_allclose(mixed.second[rows].float().cpu(), wanted, atol=0.02)


def test_an_answer_does_not_depend_on_the_rest_of_the_chunk(mixed: Answers, both: Teachers) -> None:
    given = pair_of(ROWS)
    numbers, views = given.teacher[192]
    alone = both(Pair(given.student[2:3], {192: (numbers[:1], views[1:2])}))
    for one, many in zip(alone.parts, mixed.parts, strict=True):
        np.testing.assert_allclose(one[0].float().cpu(), many[2].float().cpu(), atol=5e-3)


def test_views_are_taken_as_tensors_too(mixed: Answers, both: Teachers) -> None:
    given = pair_of(ROWS)
    sent = {size: tuple(map(torch.from_numpy, some)) for size, some in given.teacher.items()}
    again = both(Pair(torch.from_numpy(given.student), sent))
    for one, other in zip(again.parts, mixed.parts, strict=True):
        np.testing.assert_allclose(one.float().cpu(), other.float().cpu(), atol=5e-3)


@pytest.mark.parametrize(("source", "target"), [(12, 10), (14, 10), (6, 5), (7, 5)])
def test_resampling_a_map_keeps_its_mean(source: int, target: int) -> None:
    matrix = area_matrix(source, target)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(matrix.mean(axis=0), 1 / source, rtol=1e-6)
