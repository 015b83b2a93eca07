"""A step of training, and what its targets are."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fvcli.models.mobilenet import graph
from training.scores import divergence, similarities

torch = pytest.importorskip("torch")
pytest.importorskip("tensorflow")

from tests.helpers.answers import SMALL, answers, small_network, small_start  # noqa: E402
from training.device import Device  # noqa: E402
from training.float_network import FloatNetwork  # noqa: E402
from training.recipe import PARTS, Recipe  # noqa: E402
from training.start import Start  # noqa: E402
from training.teachers import Answers  # noqa: E402
from training.trainer import Trainer  # noqa: E402


def trainer(recipe: Recipe = SMALL, start: Start | None = None) -> Trainer:
    return Trainer(recipe, start or small_start(), small_network(), Device())


def batch(count: int = 4, seed: int = 0) -> Answers:
    return Answers(*(part.to(Device().name) for part in answers(count, seed).parts))


def own_answers(network: FloatNetwork, features_are: float = 1.0) -> Answers:
    """The student's own results, as if the teacher had answered them."""
    given = answers(4, 0)
    with torch.no_grad():
        hint, last = network.cpu()(given.student)
    return replace(given, hint=hint, last=last / features_are, features=last.mean(dim=(2, 3)) / features_are)


def test_losses_fall_on_a_batch_that_comes_again() -> None:
    one = trainer()
    losses = [one.step(batch(), 1.0).tolist() for _ in range(12)]
    assert len(losses[0]) == len(PARTS)
    assert all(after < before for before, after in zip(losses[0], losses[-1], strict=True)), losses


def test_a_student_that_gives_what_is_wanted_has_no_loss() -> None:
    one = trainer(replace(SMALL, sharpness=0.0, length=0.8, second_weight=0.0))
    features, last, hint, classes = one.losses(own_answers(one.student, 0.8)).tolist()
    assert max(features, last, hint) < 1e-6
    assert classes > 0.001, "longer features are more confident than the student's"


def test_the_inner_map_is_compared_before_equalization() -> None:
    factors = np.linspace(0.5, 2, 128).astype(np.float32)
    one = trainer(start=Start(small_network(), factors))
    wanted = own_answers(one.student)
    scaled = replace(wanted, hint=wanted.hint / torch.from_numpy(factors)[:, None, None])
    with torch.no_grad():
        assert float(one.losses(scaled)[2]) < 1e-6
        assert float(one.losses(wanted)[2]) > 0.01


def first_gradients(recipe: Recipe) -> list[Any]:
    """After one step, Adam's mean of the gradients is a tenth of the first."""
    one = trainer(recipe)
    one.step(batch(), 1.0)
    return [10 * mean for mean in one.optimizer.state["first"]]


def test_each_part_of_the_loss_has_its_weight() -> None:
    weights = {"features_weight": 1.0, "last_weight": 2.0, "hint_weight": 3.0, "classes_weight": 4.0}
    one = trainer()
    loss = one.losses(batch()) @ torch.tensor(list(weights.values()), device=one.device.name)
    expected = torch.autograd.grad(loss, list(one.student.parameters()))
    given = first_gradients(replace(SMALL, **weights))  # type: ignore[arg-type]
    for wanted, gradient in zip(expected, given, strict=True):
        assert torch.allclose(gradient, wanted, rtol=1e-2, atol=1e-3 * float(wanted.abs().max()))


def test_the_inner_map_says_nothing_of_the_layers_behind_it() -> None:
    alone = replace(SMALL, features_weight=0.0, last_weight=0.0, hint_weight=1.0, classes_weight=0.0)
    kernels = first_gradients(alone)[: len(small_network().layers)]
    assert [bool(gradient.any()) for gradient in kernels] == [True] * 23 + [False] * 4


def test_rates_follow_the_size_of_each_kernel() -> None:
    one = trainer(replace(SMALL, pull=0.0, kernel_rate=0.01, gain_rate=0.003))
    before = [parameter.detach().clone() for parameter in one.student.parameters()]
    one.step(batch(), 1.0)
    moved = [
        float((after.detach() - first).abs().max())
        for first, after in zip(before, one.student.parameters(), strict=True)
    ]
    sizes = [float(np.sqrt(np.mean(layer.kernel**2))) for layer in small_network().layers]
    np.testing.assert_allclose(moved[:27], [0.01 * size for size in sizes], rtol=0.02)
    np.testing.assert_allclose(moved[27:], 0.003, rtol=0.02)


