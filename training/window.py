"""The crops that a round of training draws its batches from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fvcli.records import Float32Array
from training import teacher
from training.trainer import Bank, Batch, Trainer


class Window:
    """The last few chunks of the teacher's answers, with what the frozen layers make of their views."""

    def __init__(self, trainer: Trainer, folder: Path, first: int) -> None:
        self._trainer = trainer
        self._folder = folder
        self._chunks: dict[int, teacher.Chunk] = {}
        self._seen: dict[int, Float32Array] = {}
        teacher.remove_before(folder, self._start(first))

    def _start(self, number: int) -> int:
        return max(0, number - self._trainer.stage.window + 1)

    def task(self, model: Path, data: Path, first: int) -> teacher.Task:
        """The task of the teacher for the rounds from ``first`` on."""
        stage = self._trainer.stage
        return teacher.Task(
            model=model,
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
                if self._trainer.stage.relations_weight:
                    self._seen[which] = self._features(self._chunks[which])

    def _prepared(self, chunk: teacher.Chunk) -> teacher.Chunk:
        stage = self._trainer.stage
        if not stage.frozen:
            return chunk
        parts = [
            self._trainer.trunk(chunk.student[start : start + stage.batch]).numpy()
            for start in range(0, len(chunk.student), stage.batch)
        ]
        return replace(chunk, student=np.concatenate(parts))

    def _features(self, chunk: teacher.Chunk) -> Float32Array:
        """The student's, as it is now."""
        batch = self._trainer.stage.batch
        starts = range(0, len(chunk.student), batch)
        return np.concatenate([self._trainer.features(chunk.student[start : start + batch]) for start in starts])

    def bank(self) -> Bank:
        """The features of all crops, the student's as last seen. Without relations there are none."""
        if not self._seen:
            return Bank(*np.zeros((2, 0, 1024), np.float32))
        known = [(chunk.features, self._seen[which]) for which, chunk in self._chunks.items()]
        return Bank(*(unit(np.concatenate(features)) for features in zip(*known, strict=True)))

    def remember(self, bank: Bank) -> None:
        """Keeps what the student has seen in a round for the next one."""
        if self._seen:
            self._seen = dict(zip(self._chunks, np.split(bank.student, len(self._chunks)), strict=True))

    def batches(self, number: int) -> Iterator[tuple[NDArray[np.int64], Batch]]:
        """Every crop once, in an order that the seed and the round decide: rows of the bank, and what is there."""
        stage = self._trainer.stage
        chunks = list(self._chunks.values())
        order = np.random.default_rng((stage.seed, number, 1)).permutation(len(chunks) * stage.chunk)
        if len(chunks) < stage.window:  # the first rounds repeat what there is
            order = np.concatenate([order] * stage.window)
        for index in range(stage.steps_a_round):
            rows = order[index * stage.batch : (index + 1) * stage.batch]
            picked = [(chunks[row // stage.chunk], row % stage.chunk) for row in rows]
            yield (
                rows,
                Batch(*(np.stack([getattr(chunk, name)[row] for chunk, row in picked]) for name in Batch._fields)),
            )


def unit(features: Float32Array) -> Float32Array:
    """The rows of [n, 1024] at length 1."""
    scaled: Float32Array = features / np.linalg.norm(features, axis=1, keepdims=True)
    return scaled
