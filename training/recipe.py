"""The recipe of the training, which decides its result beside the graph, the images and the library versions."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from training.crops import Drawing


@dataclass(frozen=True, slots=True)
class Stage:
    """One cycle of the learning rate, over views and with a loss of its own.

    name: of its folder in the work folder.
    frozen: the number of layers, from the first, that keep their weights. Their results are computed once per crop.
    rounds, chunk, window, batch: a round takes every crop of the last ``window`` chunks once, so each crop is seen
        ``window`` times; the first rounds repeat what there is.
    kernel_rate, gain_rate: Adam's at the peak; of kernels as a share of each kernel's root mean square (equalization
        makes its unit arbitrary), of gains and biases as they are.
    warm_up, decay: steps, and the share of the stage at its end; between them the rate is level.
    pull: the share of the way back to the stage's start at each step. average: the moving average's memory.
    kept: the share of the way from the stage's start to its result at which the next step begins.
    *_weight: of the relative squared error of the feature vector, of the last and of an inner map, and of the
        cross-entropy softened by ``temperature``.
    second_weight: the share of the second teacher's logits in the classes that are wanted.
    sharpness, length: how far the wanted features are moved toward the classifier's weights of the wanted classes, as a
        share of their length, and by what they are multiplied after that, so that the classes get no more confident.
    """

    name: str
    rounds: int
    seed: int
    kernel_rate: float
    gain_rate: float
    warm_up: int
    decay: float
    average: float
    kept: float
    drawing: Drawing
    frozen: int = 0
    pull: float = 1e-4
    chunk: int = 1024
    window: int = 6
    batch: int = 32
    features_weight: float = 1.0
    last_weight: float = 0.5
    hint_weight: float = 0.25
    classes_weight: float = 0.6
    temperature: float = 2.0
    second_weight: float = 0.0
    sharpness: float = 0.0
    length: float = 1.0

    @property
    def steps_a_round(self) -> int:
        return self.chunk * self.window // self.batch

    @property
    def steps(self) -> int:
        return self.rounds * self.steps_a_round

    def schedule(self, step: int) -> float:
        """0..1: linear warm-up, a level, and over the last ``decay`` of the steps half a cosine to 1 %.

        The level does not depend on the number of rounds, so that a run can be ended earlier or later than planned
        (before the decay begins) and still be the run that this number of rounds gives from the start.
        """
        level_end = self.steps * (1 - self.decay)
        if step < self.warm_up:
            return (step + 1) / self.warm_up
        if step <= level_end:
            return 1.0
        done = (step - level_end) / (self.steps - level_end)
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))


FLOAT = Stage(
    name="float",
    rounds=48,
    seed=20,
    kernel_rate=1.5e-3,
    gain_rate=6e-4,
    warm_up=192,
    decay=0.5,
    average=0.999,
    kept=0.5,
    drawing=Drawing(
        area=0.5,
        bilinear=0.2,
        bicubic=0.2,
        lanczos=0.1,
        whole=0.33,
        center=0.3,
        pasted=0.15,
        blended=0.1,
        teacher_limit=288,
        teacher_kernel="bicubic",
    ),
    frozen=11,
)
"""The network learns to see at 160 what it sees at a larger size."""

FINISH = Stage(
    name="finish",
    rounds=32,
    seed=22,
    kernel_rate=1.2e-3,
    gain_rate=4.8e-4,
    warm_up=192,
    decay=0.0,
    average=0.998,
    kept=1.0,
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
    last_weight=1.0,
    hint_weight=0.5,
    classes_weight=0.3,
)
"""It learns to see images as ``fvcli extract`` reads them."""

CLASSES = replace(FINISH, name="classes", rounds=42, seed=23, decay=0.7, second_weight=0.4, sharpness=0.06, length=0.8)
"""It learns the classes that two teachers give."""

STAGES = (FLOAT, FINISH, CLASSES)
"""In their order."""

KEPT = 0.75
"""The share of the way from the end of the first stage to the end of the last one at which rounding begins."""

ROUNDING_VIEWS, ROUNDING_SEED = 1536, 21
"""Random views on which the 8-bit grid is found, and their seed."""