def test_the_second_teacher_has_its_share_of_the_classes() -> None:
    given, one = batch(), trainer()
    arrays = graph.network_arrays(small_network())
    first = graph.logits(arrays, given.features.cpu().numpy()).numpy()
    second = given.second.float().cpu().numpy()
    with torch.no_grad():
        _, last = one.student(given.student)
    own = graph.logits(arrays, last.float().mean(dim=(2, 3)).cpu().numpy()).numpy()

    def class_error(share: float, temperature: float) -> float:
        recipe = replace(SMALL, second_weight=share, temperature=temperature)
        with torch.no_grad():
            return float(trainer(recipe).losses(given)[PARTS.index("classes")])

    assert class_error(0, 1) == pytest.approx(divergence(first, own), rel=1e-3)
    assert class_error(1, 1) == pytest.approx(divergence(second, own), rel=1e-3)
    mixed = 0.75 * first + 0.25 * second
    assert class_error(0.25, 1) == pytest.approx(divergence(mixed, own), rel=1e-3)
    assert class_error(0.25, 2) == pytest.approx(4 * divergence(mixed / 2, own / 2), rel=1e-3)


def test_sharper_features_of_a_class_are_nearer_to_one_another() -> None:
    features = np.random.default_rng(3).uniform(0, 2, (4, 256)).astype(np.float32)
    logits = np.zeros((4, 1001), np.float32)
    logits[[0, 1], 7] = logits[2, 8] = 50
    one = trainer(replace(SMALL, sharpness=0.1))
    name = one.device.name

    toward = one._toward_classes(torch.from_numpy(features).to(name), torch.from_numpy(logits).to(name)).cpu().numpy()

    lengths = np.linalg.norm(toward, axis=1) / np.linalg.norm(features, axis=1)
    np.testing.assert_allclose(lengths[:3], 0.1, rtol=1e-3)
    assert lengths[3] < 0.005, "no class, no direction"
    same, other = similarities(features + toward)[0, 1:3] - similarities(features)[0, 1:3]
    assert same > other + 0.003
    classifier = graph.network_arrays(small_network())
    more = (graph.logits(classifier, features + toward) - graph.logits(classifier, features)).numpy()
    assert more.argmax(axis=1).tolist()[:3] == [7, 7, 8]


def test_wanted_features_are_sharpened_and_then_shortened() -> None:
    plain, sharp = (trainer(replace(SMALL, sharpness=share, length=0.8)) for share in (0.0, 0.1))
    given = own_answers(plain.student)
    logits = 0.6 * plain._logits(given.features) + 0.4 * given.second
    toward = sharp._toward_classes(given.features, logits)
    wanted = 0.8 * (given.features + toward)
    expected = (given.features - wanted).square().sum() / wanted.square().sum()
    with torch.no_grad():
        assert float(sharp.losses(given)[0]) == pytest.approx(float(expected), rel=1e-4)
        assert float(plain.losses(given)[0]) == pytest.approx((0.2 / 0.8) ** 2, rel=1e-4)


def test_a_restored_trainer_goes_on_as_if_it_had_never_stopped() -> None:
    first, second = trainer(), trainer()
    for seed in range(3):
        first.step(batch(seed=seed), 0.5)
    saved = io.BytesIO()
    torch.save(first.state(), saved)
    first.step(batch(seed=3), 1.0)

    second.restore(torch.load(io.BytesIO(saved.getvalue()), weights_only=True))
    second.step(batch(seed=3), 1.0)

    assert second.optimizer.steps == 4
    for one, two in zip(first.layers(), second.layers(), strict=True):
        np.testing.assert_allclose(two.kernel, one.kernel, atol=1e-6 * np.abs(one.kernel).max())
    for one, two in zip(first.student.parameters(), second.student.parameters(), strict=True):
        assert torch.allclose(one, two, rtol=1e-5, atol=1e-7), "the weights, beside their average"


def test_its_layers_are_those_of_the_moving_average() -> None:
    one = trainer(replace(SMALL, average=0.9))
    before, path = small_network().layers[-1], []
    for seed in range(3):
        one.step(batch(seed=seed), 1.0)
        path.append([part[-1].detach().cpu().numpy().copy() for part in (one.student.biases, one.student.gains)])
    bias, gain = before.bias, np.ones_like(before.bias)
    for step, (bias_then, gain_then) in enumerate(path, 1):
        kept = min(0.9, (1 + step) / (10 + step))
        bias, gain = kept * bias + (1 - kept) * bias_then, kept * gain + (1 - kept) * gain_then
    np.testing.assert_allclose(one.layers()[-1].bias, bias, rtol=1e-5)
    assert np.abs(path[-1][0] - bias).max() > 1e-4, "the weights themselves are ahead"
    kernel = one.optimizer.state["averages"][len(one.student.kernels) - 1].cpu().numpy()[:, :, 0, 0].T
    np.testing.assert_allclose(one.layers()[-1].kernel[0, 0], kernel * gain, rtol=1e-5)
