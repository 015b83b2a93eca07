"""The time of an exact nearest-neighbor query, against one numpy matrix-vector product over the same data.

    python -m benchmarks.neighbors [--rows 1000000] [--rounds 5] [--folder /tmp/neighbors] [--like features]

Makes a dataset of random vectors in both layouts (or, with --like, of another dataset's rows drawn over and over),
then runs each measurement in a process of its own, in turns, and prints the medians of wall and CPU time and each
process's peak memory. "mapped" is numpy's vectors @ query over the same .npy files, memory-mapped; "in memory" the
same with the vectors read beforehand, not counting how they got there. "pyarrow" is pyarrow reading the same Parquet
files, a shard at a time, and numpy's product of each with the query.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from fvcli.dataset.columns import Rows
from fvcli.dataset.layout import DataFormat
from fvcli.dataset.reader import open_dataset
from fvcli.explore.neighbors import nearest
from tests.helpers.synthetic import rows_of, write_dataset

DIMENSION = 1024
SHARD = 10_000


def make(folder: Path, format: DataFormat, rows: int, like: Path | None) -> None:
    """A dataset without images, unless it is there from the last time."""
    if (folder / "manifest.json").exists() and len(open_dataset(folder)) == rows:
        return
    pool = None if like is None else open_dataset(like).vectors().astype(np.float32)
    random = np.random.default_rng(1)

    def shards() -> Iterator[Rows]:
        for start in range(0, rows, SHARD):
            count = min(SHARD, rows - start)
            if pool is None:
                yield rows_of(random.standard_normal((count, DIMENSION), np.float32), start)
            else:
                yield rows_of(pool[random.integers(len(pool), size=count)], start)

    write_dataset(folder, shards(), format)


def measure(what: str, folder: Path, rounds: int) -> dict[str, float]:
    """Seconds (median) and peak resident memory in MB of this process, of which ``data`` MB are the vectors."""
    query = np.random.default_rng(2).standard_normal(DIMENSION, np.float32)
    seconds = []
    cpu = time.process_time()
    if what == "mapped":
        files = sorted((folder / "npy" / "img_emb").iterdir())
        for _ in range(rounds):
            started = time.perf_counter()
            for file in files:
                np.load(file, mmap_mode="r") @ query
            seconds.append(time.perf_counter() - started)
    elif what == "pyarrow":
        files = sorted((folder / "parquet" / "data").iterdir())
        for _ in range(rounds):
            started = time.perf_counter()
            for file in files:
                for batch in pq.ParquetFile(file).iter_batches(SHARD, columns=["embedding"]):
                    batch.column(0).flatten().to_numpy().reshape(-1, DIMENSION) @ query
            seconds.append(time.perf_counter() - started)
    elif what == "in memory":
        vectors = open_dataset(folder / "npy").vectors()
        cpu = time.process_time()
        for _ in range(rounds):
            started = time.perf_counter()
            vectors @ query
            seconds.append(time.perf_counter() - started)
    else:
        dataset = open_dataset(folder / what)
        for _ in range(rounds):
            started = time.perf_counter()
            nearest(dataset, query[np.newaxis], 10)
            seconds.append(time.perf_counter() - started)
    cpu = (time.process_time() - cpu) / rounds
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": statistics.median(seconds), "cpu": cpu, "peak_mb": peak}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--turns", type=int, default=3)
    options.add_argument("--folder", type=Path, default=Path("/tmp/neighbors"))
    options.add_argument("--like", type=Path)
    options.add_argument("--measure", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.measure:
        print(json.dumps(measure(given.measure, given.folder, given.rounds)))
        return
    for format in ("npy", "parquet"):
        make(given.folder / format, format, given.rows, given.like)
    results: dict[str, list[dict[str, float]]] = {}
    for _ in range(given.turns):
        for what in ("mapped", "in memory", "npy", "pyarrow", "parquet"):
            command = [sys.executable, "-m", "benchmarks.neighbors", "--measure", what]
            command += ["--folder", str(given.folder), "--rounds", str(given.rounds)]
            line = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
            results.setdefault(what, []).append(json.loads(line))
    base = statistics.median(run["seconds"] for run in results["mapped"])
    base_cpu = statistics.median(run["cpu"] for run in results["mapped"])
    print(f"{given.rows:,} x {DIMENSION} float32")
    for what, runs in results.items():
        seconds = statistics.median(run["seconds"] for run in runs)
        peak = max(run["peak_mb"] for run in runs)
        cpu = statistics.median(run["cpu"] for run in runs)
        print(
            f"{what:10} {seconds:7.3f} s  {seconds / base:6.2f} x   CPU {cpu:7.3f} s  {cpu / base_cpu:6.2f} x   "
            f"peak {peak:,.0f} MB"
        )


if __name__ == "__main__":
    main()
