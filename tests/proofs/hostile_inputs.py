"""Inputs and targets that somebody crafted: bombs, and places that are no files."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.helpers import bombs, contents, pictures
from tests.helpers.commands import FVCLI, Outcome
from tests.helpers.processes import children, proportional_bytes
from tests.proofs.bed import Bed

BOMB_SECONDS = 30.0
PEAK_BYTES = 1_200_000_000
_SAMPLE_SECONDS = 0.02


def measured(*arguments: str | Path) -> tuple[Outcome, float, int]:
    """A command, the seconds it took, and the most memory that it and its children held together, in bytes."""
    began, peak = time.monotonic(), 0
    child = subprocess.Popen([FVCLI, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    while child.poll() is None:
        peak = max(peak, sum(map(proportional_bytes, _family(child.pid))))
        time.sleep(_SAMPLE_SECONDS)
    said = child.communicate()[0].decode("utf-8", "replace")
    return Outcome(child.returncode, said), time.monotonic() - began, peak


def _family(process: int) -> list[int]:
    """A process and all below it, by number."""
    found = [process]
    for parent in found:
        found += children(parent)
    return found


def explode(bed: Bed) -> Iterator[str]:
    """Each bomb alone with one good picture, then all of them in one folder with others."""
    every = bombs.all_bombs()
    slowest, highest = (0.0, ""), (0, "")
    for name, data in every.items():
        folder = bed.folder / "bomb" / name.replace(".", "-")
        pictures.put(folder / "in", "good.png", pictures.picture(1))
        (folder / "in" / name).write_bytes(data)
        with bed.attempt(name):
            done, took, peak = measured("extract", folder / "in", "-o", folder / "f", "-j", "2", "-q")
            bed.expect(done.code in (0, 3), done)
            bed.expect(took < BOMB_SECONDS, f"{took:.0f} s")
            bed.expect("good.png" in {path for _, path in contents.rows(folder / "f")}, "the good picture's row")
        slowest, highest = max(slowest, (took, name)), max(highest, (peak, name))
    yield (
        f"bombs: {len(every)} one by one, the slowest {slowest[0]:.1f} s ({slowest[1]}), "
        f"the largest {highest[0] / 1e6:.0f} MB ({highest[1]})"
    )
    folder = bed.folder / "bombs"
    photographs = pictures.make_folder(folder / "in", range(20))
    for name, data in every.items():
        (photographs / name).write_bytes(data)
    with bed.attempt("all bombs"):
        done, took, peak = measured("extract", photographs, "-o", folder / "f", "-j", "2", "-q")
        bed.expect(done.code == 3, done)
        bed.expect(peak < PEAK_BYTES, f"{peak / 1e6:.0f} MB")
        rows = {path for _, path in contents.rows(folder / "f")}
        bed.expect({f"{number:04d}.png" for number in range(20)} <= rows, f"rows: {sorted(rows)}")
        listed = {line["path"] for line in contents.failures(folder / "f")}
        bed.expect(rows | listed == set(os.listdir(photographs)), "each file is a row or a failure")
    yield f"bombs: all with 20 pictures: {took:.1f} s, {peak / 1e6:.0f} MB, {len(listed)} failures, no row missing"
