"""The gain of a second machine and the cost of a shard: Ray clusters of one and of two raylets on this machine.

    python -m benchmarks.cluster [FOLDER] [--images 7060] [--shard-size 100] [--rounds N]

Every raylet has one CPU and is given one worker; the head has none. In turn with them runs plain ``fvcli extract`` with
one and with two workers. Of each run counts the time from a quarter of the shards to the last one, so neither the
start of processes nor loading the model. What a shard costs besides its images follows from runs with larger shards.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks import pictures
from benchmarks.contest import FVCLI, ContestError
from benchmarks.speed import PHOTOGRAPHS, heading
from tests.helpers.clusters import small_cluster

LOCAL = ("one local worker", "two local workers")
RAY = ("one raylet", "two raylets")
LARGER = 7  # as many images in a large shard as in so many small ones


def shard_seconds(photos: Path, scratch: Path, shard_size: int, *options: str) -> float:
    """Seconds for ``shard_size`` images, between the shard a quarter of the way and the last one in their places."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        output = Path(folder) / "features"
        command = [*FVCLI, "extract", str(photos), "-o", str(output), "--quiet", "--shard-size", str(shard_size)]
        done = subprocess.run([*command, *options], check=False)
        if done.returncode:
            raise ContestError(f"fvcli extract {' '.join(options)} ended with exit code {done.returncode}")
        shards = sorted((file.stat().st_mtime, pq.read_metadata(file).num_rows) for file in (output / "data").iterdir())
    first = len(shards) // 4
    seconds = shards[-1][0] - shards[first][0]
    return float(seconds / sum(rows for _, rows in shards[first + 1 :]) * shard_size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=PHOTOGRAPHS, help="photographs (JPEG)")
    parser.add_argument("--images", type=int, default=7_060)
    parser.add_argument("--shard-size", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scratch", type=Path, default=Path("build/bench"))
    given = parser.parse_args()
    given.scratch.mkdir(parents=True, exist_ok=True)
    files = pictures.photographs(given.folder)
    photos = pictures.repeat(files, given.scratch / f"cluster-{given.images}", given.images)
    results: dict[str, dict[int, list[float]]] = {name: {} for name in (*LOCAL, *RAY)}
    for number in range(given.rounds):
        for count, (local, ray) in enumerate(zip(LOCAL, RAY, strict=True), 1):
            for size in (given.shard_size, *[LARGER * given.shard_size] * (count == 1)):
                one = shard_seconds(photos, given.scratch, size, "-j", str(count))
                results[local].setdefault(size, []).append(one)
                with small_cluster(count) as cluster:
                    options = ("--on", "ray", "--ray-address", str(cluster.address), "--ray-workers", str(count))
                    results[ray].setdefault(size, []).append(shard_seconds(photos, given.scratch, size, *options))
        print(f"  round {number + 1} of {given.rounds}", file=sys.stderr, flush=True)
    print("\n".join([*heading("benchmarks.cluster", sys.argv[1:]), *table(results, given.shard_size)]))


def table(results: dict[str, dict[int, list[float]]], size: int) -> list[str]:
    """Markdown. results: by runner and images per shard the seconds per shard of each round."""
    lines = ["| | images per shard | seconds per shard, each round | images/s in the median |", "|---|---:|---|---:|"]
    for name, sizes in results.items():
        for each, seconds in sizes.items():
            told = ", ".join(f"{one:.3f}" for one in seconds)
            lines.append(f"| {name} | {each} | {told} | {each / statistics.median(seconds):,.1f} |")
    lines += ["", "| ratio of speeds within a round | median | least | most |", "|---|---:|---:|---:|"]
    for name, (base, other) in {
        "two raylets / one": RAY,
        "two local workers / one": LOCAL,
        "one raylet / one local worker": (LOCAL[0], RAY[0]),
    }.items():
        ratios = [one / two for one, two in zip(results[base][size], results[other][size], strict=True)]
        lines.append(f"| {name} | {statistics.median(ratios):.3f} | {min(ratios):.3f} | {max(ratios):.3f} |")
    lines += ["", "| cost of a shard beside its images | ms, each round |", "|---|---|"]
    for name in (LOCAL[0], RAY[0]):
        rounds = zip(results[name][size], results[name][LARGER * size], strict=True)
        told = ", ".join(f"{1000 * (LARGER * small - large) / (LARGER - 1):.0f}" for small, large in rounds)
        lines.append(f"| {name} | {told} |")
    return lines


if __name__ == "__main__":
    main()
