"""Start-up, and what does not grow with the number of images: time an image, peak memory.

    python -m benchmarks.scale start [FOLDER]
    python -m benchmarks.scale images [FOLDER] [--sizes 706 10000 100000] [--rounds N]
    python -m benchmarks.scale plan [FOLDER] [--paths 1000000]

start: processes that extract ten images or print the help, from their start to their end or until the file is there.
images: whole runs over hard links of the photographs, smaller and larger in turn. plan: ``fvcli plan``, which ends
before the first image is read, over a tree, over one flat folder and over a list of the same names.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import pictures
from benchmarks.contest import FVCLI, Pass, extract, first_rows, run
from benchmarks.speed import PHOTOGRAPHS, heading


def start(files: list[Path], scratch: Path, given: argparse.Namespace) -> list[str]:
    ten = pictures.repeat(files[:10], scratch / "ten", 10)
    kinds: dict[str, Callable[[], Pass]] = {
        "extract, 10 images": lambda: extract(ten, scratch),
        "the same, until their rows are in the file": lambda: first_rows(ten, scratch),
        "--help": lambda: run([*FVCLI, "--help"]),
        "extract --help": lambda: run([*FVCLI, "extract", "--help"]),
    }
    passes: dict[str, list[Pass]] = {name: [] for name in kinds}
    for _ in range(given.rounds or 15):
        for name, once in kinds.items():
            passes[name].append(once())
    lines = ["| process | median s | least s | CPU s |", "|---|---:|---:|---:|"]
    for name, each in passes.items():
        seconds = [one.seconds for one in each]
        cpu = statistics.median(one.cpu_seconds for one in each)
        told = f"{cpu:.3f}" if cpu else ""
        lines.append(f"| {name} | {statistics.median(seconds):.3f} | {min(seconds):.3f} | {told} |")
    return lines


def images(files: list[Path], scratch: Path, given: argparse.Namespace) -> list[str]:
    folders = {size: pictures.repeat(files, scratch / f"scale-{size}", size) for size in given.sizes}
    passes: dict[int, list[Pass]] = {size: [] for size in given.sizes}
    for _ in range(given.rounds or 1):
        for size, folder in folders.items():
            passes[size].append(extract(folder, scratch))
            print(f"  {size:,}: {passes[size][-1].rate:,.0f} images/s", file=sys.stderr, flush=True)
    lines = ["| images | images/s | ms per image | CPU ms per image | peak MB |", "|---:|---:|---:|---:|---:|"]
    for size, each in passes.items():
        seconds = statistics.median(one.seconds for one in each) / size
        cpu, peak = statistics.median(one.cpu for one in each), max(one.peak_mb for one in each)
        lines.append(f"| {size:,} | {1 / seconds:,.0f} | {seconds * 1000:.3f} | {cpu * 1000:.3f} | {peak:,.0f} |")
    return lines


def plan(files: list[Path], scratch: Path, given: argparse.Namespace) -> list[str]:
    tree = pictures.repeat(files, scratch / f"tree-{given.paths}", given.paths)
    flat = scratch / f"flat-{given.paths}"
    flat.mkdir(exist_ok=True)
    listed = scratch / f"list-{given.paths}"
    with open(listed, "w", encoding="utf-8") as lines:
        for folder, _, names in os.walk(tree):
            for name in names:
                lines.write(f"{folder}/{name}\n")
                if not os.path.lexists(flat / name):
                    os.link(f"{folder}/{name}", flat / name)
    kinds = {"a tree": [str(tree)], "one flat folder": [str(flat)], "a list": ["--files-from", str(listed)]}
    told = [f"| plan of {given.paths:,} paths | seconds | CPU s | peak MB |", "|---|---:|---:|---:|"]
    for name, sources in kinds.items():
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            once = run([*FVCLI, "plan", *sources, "-o", f"{folder}/features", "--quiet"])
        told.append(f"| {name} | {once.seconds:.1f} | {once.cpu_seconds:.1f} | {once.peak_mb:,.0f} |")
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["start", "images", "plan"])
    parser.add_argument("folder", nargs="?", type=Path, default=PHOTOGRAPHS, help="photographs (JPEG)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[706, 10_000, 100_000])
    parser.add_argument("--paths", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--scratch", type=Path, default=Path("build/bench"))
    given = parser.parse_args()
    given.scratch.mkdir(parents=True, exist_ok=True)
    measures = {"start": start, "images": images, "plan": plan}
    lines = measures[given.what](pictures.photographs(given.folder), given.scratch, given)
    print("\n".join([*heading("benchmarks.scale", sys.argv[1:]), *lines]))


if __name__ == "__main__":
    main()
