"""The speed of one command by the number of cores, also for more cores than there are.

    python -m benchmarks.cores simulate [--workers 2 4 8 ...] [--images N] [--processes N ...]
    python -m benchmarks.cores real     [--workers 1 2 ...]   [--images N] [--processes N ...]
    python -m benchmarks.cores delay    [--seconds 0.005]     [--images N] [--processes N ...]

simulate: A SIMULATION. The native kernels (JPEG decoding, scaling, int8 inference) are replaced by waits of the length
that they take on one core, which cost no CPU: the Python side of a run sees the same as on a machine with as many
cores as there are workers. What it shows is how many images one interpreter, or several, can keep moving. It cannot
show more than this machine's own cores carry: reading, hashing, and writing stay real. The vectors are worthless.

real: the same command with its kernels. delay: the same, and each file that is opened takes so much longer, as on a
network mount.

Rates are those between a quarter and nine tenths of the run, so that starting and ending do not count; CPU and peak
memory are of the whole run, all processes. The first line has the nice value and the scheduling policy, which decide
on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from typing import TYPE_CHECKING, Any

from benchmarks import pictures
from benchmarks.speed import PHOTOGRAPHS
from fvcli.commands.invocation import import_lean
from fvcli.machine import environment, usable_cpus
from tests.helpers.processes import children, proportional_bytes

if TYPE_CHECKING:
    from fvcli.dataset.existing import FailureLine

Row = tuple[int, int | None]  # workers, processes

#: What an image of the photographs takes on one core, from benchmarks.speed: decoding with scaling, and inference.
_DECODE_SECONDS, _SCALE_SECONDS, _INFER_SECONDS = 0.00090, 0.00015, 0.00099
_KERNELS = _DECODE_SECONDS + _SCALE_SECONDS + _INFER_SECONDS

#: Loaded by every Python process below, the workers too.
_WAITING = f"""
import ctypes, sys, time
if {{"benchmarks.cores", "fvcli.run.worker_process"}} & set(sys.orig_argv):
    ctypes.CDLL(None).prctl(29, 1, 0, 0, 0)  # PR_SET_TIMERSLACK: waits end on time
    import numpy as np
    import fvcli.images.jpeg as jpeg, fvcli.images.fit as scale, fvcli.models.litert as litert
    blank = {{}}
    def of(shape):
        if shape not in blank:
            blank[shape] = np.zeros(shape, np.uint8)
        return blank[shape]
    def scaled(pixels, box, resize, size):
        time.sleep({_DECODE_SECONDS + _SCALE_SECONDS})  # for both: each wait costs CPU of its own
        return of((size[1], size[0], *pixels.shape[2:]))
    jpeg.decode_jpeg = lambda data, colors, min_width, min_height, min_factor: of(
        (min_height, min_width, 3 if colors == "RGB" else 1))
    scale.with_vectors = scaled
    class Waiting:
        def __init__(self, real):
            self.real = real
        def __getattr__(self, name):
            return getattr(self.real, name)
        def invoke(self):
            time.sleep({_INFER_SECONDS})
    real = litert.new_interpreter
    litert.new_interpreter = lambda *arguments: Waiting(real(*arguments))
"""
_DELAYED = """
import os, sys, time
if {"benchmarks.cores", "fvcli.run.worker_process"} & set(sys.orig_argv):
    opening = os.open
    def late(path, *arguments, **options):
        if os.fsencode(path).lower().endswith((b".jpeg", b".jpg")):
            time.sleep(%r)
        return opening(path, *arguments, **options)
    os.open = late
