"""Adam (Kingma and Ba, 2015) with a pull toward the initial weights and a moving average of the result."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Optimizer:
    """One for all parameters; each has its own rate.

    pull: the share of the way back to the initial value at each step at full rate; it fades as the rate does.
    average: the moving average's memory, as the share kept at each step.
    """

    def __init__(self, parameters: Sequence[Tensor], rates: Sequence[float], *, pull: float, average: float) -> None:
        self.parameters = [parameter.detach() for parameter in parameters]
        self.state = {
            "initial": [parameter.clone() for parameter in self.parameters],
            "averages": [parameter.clone() for parameter in self.parameters],
            "first": [torch.zeros_like(parameter) for parameter in self.parameters],
            "second": [torch.zeros_like(parameter) for parameter in self.parameters],
        }
        self.steps = 0
        self._rates = rates
        self._pull = pull
        self._average = average

    @torch.no_grad()
    def apply(self, gradients: Sequence[Tensor], schedule: float) -> None:
        """One step; ``schedule`` (0..1) multiplies every rate."""
        self.steps += 1
        correction = (1 - 0.999**self.steps) ** 0.5 / (1 - 0.9**self.steps)
        kept = min(self._average, (1 + self.steps) / (10 + self.steps))
        first, second = self.state["first"], self.state["second"]
        torch._foreach_lerp_(first, gradients, 0.1)
        torch._foreach_mul_(second, 0.999)
        torch._foreach_addcmul_(second, gradients, gradients, 0.001)
        sizes = torch._foreach_sqrt(second)
        torch._foreach_add_(sizes, 1e-8)
        moves = [-rate * schedule * correction for rate in self._rates]
        torch._foreach_lerp_(self.parameters, self.state["initial"], self._pull * schedule)
        torch._foreach_addcdiv_(self.parameters, first, sizes, moves)
        torch._foreach_lerp_(self.state["averages"], self.parameters, 1 - kept)
