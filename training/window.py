"""The crops that a round of training draws its batches from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from training import teacher
from training.trainer import Batch, Trainer


class Window:
    """The last few chunks of the teacher's answers, with what the frozen layers make of their views."""

    def __init__(self, trainer: Trainer, folder: Path, first: int) -> None:
        self._trainer = trainer
        self._folder = folder
        self._chunks: dict[int, teacher.Chunk] = {}
        teacher.remove_before(folder, self._start(first))

    def _start(self, number: int) -> int:
        return max(0, number - self._trainer.stage.window + 1)

    def task(self, model: Path, second: Path, data: Path, first: int) -> teacher.Task:
        """The task of the teachers, by their files, for the rounds from ``first`` on."""
        stage = self._trainer.stage
        return teacher.Task(
            model=model,
            second=second if stage.second_weight else None,
            data=data,
            folder=self._folder,
            drawing=stage.drawing,
            seed=stage.seed,
            numbers=range(self._start(first), stage.rounds),
            size=stage.chunk,
            limit=stage.window + 2,
        )

    def move(self, producer: teacher.Producer, number: int) -> None:
        """To the chunks of round ``number``; waits for the last of them. Older ones are removed."""
        self._chunks = {known: chunk for known, chunk in self._chunks.items() if known >= self._start(number)}
        teacher.remove_before(self._folder, self._start(number))
        for which in range(self._start(number), number + 1):
            if which not in self._chunks:
                self._chunks[which] = self._prepared(producer.read(which))

    def _prepared(self, chunk: teacher.Chunk) -> teacher.Chunk:
        stage = self._trainer.stage
        if not stage.frozen:
            return chunk
        parts = [
            self._trainer.trunk(chunk.student[start : start + stage.batch]).numpy()
            for start in range(0, len(chunk.student), stage.batch)
        ]
        return replace(chunk, student=np.concatenate(parts))

    def batches(self, number: int) -> Iterator[Batch]:
        """Every crop once, in an order that the seed and the round decide."""
        stage = self._trainer.stage
        chunks = list(self._chunks.values())
        order = np.random.default_rng((stage.seed, number, 1)).permutation(len(chunks) * stage.chunk)
        if len(chunks) < stage.window:  # the first rounds repeat what there is
            order = np.concatenate([order] * stage.window)
        for index in range(stage.steps_a_round):
            rows = order[index * stage.batch : (index + 1) * stage.batch]
            picked = [(chunks[row // stage.chunk], row % stage.chunk) for row in rows]
            yield Batch(*(np.stack([getattr(chunk, name)[row] for chunk, row in picked]) for name in Batch._fields))
