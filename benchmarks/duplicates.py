"""The time and memory of ``fvcli duplicates`` for many rows.

    python -m benchmarks.duplicates --like features [--rows 200000] [--folder /tmp/duplicates]

Makes a dataset of as many different vectors, each a random mixture of two rows of the dataset ``--like``, which should
hold some thousand different photographs. Mixtures are more like each other than photographs are, so the search has more
pairs to rule out. One row in a hundred gets a near-duplicate, with a cosine of about 0.95. Then the command runs once;
printed are its seconds, its peak memory, and how many of the planted pairs it found.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fvcli.dataset.columns import Rows
from fvcli.dataset.reader import open_dataset
from fvcli.explore.neighbors import normalized
from fvcli.records import Float32Array
from tests.helpers.synthetic import rows_of, write_dataset

SHARD = 10_000
PLANTED_EVERY = 100


def mixtures(pool: Float32Array, rows: int) -> Iterator[Rows]:
    """Shards of unit vectors [at most SHARD, dimension]; every hundredth row is a near-duplicate of the one before."""
    random = np.random.default_rng(1)
    for start in range(0, rows, SHARD):
        count = min(SHARD, rows - start)
        left, right = pool[random.integers(len(pool), size=count)], pool[random.integers(len(pool), size=count)]
        weights = random.uniform(0.42, 0.58, (count, 1)).astype(np.float32)
        vectors = normalized(weights * left + (1 - weights) * right)
        planted = vectors[PLANTED_EVERY - 1 :: PLANTED_EVERY]
        noise = normalized(random.standard_normal(planted.shape, np.float32)) * np.float32(0.33)
        planted[:] = normalized(vectors[PLANTED_EVERY - 2 :: PLANTED_EVERY] + noise)
        yield rows_of(vectors, start)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--like", type=Path, required=True)
    options.add_argument("--rows", type=int, default=200_000)
    options.add_argument("--folder", type=Path, default=Path("/tmp/duplicates"))
    options.add_argument("--format", choices=["npy", "parquet"], default="parquet")
    options.add_argument("--make", action="store_true", help=argparse.SUPPRESS)
    given = options.parse_args()
    folder = given.folder / f"{given.rows}-{given.format}"
    if given.make:
        pool = normalized(open_dataset(given.like).vectors().astype(np.float32))
        write_dataset(folder, mixtures(pool, given.rows), given.format)
        return
    if not (folder / "manifest.json").exists():
        # In a process of its own: what the parent holds when it starts a child counts as the child's peak.
        subprocess.run([sys.executable, "-m", "benchmarks.duplicates", *sys.argv[1:], "--make"], check=True)
    command = [sys.executable, "-m", "fvcli", "duplicates", str(folder), "--json", "-q"]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    output = process.stdout.read()
    _, _, usage = os.wait4(process.pid, 0)
    seconds, peak = time.perf_counter() - started, usage.ru_maxrss / 1024
    found = {image["path"] for group in json.loads(output)["groups"] for image in group["images"]}
    planted = range(PLANTED_EVERY - 1, given.rows, PLANTED_EVERY)
    both = sum({f"{row:09d}.jpg", f"{row - 1:09d}.jpg"} <= found for row in planted)
    print(
        f"{given.rows:,} rows: {seconds:.1f} s, peak {peak:,.0f} MB, {both:,} of {len(planted):,} planted pairs found"
    )


if __name__ == "__main__":
    main()
