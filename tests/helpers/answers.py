"""A recipe and answers of teachers that are small enough for a test; needs torch."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import torch

from fvcli.models.mobilenet.network import MobileNetV1
from tests.helpers.networks import plain_network, random_images
from training.recipe import RECIPE
from training.second_teacher import OUTPUTS
from training.start import Start
from training.teachers import Answers

SMALL = replace(RECIPE, rounds=4, chunk=8, window=2, batch=4, warm_up=2, level=8, fall=8, average=0.5, kernel_rate=0.02)


@cache
def small_network() -> MobileNetV1:
    """A quarter of the channels, with a classifier."""
    return plain_network(160, 0.25)


def small_start() -> Start:
    """Training begins at :func:`small_network`, whose inner map has not been scaled."""
    return Start(small_network(), np.ones(128, np.float32))


def answers(count: int, seed: int, size: int = 64) -> Answers:
    """Answers that teachers of :func:`small_network` might give to ``count`` views of ``size``."""
    generator = np.random.default_rng(seed)
    last = torch.from_numpy(generator.uniform(0, 2, (count, 256, size // 32, size // 32)).astype(np.float16))
    return Answers(
        student=torch.from_numpy(random_images(count, size, seed)).permute(0, 3, 1, 2),
        hint=torch.from_numpy(generator.uniform(0, 2, (count, 128, size // 16, size // 16)).astype(np.float16)),
        last=last,
        features=last.float().mean(dim=(2, 3)),
        second=torch.from_numpy(generator.normal(0, 2, (count, OUTPUTS)).astype(np.float16)),
    )
