"""The answers of the teachers to a chunk of views: the targets that the student is trained with."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fvcli.records import Float32Array
from training.crops import Pair
from training.device import Device
from training.float_network import FloatNetwork
from training.second_teacher import OUTPUTS, SIZE, SecondTeacher

BATCH = 128


@dataclass(frozen=True, slots=True)
class Answers:
    """Tensors of n views, or of a batch of them.

    student: uint8 [n, 3, 160, 160]. hint: [n, 512, 10, 10] and last: [n, 1024, 5, 5], the teacher's inner and last map,
    resampled to the student's grid. features: float32 [n, 1024]. second: logits of the second teacher [n, 1001].
    """

    student: Tensor
    hint: Tensor
    last: Tensor
    features: Tensor
    second: Tensor

    @property
    def parts(self) -> tuple[Tensor, ...]:
        return tuple(getattr(self, field.name) for field in fields(self))


def area_matrix(source: int, target: int) -> Float32Array:
    """float32 [target, source]: each target cell is the average of the source cells it covers (the mean is kept)."""
    edges = np.linspace(0, source, target + 1)
    cells = np.arange(source)
    covered = np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells)
    return (np.clip(covered, 0, None) * target / source).astype(np.float32)


class Teachers:
    """Both teachers. ``first`` is Google's float network."""

    def __init__(self, first: FloatNetwork, second: SecondTeacher, device: Device) -> None:
        self._first = first.to(device.name)
        self._second = second.to(device.name)
        self._device = device

    @torch.no_grad()
    def __call__(self, pair: Pair) -> Answers:
        count = len(pair.student)
        answers = Answers(
            student=torch.as_tensor(pair.student).to(self._device.name).permute(0, 3, 1, 2),
            hint=torch.empty((count, 512, 10, 10), dtype=torch.float16, device=self._device.name),
            last=torch.empty((count, 1024, 5, 5), dtype=torch.float16, device=self._device.name),
            features=torch.empty((count, 1024), device=self._device.name),
            second=torch.empty((count, OUTPUTS), dtype=torch.float16, device=self._device.name),
        )
        for rows, views in pair.teacher.values():
            for start in range(0, len(rows), BATCH):
                part = slice(start, start + BATCH)
                self._answer(torch.as_tensor(rows[part]), torch.as_tensor(views[part]), answers)
        return answers

    def _answer(self, rows: Tensor, views: Tensor, answers: Answers) -> None:
        images = views.to(self._device.name).permute(0, 3, 1, 2)
        if self._device.fast and len(rows) < BATCH:  # one shape, whose kernels the device's libraries choose once
            images = torch.cat([images, images[:1].expand(BATCH - len(rows), -1, -1, -1)])
        large = images if images.shape[2] == SIZE else functional.interpolate(images.float(), SIZE, mode="bilinear")
        with self._device.precision():
            hint, last = self._first(images)
            second = self._second(large)
        where = rows.to(self._device.name)
        count = len(rows)
        last = last[:count].float()
        answers.hint[where] = _resampled(hint[:count].float(), 10).half()
        answers.last[where] = _resampled(last, 5).half()
        answers.features[where] = last.mean(dim=(2, 3))
        answers.second[where] = second[:count].half()


def _resampled(maps: Tensor, size: int) -> Tensor:
    matrix = torch.from_numpy(area_matrix(maps.shape[2], size)).to(maps.device)
    return torch.einsum("yi,ncij,xj->ncyx", matrix, maps, matrix)
