"""The share of neighbors that the report's wall keeps together, and the time of its arrangement.

    python -m benchmarks.wall DATASET [--pictures 3000] [--threads 2]

Takes a dataset's rows (a spread sample of ``--pictures`` where there are more), arranges them as ``fvcli report`` does
and prints the share of each picture's 8 true nearest neighbors (cosine of the vectors) that are among the 24 nearest
cells, or the 24 nearest points: for the vectors' two principal components, for the embedding, and for the wall. A
random wall would keep 24 in (pictures - 1). No image is read.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fvcli.dataset.reader import open_dataset
from fvcli.machine import usable_cpus
from fvcli.report.embedding import directions, embed
from fvcli.report.grid import arrange
from fvcli.report.rows import spread

TRUE, NEAR = 8, 24
T = TypeVar("T")


def nearest(distances: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """The places of the ``count`` smallest values per row of [n, n], without the diagonal."""
    np.fill_diagonal(distances, np.inf)
    return np.argsort(distances, axis=1, kind="stable")[:, :count]


def kept(true: NDArray[np.int64], places: NDArray[np.float64]) -> float:
    """The mean share of ``true`` [n, 8] among the nearest of each of ``places`` [n, 2]."""
    around = nearest(((places[:, np.newaxis] - places) ** 2).sum(-1), NEAR)
    return float(np.mean([len(np.intersect1d(a, b)) for a, b in zip(true, around, strict=True)]) / true.shape[1])


def timed(work: Callable[[], T]) -> tuple[T, str]:
    """The result of ``work``, and the wall and CPU time that it took."""
    started, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, f"{time.perf_counter() - started:.1f} s, {time.process_time() - cpu:.1f} s of CPU"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("dataset", type=Path)
    options.add_argument("--pictures", type=int, default=3000)
    options.add_argument("--threads", type=int, default=usable_cpus())
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    dataset = open_dataset(given.dataset)
    units = directions(dataset.take(spread(len(dataset), given.pictures, given.seed)))
    true = nearest(1 - (units @ units.T).astype(np.float64), TRUE)
    centered = units - units.mean(0)
    _, _, axes = np.linalg.svd(centered, full_matrices=False)
    plane, embedding = timed(lambda: embed(units, given.seed, given.threads))
    grid, assignment = timed(lambda: arrange(plane))
    cells = np.stack([grid.cells % grid.columns, grid.cells // grid.columns], axis=1).astype(np.float64)
    print(f"{len(units):,} pictures, {grid.columns} x {grid.lines} cells, {given.threads} threads")
    print(f"kept by chance                  {NEAR / max(1, len(units) - 1):.3f}")
    print(f"kept by two principal components {kept(true, (centered @ axes[:2].T).astype(np.float64)):.3f}")
    print(f"kept by the embedding           {kept(true, plane.astype(np.float64)):.3f}   {embedding}")
    print(f"kept by the wall                {kept(true, cells):.3f}   {assignment}")


if __name__ == "__main__":
    main()
