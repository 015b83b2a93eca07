"""The teacher: Google's float network run by LiteRT over random views, its answers stored in chunks.

Chunk k is a pure function of the seed and k. It holds the student's view of each crop and, of the teacher: the
feature vector, the last map and an inner map (hints), both resampled to the student's grid. Of the second teacher, in
stages that have one, it holds the classes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fvcli.records import Float32Array, UInt8Array
from training import crops, photographs
from training.second_teacher import OUTPUTS, SecondTeacher

HINT = "Conv2d_11_pointwise"
LAST = "Conv2d_13_pointwise"
BATCH = 16


@dataclass(frozen=True, slots=True)
class Chunk:
    """student: [n, 160, 160, 3]; hint: [n, 10, 10, 512]; last: [n, 5, 5, 1024]; features: [n, 1024].

    second: the second teacher's logits [n, 1001]; zeros where a stage has none.
    """

    student: UInt8Array
    hint: NDArray[np.float16]
    last: NDArray[np.float16]
    features: Float32Array
    second: NDArray[np.float16]


def area_matrix(source: int, target: int) -> Float32Array:
    """float32 [target, source]: each target cell is the average of the source cells it covers (the mean is kept)."""
    edges = np.linspace(0, source, target + 1)
    cells = np.arange(source)
    covered = np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells)
    return (np.clip(covered, 0, None) * target / source).astype(np.float32)


def write_teacher(frozen_graph: Path, target: Path) -> None:
    """The float network as a LiteRT file with three results: features, last map, inner map."""
    import tensorflow as tf

    from fvcli.models.mobilenet import graph
    from fvcli.models.mobilenet.frozen_graph import read_frozen_graph

    arrays = graph.network_arrays(read_frozen_graph(frozen_graph))

    def forward(images: Any) -> dict[str, Any]:
        maps = graph.endpoints(arrays, images)
        return {"hint": maps[HINT], "last": maps[LAST]}

    size = crops.TEACHER_SIZES[0]
    signature = tf.TensorSpec((BATCH, size, size, 3), tf.float32)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([tf.function(forward).get_concrete_function(signature)])
    target.write_bytes(converter.convert())


class Teacher:
    """Answers for batches of views; one thread."""

    def __init__(self, model: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreters = {}
        for size in crops.TEACHER_SIZES:
            interpreter = Interpreter(str(model), num_threads=1)
            interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], (BATCH, size, size, 3))
            interpreter.allocate_tensors()
            self._interpreters[size] = interpreter

    def __call__(self, views: tuple[UInt8Array, ...]) -> tuple[Float32Array, Float32Array]:
        """uint8 [size, size, 3] of any of the teacher's sizes -> hints [n, 10, 10, 512] and last maps [n, 5, 5, 1024].

        The mean of a last map is the feature vector.
        """
        hints = np.empty((len(views), 10, 10, 512), np.float32)
        lasts = np.empty((len(views), 5, 5, 1024), np.float32)
        for size, interpreter in self._interpreters.items():
            rows = [row for row, view in enumerate(views) if view.shape[0] == size]
            for start in range(0, len(rows), BATCH):
                some = rows[start : start + BATCH]
                images = np.zeros((BATCH, size, size, 3), np.float32)
                images[: len(some)] = np.stack([views[row] for row in some]) / np.float32(255)
                hint, last = self._run(interpreter, images)
                hints[some], lasts[some] = hint[: len(some)], last[: len(some)]
        return hints, lasts

    @staticmethod
    def _run(interpreter: Any, images: Float32Array) -> tuple[Float32Array, Float32Array]:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], images)
        interpreter.invoke()
        maps = [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]
        hint, last = sorted(maps, key=lambda array: -array.shape[1])
        return _resampled(hint, 10), _resampled(last, 5)


def _resampled(maps: Float32Array, size: int) -> Float32Array:
    matrix = area_matrix(maps.shape[1], size)
    rows = np.tensordot(matrix, maps, axes=(1, 1))  # [size, n, w, c]
    return np.ascontiguousarray(np.tensordot(matrix, rows, axes=(1, 2)).transpose(2, 1, 0, 3))


def chunk_path(folder: Path, number: int) -> Path:
    return folder / f"chunk-{number:05}.npz"


def write_chunk(folder: Path, number: int, pair: crops.Pair, teacher: Teacher, second: SecondTeacher | None) -> None:
    """Stores the teachers' answers for ``pair`` as chunk ``number``, whole or not at all."""
    hints, lasts = teacher(pair.teacher)
    partial = folder / f"partial-{number:05}-{os.getpid()}.npz"
    np.savez(
        partial,
        student=pair.student,
        hint=hints.astype(np.float16),
        last=lasts.astype(np.float16),
        features=lasts.mean(axis=(1, 2), dtype=np.float32),
        second=np.zeros((len(lasts), OUTPUTS), np.float16) if second is None else second(pair.teacher),
    )
    with suppress(FileNotFoundError):  # a trainer that was started meanwhile removes it; this process ends soon
        partial.rename(chunk_path(folder, number))


