"""The recipe of the training, which decides its result beside the graph, the images and the library versions."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from training.crops import Drawing

PARTS = ("features", "last", "hint", "classes")
"""The parts of the loss; a recipe has a weight for each."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """One cycle of the learning rate.

    rounds, chunk, window, batch: each round draws ``chunk`` new views and takes every view of the last ``window``
        chunks once, so each view is seen ``window`` times; the first rounds repeat what there is.
    kernel_rate, gain_rate: Adam's at the peak; of kernels as a share of each kernel's root mean square (equalization
        makes its unit arbitrary), of gains and biases as they are.
    warm_up, level, fall: steps: the rate rises until the first, is level until the second, and falls for as many as the
        third says. The rounds may end before that.
    pull: the share of the way back to the start at each step. average: the moving average's memory.
    kept: the share of the way from the start to the result at which rounding begins.
    *_weight: of the relative squared error of the feature vector, of the last and of an inner map, and of the
        cross-entropy softened by ``temperature``.
    second_weight: the share of the second teacher's logits in the classes that are wanted.
    sharpness, length: how far the wanted features are moved toward the classifier's weights of the wanted classes, as a
        share of their length, and by what they are multiplied after that, so that the classes get no more confident.
    """

    rounds: int
    chunk: int
    window: int
    batch: int
    seed: int
    kernel_rate: float
    gain_rate: float
    warm_up: int
    level: int
    fall: int
    pull: float
    average: float
    kept: float
    drawing: Drawing
    features_weight: float
    last_weight: float
    hint_weight: float
    classes_weight: float
    temperature: float
    second_weight: float
    sharpness: float
    length: float

    @property
    def steps_a_round(self) -> int:
        return math.ceil(self.chunk * self.window / self.batch)

    @property
    def steps(self) -> int:
        return self.rounds * self.steps_a_round

    def in_rounds(self, rounds: int) -> Recipe:
        """The recipe with its schedule in as many rounds."""
        share = rounds / self.rounds
        warm_up, level, fall = (round(steps * share) for steps in (self.warm_up, self.level, self.fall))
        return replace(self, rounds=rounds, warm_up=max(warm_up, 1), level=level, fall=max(fall, 1))

    def schedule(self, step: int) -> float:
        """0..1, the share of the full rate: a linear warm-up, a level, and half a cosine to 1 %."""
        if step < self.warm_up:
            return (step + 1) / self.warm_up
        done = min(max(step - self.level, 0) / self.fall, 1.0)
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))


RECIPE = Recipe(
    rounds=1325,
    chunk=512,
    window=4,
    batch=128,
    seed=30,
    kernel_rate=2.4e-3,
    gain_rate=9.6e-4,
    warm_up=400,
    level=9280,
    fall=13920,
    pull=2e-5,
    average=0.999,
    kept=0.95,
    drawing=Drawing(
        area=0.1,
        bilinear=0.7,
        bicubic=0.1,
        lanczos=0.1,
        whole=0.4,
        center=0.4,
        pasted=0.1,
        blended=0.05,
        teacher_limit=224,
        teacher_kernel="bilinear",
    ),
    features_weight=1.0,
    last_weight=1.0,
    hint_weight=0.5,
    classes_weight=0.3,
    temperature=2.0,
    second_weight=0.4,
    sharpness=0.06,
    length=0.8,
)

ROUNDING_VIEWS, ROUNDING_SEED = 1536, 21
"""Random views on which the 8-bit grid is found, and their seed."""