"""


class _Watch:
    """The observer of a run: when how many inputs were done."""

    def __init__(self) -> None:
        self.moments: list[tuple[float, int]] = []
        self._done = 0

    def advanced(self, inputs: int, failed: Sequence[FailureLine]) -> None:
        self._done += inputs
        self.moments.append((time.monotonic(), self._done))

    def discovered(self, inputs: int) -> None: ...

    def planned(self, total: int, done: int) -> None: ...

    def noted(self, text: object) -> None: ...

    def passed_over(self, names: object) -> None: ...

    def stopped(self) -> int | None:
        return None

    def rate(self) -> float:
        """Images per second in the middle of the run."""
        (since, before), (until, after) = (
            min(self.moments, key=lambda moment: abs(moment[1] - part * self._done)) for part in (0.25, 0.9)
        )
        return (after - before) / (until - since)


class _Memory:
    """The peaks in MB, by samples: of this process, of a child at most, of all. Shared pages count in proportion."""

    def __init__(self) -> None:
        self.own = self.each = self.all = 0.0

    def sample(self) -> None:
        own, *beside = (proportional_bytes(process) / 2**20 for process in (os.getpid(), *children(os.getpid())))
        self.own, self.each = max(self.own, own), max(self.each, *beside, 0.0)
        self.all = max(self.all, own + sum(beside))


def _one(folder: str, workers: int, processes: int | None) -> dict[str, Any]:
    """One run, in this process, which imports what the command imports."""
    import_lean(images=True)
    from fvcli import api

    watch, memory, ended = _Watch(), _Memory(), threading.Event()

    def look() -> None:
        while not ended.wait(0.5):
            memory.sample()

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    with tempfile.TemporaryDirectory() as scratch:
        summary = api.extract(folder, f"{scratch}/f", observer=watch, workers=workers, processes=processes)
    ended.set()
    looking.join()
    cpu = sum(usage.ru_utime + usage.ru_stime for usage in map(getrusage, (RUSAGE_SELF, RUSAGE_CHILDREN)))
    return {
        "rate": watch.rate(),
        "cpu_ms": 1000 * cpu / summary.extracted,
        "own_mb": memory.own,
        "each_mb": memory.each,
        "all_mb": memory.all,
    }


def _run(site: str | None, folder: Path, workers: int, processes: int | None) -> dict[str, Any]:
    """One run in a process of its own, with ``site`` loaded first."""
    with tempfile.TemporaryDirectory() as place:
        paths = [str(Path(__file__).resolve().parents[1])]
        if site is not None:
            (Path(place) / "sitecustomize.py").write_text(site)
            paths.insert(0, place)
        command = [sys.executable, "-m", "benchmarks.cores", "one", str(folder), str(workers), str(processes)]
        changed = {"PYTHONPATH": os.pathsep.join(paths), "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(command, stdout=subprocess.PIPE, env=os.environ | changed, check=True)
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def _table(rows: Sequence[Row], ideal: Callable[[int], float], go: Callable[[int, int | None], dict[str, Any]]) -> None:
    print("| workers | processes | images/s | of the ideal | CPU ms/image | MB, run | MB, each process | MB, all |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|")
    for workers, processes in rows:
        one = go(workers, processes)
        told = "auto" if processes is None else str(processes)
        print(
            f"| {workers} | {told} | {one['rate']:,.0f} | {one['rate'] / ideal(workers):.2f} | {one['cpu_ms']:.3f} | "
            f"{one['own_mb']:.0f} | {one['each_mb']:.0f} | {one['all_mb']:.0f} |",
            flush=True,
        )


def main() -> None:
    if sys.argv[1:2] == ["one"]:
        place, own, beside = sys.argv[2:]
        print(json.dumps(_one(place, int(own), None if beside == "None" else int(beside))))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("simulate", "real", "delay"))
    parser.add_argument("--workers", type=int, nargs="+")
    parser.add_argument("--processes", type=int, nargs="+", help="0: threads alone; left out: fvcli's own choice")
    parser.add_argument("--images", type=int, default=8_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.005)
    asked = parser.parse_args()
    workers = asked.workers or ([2, 4, 8, 16, 32, 64] if asked.what == "simulate" else [usable_cpus()])
    policy = {os.SCHED_OTHER: "other", os.SCHED_FIFO: "fifo", os.SCHED_RR: "rr"}.get(os.sched_getscheduler(0), "batch")
    print(
        f"{asked.what}, {asked.images:,} images, {asked.rounds} round(s), {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, "
        f"nice {os.nice(0)}, policy {policy}, {environment()['cpu']}"
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = pictures.repeat(pictures.photographs(PHOTOGRAPHS), Path(scratch) / "photographs", asked.images)
        rows: list[Row] = [(number, each) for number in workers for each in asked.processes or [None]]

        def median(site: str | None, number: int, processes: int | None) -> dict[str, Any]:
            found = [_run(site, folder, number, processes) for _ in range(asked.rounds)]
            return {name: statistics.median(each[name] for each in found) for name in found[0]}

        if asked.what == "simulate":
            _table(rows, lambda number: number / _KERNELS, lambda *row: median(_WAITING, *row))
        elif asked.what == "real":
            base = median(None, 1, 0)["rate"]
            print(f"the ideal: {base:,.0f} images/s of one worker, times the number of workers")
            _table(rows, lambda number: base * number, lambda *row: median(None, *row))
        else:
            rates = {row: median(None, *row)["rate"] for row in rows}
            print("the ideal: the rate without the delay, " + ", ".join(f"{rate:,.0f}" for rate in rates.values()))
            best = max(rates.values())
            _table(rows, lambda number: best, lambda *row: median(_DELAYED % asked.seconds, *row))


if __name__ == "__main__":
    main()
