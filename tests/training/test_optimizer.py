"""The optimizer's steps, beside Adam in NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from fvcli.records import Float32Array

torch = pytest.importorskip("torch")

from training.optimizer import Optimizer  # noqa: E402


def test_the_optimizer_steps_pulls_and_averages() -> None:
    parameter = torch.tensor([1.0, -2.0])
    optimizer = Optimizer([parameter], [0.01], pull=0.1, average=0.5)
    optimizer.apply([torch.tensor([3.0, -0.5])], 1.0)
    # Adam's first step is the rate in the direction of the gradient's sign, and nothing yet pulls back.
    np.testing.assert_allclose(parameter, [0.99, -1.99], rtol=1e-6)
    (average,) = optimizer.state["averages"]
    np.testing.assert_allclose(average, [1 - 0.01 * 9 / 11, -2 + 0.01 * 9 / 11], rtol=1e-6)


def test_the_pull_fades_with_the_rate() -> None:
    parameter = torch.tensor([1.0])
    optimizer = Optimizer([parameter], [0.0], pull=0.1, average=0.5)
    parameter.fill_(3.0)
    nothing = [torch.tensor([0.0])]
    optimizer.apply(nothing, 1.0)
    assert float(parameter) == pytest.approx(2.8)
    optimizer.apply(nothing, 0.5)
    assert float(parameter) == pytest.approx(2.71)
    optimizer.apply(nothing, 0.0)
    assert float(parameter) == pytest.approx(2.71)


def adam(start: Float32Array, gradients: list[Float32Array], rates: list[float]) -> Float32Array:
    """Algorithm 1 of Kingma and Ba, 2015."""
    value = start.astype(np.float64)
    first, second = np.zeros_like(value), np.zeros_like(value)
    for step, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), 1):
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        value = value - rate * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    return value.astype(np.float32)


def test_many_steps_are_those_of_adam() -> None:
    generator = np.random.default_rng(2)
    starts = [generator.normal(size=shape).astype(np.float32) for shape in ((4, 3, 1, 1), (5,))]
    gradients = [[generator.normal(size=start.shape).astype(np.float32) for start in starts] for _ in range(30)]
    schedule = [min(1.0, (step + 1) / 5) for step in range(30)]
    parameters = [torch.from_numpy(start.copy()) for start in starts]
    optimizer = Optimizer(parameters, [0.02, 0.005], pull=0.0, average=0.9)

    path = [[parameter.clone() for parameter in parameters]]
    for some, share in zip(gradients, schedule, strict=True):
        optimizer.apply([torch.from_numpy(gradient) for gradient in some], share)
        path.append([parameter.clone() for parameter in parameters])

    for index, rate in enumerate((0.02, 0.005)):
        own = [some[index] for some in gradients]
        expected = adam(starts[index], own, [rate * share for share in schedule])
        np.testing.assert_allclose(parameters[index], expected, rtol=1e-5, atol=1e-6)
        average = path[0][index]
        for step, values in enumerate(path[1:], 1):
            kept = min(0.9, (1 + step) / (10 + step))
            average = kept * average + (1 - kept) * values[index]
        np.testing.assert_allclose(optimizer.state["averages"][index], average, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(optimizer.state["initial"][index], starts[index])
