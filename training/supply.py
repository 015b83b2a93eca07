"""The views that training sees, drawn by processes of their own, ahead of time."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader, Dataset

from training.crops import Drawing, Pair, draw
from training.photographs import Album


class Chunks(Dataset[Pair]):
    """Chunk k is a pure function of the photographs, the drawing, the seed and k."""

    def __init__(self, images: Album, drawing: Drawing, size: int, seed: int) -> None:
        self._images = images
        self._drawing = drawing
        self._size = size
        self._seed = seed

    def __getitem__(self, number: int) -> Pair:
        return draw(self._images, self._size, (self._seed, number), self._drawing)


def supply(chunks: Chunks, numbers: range, processes: int) -> Iterator[Pair]:
    """The chunks ``numbers``, in order."""
    loader = DataLoader(
        chunks,
        batch_size=None,
        sampler=numbers,
        num_workers=processes,
        prefetch_factor=2,
        worker_init_fn=_one_thread,
    )
    return iter(loader)


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)
