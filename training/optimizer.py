"""Adam (Kingma and Ba, 2015) with a pull toward the initial weights and a moving average of the result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


class Optimizer(tf.Module):
    """One for all variables; each has its own rate, and all its state is in variables, for checkpoints.

    pull: the share of the way back to the initial value at each step at full rate; it fades as the rate does.
    average: the moving average's memory, as the share kept at each step.
    """

    def __init__(self, variables: Sequence[Any], *, pull: float, average: float) -> None:
        super().__init__()
        self.variables_ = list(variables)
        self.initial = [tf.Variable(variable, trainable=False) for variable in variables]
        self.averages = [tf.Variable(variable, trainable=False) for variable in variables]
        self.first = [tf.Variable(tf.zeros_like(variable), trainable=False) for variable in variables]
        self.second = [tf.Variable(tf.zeros_like(variable), trainable=False) for variable in variables]
        self.steps = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._pull = pull
        self._average = average

    def apply(self, gradients: Sequence[Any], rates: Sequence[float], schedule: Any) -> None:
        """One step; ``schedule`` (0..1) multiplies every rate."""
        count = tf.cast(self.steps.assign_add(1), tf.float32)
        correction = tf.sqrt(1 - 0.999**count) / (1 - 0.9**count)
        kept = tf.minimum(self._average, (1 + count) / (10 + count))
        for index, (variable, gradient, rate) in enumerate(zip(self.variables_, gradients, rates, strict=True)):
            first, second = self.first[index], self.second[index]
            first.assign_add(0.1 * (gradient - first))
            second.assign_add(0.001 * (tf.square(gradient) - second))
            move = rate * schedule * correction * first / (tf.sqrt(second) + 1e-8)
            back = self._pull * schedule * (variable - self.initial[index])
            variable.assign_sub(move + back)
            self.averages[index].assign_sub((1 - kept) * (self.averages[index] - variable))
