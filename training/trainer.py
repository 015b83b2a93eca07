"""The student, its optimizer and one step of training."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from fvcli.models.mobilenet.network import Layer, MobileNetV1
from training.device import Device
from training.float_network import FloatNetwork
from training.optimizer import Optimizer
from training.recipe import PARTS, Recipe
from training.start import Start
from training.teachers import Answers

LOSS_SCALE = 2.0**12
"""Half-precision gradients are computed of the loss times this, so that small ones do not vanish."""


class Trainer:
    """Trains in float as the recipe says. original: Google's network, whose classifier is used."""

    def __init__(self, recipe: Recipe, start: Start, original: MobileNetV1, device: Device) -> None:
        assert original.logits is not None
        self.recipe = recipe
        self.device = device
        self.student = FloatNetwork(start.network).to(device.name)
        self._parameters = list(self.student.parameters())
        sizes = [float(kernel.detach().square().mean().sqrt()) for kernel in self.student.kernels]
        rates = [recipe.kernel_rate * size for size in sizes] + [recipe.gain_rate] * 2 * len(sizes)
        self.optimizer = Optimizer(self._parameters, rates, pull=recipe.pull, average=recipe.average)
        self._factors = torch.from_numpy(start.factors).to(device.name)[:, None, None]
        self._weights = torch.from_numpy(original.logits.kernel[0, 0].T.copy()).to(device.name)
        self._bias = torch.from_numpy(original.logits.bias.copy()).to(device.name)
        self._directions = functional.normalize(self._weights - self._weights.mean(dim=0))

    def step(self, batch: Answers, schedule: float) -> Tensor:
        """One step at a share of the full rate. Returns the parts of the loss, unweighted."""
        parts = self.losses(batch)
        weights = [getattr(self.recipe, f"{part}_weight") for part in PARTS]
        loss = (parts * parts.new_tensor(weights)).sum()
        gradients = torch.autograd.grad(loss * LOSS_SCALE, self._parameters)
        torch._foreach_mul_(gradients, 1 / LOSS_SCALE)
        self.optimizer.apply(gradients, schedule)
        return parts.detach()

    def losses(self, batch: Answers) -> Tensor:
        """float32 [4]: the parts of the loss."""
        recipe = self.recipe
        with self.device.precision():
            hint, last = self.student(batch.student)
        hint, last = hint.float() / self._factors, last.float()
        seen = last.mean(dim=(2, 3))
        logits = (1 - recipe.second_weight) * self._logits(batch.features) + recipe.second_weight * batch.second.float()
        toward = self._toward_classes(batch.features, logits)
        return torch.stack(
            [
                relative_error(seen, recipe.length * (batch.features + toward)),
                relative_error(last, recipe.length * (batch.last.float() + toward[:, :, None, None])),
                relative_error(hint, batch.hint.float()),
                self._class_error(seen, logits),
            ]
        )

    def _logits(self, features: Tensor) -> Tensor:
        return functional.linear(features, self._weights, self._bias)

    def _toward_classes(self, features: Tensor, logits: Tensor) -> Tensor:
        """[n, 1024]: what moves features to those of their classes, so that these are nearer to one another."""
        length = self.recipe.sharpness * features.norm(dim=1, keepdim=True)
        return length * (logits.softmax(dim=1) @ self._directions)

    def _class_error(self, seen: Tensor, logits: Tensor) -> Tensor:
        """Divergence of the softened classes from the wanted ones, through the teacher's own classifier."""
        heat = self.recipe.temperature
        wanted, given = (logits / heat).log_softmax(dim=1), (self._logits(seen) / heat).log_softmax(dim=1)
        return functional.kl_div(given, wanted, reduction="batchmean", log_target=True) * heat**2

    @torch.no_grad()
    def layers(self) -> tuple[Layer, ...]:
        """The layers of the moving average of the weights."""
        average = copy.deepcopy(self.student)
        for parameter, value in zip(average.parameters(), self.optimizer.state["averages"], strict=True):
            parameter.copy_(value)
        return average.layers()

    def state(self) -> dict[str, Any]:
        """All that changes, for a checkpoint."""
        optimizer = self.optimizer
        return {"parameters": optimizer.parameters, "steps": optimizer.steps, **optimizer.state}

    @torch.no_grad()
    def restore(self, state: dict[str, Any]) -> None:
        """Takes the state of a checkpoint."""
        optimizer = self.optimizer
        optimizer.steps = state["steps"]
        for name, own in {"parameters": optimizer.parameters, **optimizer.state}.items():
            for value, saved in zip(own, state[name], strict=True):
                value.copy_(saved)


def relative_error(given: Tensor, wanted: Tensor) -> Tensor:
    """Squared error over the batch as a share of the squares of what was wanted."""
    return (given - wanted).square().sum() / wanted.square().sum()