@dataclass(frozen=True, slots=True)
class Task:
    """The chunks to write: ``numbers``, of ``size`` views each, while fewer than ``limit`` wait in ``folder``.

    model, second: the LiteRT files of the teacher, and of the second one if the stage has one.
    """

    model: Path
    second: Path | None
    data: Path
    folder: Path
    drawing: crops.Drawing
    seed: int
    numbers: range
    size: int
    limit: int

    def arguments(self) -> list[str]:
        """The command line from which :meth:`parsed` makes the same task."""
        numbers = (self.seed, self.numbers.start, self.numbers.stop, self.size, self.limit)
        drawing = json.dumps(asdict(self.drawing))
        return [str(value) for value in (self.model, self.second or "", self.data, self.folder, drawing, *numbers)]

    @classmethod
    def parsed(cls, arguments: Sequence[str]) -> Task:
        model, second, data, folder, drawing, *numbers = arguments
        seed, first, end, size, limit = map(int, numbers)
        return cls(
            model=Path(model),
            second=Path(second) if second else None,
            data=Path(data),
            folder=Path(folder),
            drawing=crops.Drawing(**json.loads(drawing)),
            seed=seed,
            numbers=range(first, end),
            size=size,
            limit=limit,
        )


class Producer:
    """Writes chunks in a process of its own, which ends with this one."""

    def __init__(self, task: Task) -> None:
        self._folder = task.folder
        self._process = subprocess.Popen(
            [sys.executable, "-m", "training.teacher", *task.arguments(), str(os.getpid())]
        )

    def read(self, number: int) -> Chunk:
        """Waits until the chunk is there. Raises RuntimeError if the process has ended without it."""
        path = chunk_path(self._folder, number)
        while not path.exists():
            if self._process.poll() is not None and not path.exists():
                raise RuntimeError(
                    f"the teacher's process ended without chunk {number}; run the command again to resume"
                )
            time.sleep(0.2)
        with np.load(path) as arrays:
            return Chunk(**{field.name: arrays[field.name] for field in fields(Chunk)})

    def join(self) -> None:
        """Waits until all is written."""
        self._process.wait()


def remove_before(folder: Path, number: int) -> None:
    """Removes the chunks below ``number``, and what a process that was killed left of one."""
    for path in folder.glob("chunk-*.npz"):
        if int(path.stem.removeprefix("chunk-")) < number:
            path.unlink()
    for path in folder.glob("partial-*"):
        path.unlink()


def produce(task: Task, parent: int) -> None:
    """Writes the chunks that are not there; ends early when process ``parent``, the trainer, is gone."""
    images = photographs.Album(photographs.split(task.data).train)
    teacher = Teacher(task.model)
    second = SecondTeacher(task.second) if task.second else None
    for number in task.numbers:
        if chunk_path(task.folder, number).exists():
            continue
        while len(list(task.folder.glob("chunk-*.npz"))) >= task.limit and os.getppid() == parent:
            time.sleep(0.5)
        if os.getppid() != parent:
            return
        views = crops.draw(images, task.size, (task.seed, number), task.drawing)
        write_chunk(task.folder, number, views, teacher, second)


if __name__ == "__main__":
    produce(Task.parsed(sys.argv[1:-1]), int(sys.argv[-1]))
