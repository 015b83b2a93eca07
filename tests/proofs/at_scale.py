"""Folders of many files: what a run with nothing new costs, and an update of a few among many.

``python -m tests.proofs.at_scale nothing-new --files 10000`` and ``... --files 100000`` time the second and third
run of the installed command over hard links of a few pictures, and list what they wrote.
``python -m tests.proofs.at_scale update`` adds 1,000 pictures to 10,000, replaces 100, renames 100 and deletes
100, counts the inferences of the pruning update, and compares the dataset with a fresh extraction.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.helpers import commands, contents, pictures

_CONTENTS = 50
_IN_A_FOLDER = 1000


def link_folder(photographs: Path, files: int) -> None:
    """So many more names for the few pictures that are there, a thousand in each folder below."""
    originals = photographs / "originals"
    for number in range(files):
        below = photographs / f"{number // _IN_A_FOLDER:03d}"
        if number % _IN_A_FOLDER == 0:
            below.mkdir()
        os.link(originals / f"{number % _CONTENTS:04d}.png", below / f"{number:06d}.png")


def prepare(photographs: Path, features: Path, files: int, *options: str) -> None:
    """A folder of so many files and its dataset; only the first of each content costs an inference."""
    pictures.make_folder(photographs / "originals", range(_CONTENTS))
    for number in (0, files - _CONTENTS):
        link_folder(photographs, number)
        done = commands.run("extract", photographs, "-o", features, "-q", *options, timeout=3600)
        assert done.code == 0, done


def made(folder: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of every file of a dataset."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): (file.stat().st_ino, file.stat().st_mtime_ns) for file in files}


@dataclass(frozen=True)
class Repeated:
    """A run with nothing new: how long the process lived, its CPU time, which of the dataset's files it wrote."""

    seconds: float
    cpu_seconds: float
    written: set[str]


def repeat(photographs: Path, features: Path) -> Repeated:
    """Runs the installed command on a dataset that is up to date."""
    before = made(features)
    started, used = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = commands.run("extract", photographs, "-o", features, "-q")
    seconds, now = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.code == 0, done
    cpu_seconds = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    after = made(features)
    return Repeated(
        seconds, cpu_seconds, {name for name in after.keys() | before.keys() if after.get(name) != before.get(name)}
    )


def calls_that_write(photographs: Path, features: Path) -> list[str]:
    """The system calls of such a run that change a file or folder, by strace; none where strace is missing."""
    strace = shutil.which("strace")
    if strace is None:
        return []
    with tempfile.NamedTemporaryFile("r", suffix=".strace") as log:
        watched = "trace=openat,open,creat,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,ftruncate"
        command: list[str | Path] = [
            strace,
            "-f",
            "-y",
            "-e",
            watched,
            "-o",
            log.name,
            commands.FVCLI,
            "extract",
            photographs,
        ]
        done = subprocess.run([*command, "-o", features, "-q"], capture_output=True, check=False)
        if done.returncode:
            return []
        lines = log.read().splitlines()
    changing = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|rename|unlink|mkdir|ftruncate")
    calls = [line for line in lines if changing.search(line) and str(features) in line and "= -1" not in line]
    noise = rf"^\d+ +|<[^>]*>|{re.escape(str(features))}/|, 0[0-7]+|\.\d+(?=\.tmp)"
    return [re.sub(noise, "", line) for line in calls]


@dataclass(frozen=True)
class Changes:
    """How many files of a folder are changed, and how."""

    files: int = 10_000
    added: int = 1000
    replaced: int = 100
    renamed: int = 100
    deleted: int = 100

    def apply(self, photographs: Path) -> None:
        """Changes files spread over the whole folder; each stands for itself."""
        later = pictures.SOME_TIME_NS + 10**9
        for number in range(self.added):
            pictures.put(photographs, f"{number * self.files // self.added:06d}-added.png", picture(10**6 + number))
        step = self.files // (self.replaced + self.renamed + self.deleted)
        touched = [
            photographs / f"{number * step:06d}.png" for number in range(self.replaced + self.renamed + self.deleted)
        ]
        for number, file in enumerate(touched[::3][: self.replaced]):
            pictures.put(photographs, file.name, picture(2 * 10**6 + number), later)
        for number, file in enumerate(touched[1::3][: self.renamed]):
            file.rename(photographs / f"{number:06d}-renamed.png")
        for file in touched[2::3][: self.deleted]:
            file.unlink()


def picture(number: int) -> bytes:
    return pictures.picture(number, side=16)


def make_distinct(photographs: Path, files: int) -> None:
    """So many pictures, no two alike."""
    photographs.mkdir(parents=True)
    for number in range(files):
        pictures.put(photographs, f"{number:06d}.png", picture(number))


def _nothing_new(folder: Path, files: int) -> None:
    photographs, features = folder / "photographs", folder / "features"
    prepare(photographs, features, files)
    for _ in range(3):
        repeated = repeat(photographs, features)
        print(f"{files} files, nothing new: {repeated.seconds:.2f} s, of which {repeated.cpu_seconds:.2f} s on the CPU")
        print(f"  written: {sorted(repeated.written)}")
    for call in calls_that_write(photographs, features):
        print(f"  {call}")
    print(f"load {os.getloadavg()[0]:.1f}")


def _update(folder: Path, changes: Changes) -> None:
    photographs, features, fresh = folder / "photographs", folder / "features", folder / "fresh"
    make_distinct(photographs, changes.files)
    done = commands.run("extract", photographs, "-o", features, "-q", "--shard-size", "1000", timeout=3600)
    assert done.code == 0, done
    changes.apply(photographs)
    started = time.monotonic()
    done = commands.run("extract", photographs, "-o", features, "-q", "--shard-size", "1000", "--prune", timeout=3600)
    seconds = time.monotonic() - started
    assert done.code == 0, done
    values = contents.manifest(features)
    assert values is not None
    print(f"{changes}: {values['runs'][-1]['worked']} inferences in {seconds:.1f} s, counts {values['counts']}")
    done = commands.run("extract", photographs, "-o", fresh, "-q", timeout=3600)
    assert done.code == 0, done
    assert values["runs"][-1]["worked"] == changes.added + changes.replaced
    assert contents.rows(features) == contents.rows(fresh)
    assert commands.run("verify", features).code == 0
    print(f"{len(contents.rows(fresh))} rows and vectors equal those of a fresh extraction, bit for bit; verify clean")
    print(f"load {os.getloadavg()[0]:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("nothing-new", "update"))
    parser.add_argument("--files", type=int, default=10_000)
    asked = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    with tempfile.TemporaryDirectory(prefix="fvcli-scale-") as folder:
        if asked.what == "update":
            _update(Path(folder), Changes(asked.files, asked.files // 10, *(asked.files // 100,) * 3))
        else:
            _nothing_new(Path(folder), asked.files)


if __name__ == "__main__":
    main()
