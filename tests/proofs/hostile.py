"""Datasets that somebody crafted or that rotted, under every command.

``python -m tests.proofs.hostile`` makes them and runs the command on each: nothing outside the dataset's folder may
change, nothing in it by a command that only reads, no command may hang, end with an undocumented exit code or say
"unexpected". ``--changes N``: single-field changes per kind of JSON file. ``--seconds N``: how long readers and updates
run against each other.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.helpers import contents, json_changes, pictures
from tests.helpers.commands import FVCLI, Forks, Outcome
from tests.proofs.attacks import ATTACKS, OUTSIDE

LIMIT_SECONDS = 60.0
READING = (
    ("inspect", "{dataset}"),
    ("inspect", "{dataset}", "--json"),
    ("verify", "{dataset}"),
    ("verify", "{dataset}", "--recompute", "2"),
    ("neighbors", "{dataset}", "{photographs}/0001.png"),
    ("neighbors", "{dataset}", "{query}"),
    ("export", "{dataset}", "--as", "projector", "-o", "{folder}/out"),
    ("report", "{dataset}", "-o", "{folder}/out/report.html"),
)
WRITING = (
    ("extract", "{photographs}", "-o", "{dataset}", "--shard-size", "7"),
    ("extract", "{photographs}", "-o", "{dataset}", "--shard-size", "7", "--prune"),
    ("extract", "-o", "{dataset}", "--task", "1/1"),
    ("finalize", "{dataset}"),
    ("repair", "{dataset}"),
    ("extract", "{photographs}", "-o", "{dataset}", "--shard-size", "7", "--overwrite"),
)
EXITS = {0, 1, 2, 3, 4, 75}


def tree(folder: Path) -> dict[str, tuple[object, ...]]:
    """Everything in a folder, links not followed: kind, size, time, and content or target."""
    found: dict[str, tuple[object, ...]] = {}
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place, name)
            status = path.lstat()
            content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
            found[str(path)] = (status.st_mode, status.st_size, status.st_mtime_ns, content)
    return found


class Bed:
    """A folder with photographs, a dataset of them, an unfinished plan of an update, and things outside to aim at."""

    def __init__(self, folder: Path, forks: Forks) -> None:
        self.folder = folder
        self.forks = forks
        self.photographs = pictures.make_folder(folder / "photographs", range(20))
        pictures.put(self.photographs, "broken.png", pictures.broken(1))
        self.query = pictures.put(folder, "query.png", pictures.picture(77))
        self.outside = folder / OUTSIDE
        self.outside.mkdir()
        for name in ("precious.txt", "part-00000-01234567.parquet", "00000.json", "x.tmp"):
            (self.outside / name).write_bytes(b"precious")
        for name in ("pipe.tflite", "pipe.pb"):
            os.mkfifo(self.outside / name)
        self.base = folder / "base"
        made = self.run("extract", self.photographs, "-o", self.base, "--shard-size", "7", "-q")
        assert made.code == 3, made
        self.planned = folder / "planned"
        shutil.copytree(self.base, self.planned)
        pictures.put(self.photographs, "0003.png", pictures.picture(300), pictures.SOME_TIME_NS + 10**9)
        made = self.run("plan", self.photographs, "-o", self.planned, "--shard-size", "7", "-q")
        assert made.code == 0, made
        self.dataset = folder / "dataset"

    def fresh(self, base: Path) -> None:
        """Puts a dataset in place, and the things outside as they were."""
        shutil.rmtree(self.dataset, ignore_errors=True)
        shutil.copytree(base, self.dataset)
        shutil.rmtree(self.folder / "out", ignore_errors=True)
        (self.folder / "out").mkdir()

    def run(self, *arguments: str | Path) -> Outcome:
        """A command that must end in time, with a documented exit code and one of fvcli's own messages."""
        done = self.forks.run(*arguments, kill_after=LIMIT_SECONDS)
        assert done.code in EXITS, (arguments, done)
        for alarming in ("Traceback", "unexpected", "a bug"):
            assert alarming not in done.said, (arguments, done)
        return done

    def command(self, words: tuple[str, ...]) -> Outcome:
        names = {
            "dataset": self.dataset,
            "photographs": self.photographs,
            "query": self.query,
            "folder": self.folder,
        }
        return self.run(*(word.format(**names) for word in words))


def attacks(bed: Bed) -> Iterator[str]:
    """Every attack under every command: a watched tree beside the dataset stays as it is."""
    runs = 0
    for attack in ATTACKS.values():
        for base in (bed.base, bed.planned):
            for words in READING:
                _attacked(bed, attack, base)
                inside = tree(bed.dataset)
                runs += _watched(bed, words)
                assert tree(bed.dataset) == inside, words
            _attacked(bed, attack, base)
            runs += sum(_watched(bed, words) for words in WRITING)
    yield f"attacks: {len(ATTACKS)} crafted datasets, {runs} commands; nothing outside the dataset's folder changed"


def _attacked(bed: Bed, attack: Callable[[Path, Path], None], base: Path) -> None:
    bed.fresh(base)
    attack(bed.dataset, bed.outside)


def _watched(bed: Bed, words: tuple[str, ...]) -> int:
    before = {**tree(bed.outside), **tree(bed.photographs)}
    bed.command(words)
    after = {**tree(bed.outside), **tree(bed.photographs)}
    assert after == before, (words, {name for name in {*before, *after} if before.get(name) != after.get(name)})
    return 1


def types(bed: Bed, changes: int, rng: random.Random) -> Iterator[str]:
    """Single-field changes in each of fvcli's JSON files, each under the command that reads the file."""
    inspect, extract = READING[0], WRITING[0]
    kinds = (
        ("manifest.json", bed.base, inspect),
        (".fvcli/pending-manifest.json", bed.base, extract),
        (".fvcli/plan.json", bed.planned, ("extract", "-o", "{dataset}", "--task", "1/1")),
        (".fvcli/commits/00000.json", bed.planned, extract),
        (".fvcli/tasks/00001-of-00001.json", bed.planned, ("finalize", "{dataset}")),
    )
    for name, base, words in kinds:
        values = _values(bed, name, base)
        every = list(json_changes.changed(values))
        refused = 0
        for change, other in rng.sample(every, min(changes, len(every))):
            bed.fresh(base)
            (bed.dataset / name).parent.mkdir(parents=True, exist_ok=True)
            (bed.dataset / name).write_text(json.dumps(other))
            done = bed.command(words)
            if done.code == 1:
                assert len([line for line in done.said.split("\n") if line.startswith("fvcli: ")]) == 1, (change, done)
                refused += 1
        yield f"types: {min(changes, len(every))} changes of {name}, {refused} refused with one line"


def _values(bed: Bed, name: str, base: Path) -> Any:
    """The content of the file when it is right."""
    if name == ".fvcli/pending-manifest.json":
        return contents.manifest(base)
    if (base / name).exists():
        return json.loads((base / name).read_bytes())
    bed.fresh(base)
    bed.run("extract", "-o", bed.dataset, "--task", "1/1", "-q")
    return json.loads((bed.dataset / name).read_bytes())


def rot(bed: Bed, rng: random.Random) -> Iterator[str]:
    """A flipped bit in a shard, before an update that rewrites it and before one that takes its contents over."""
    stopped = 0
    for options in ((), ("--format", "npy"), ("--format", "npy", "--dtype", "float16")):
        for change in ("rewritten", "reused"):
            folder = bed.folder / "rot"
            shutil.rmtree(folder, ignore_errors=True)
            photographs, features = pictures.make_folder(folder / "in", range(0, 40, 2)), folder / "features"
            command = ("extract", photographs, "-o", features, "--shard-size", "7", "-q", *options)
            assert bed.run(*command).code == 0
            shard = features / rng.choice(sorted(contents.data_files(features))[:2])
            data = bytearray(shard.read_bytes())
            data[rng.randrange(len(data) // 4, len(data) // 2)] ^= 1 << rng.randrange(8)
            shard.write_bytes(data)
            if change == "rewritten":
                pictures.put(photographs, "0001.png", pictures.picture(1))
            else:
                for number in range(0, 14, 2):
                    shutil.copyfile(photographs / f"{number:04d}.png", photographs / f"z{number}.png")
            done = bed.run(*command)
            stopped += done.code == 4
            assert done.code == 4 or bed.run("verify", features).code == 4, (options, change, done)
            bed.run("repair", features)
            assert bed.run(*command).code == 0
            assert bed.run("verify", features, "-q").code == 0
            assert bed.run("extract", photographs, "-o", folder / "fresh", "-q", *options).code == 0
            assert contents.rows(features) == contents.rows(folder / "fresh"), (options, change)
    yield f"rot: 6 flipped bits, {stopped} updates stopped with exit code 4, none sealed; repaired as a fresh run"


def readers(bed: Bed, seconds: float) -> Iterator[str]:
    """Readers in a loop against updates that replace shards all the time."""
    folder = bed.folder / "readers"
    photographs = pictures.make_folder(folder / "in", range(60))
    features, counts, failed = folder / "features", dict.fromkeys(("report", "export", "neighbors", "verify"), 0), []
    update = ("extract", str(photographs), "-o", str(features), "--shard-size", "7", "-q")
    assert bed.run(*update).code == 0
    until = time.monotonic() + seconds

    def read(name: str, *arguments: str) -> None:
        while time.monotonic() < until:
            done = subprocess.run([FVCLI, name, str(features), *arguments], capture_output=True, text=True)
            counts[name] += 1
            if done.returncode != 0:
                failed.append((name, done.returncode, done.stderr))

    threads = [
        threading.Thread(target=read, args=arguments)
        for arguments in (
            ("report", "-o", str(folder / "report.html"), "-q"),
            ("export", "--as", "projector", "-o", str(folder / "projector"), "-q"),
            ("neighbors", str(bed.query)),
            ("verify", "-q"),
        )
    ]
    for thread in threads:
        thread.start()
    updates = 0
    while time.monotonic() < until:
        later = pictures.SOME_TIME_NS + updates + 1
        pictures.put(photographs, f"{updates * 11 % 60:04d}.png", pictures.picture(1000 + updates), later)
        assert bed.run(*update).code == 0
        updates += 1
    for thread in threads:
        thread.join()
    assert not failed, failed
    told = ", ".join(f"{count} {name}" for name, count in counts.items())
    yield f"readers: {told} against {updates} updates in {seconds:.0f} s, no failures"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--changes", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    rng = random.Random(asked.seed)
    with Forks() as forks, tempfile.TemporaryDirectory(prefix="fvcli-hostile-") as folder:
        bed = Bed(Path(folder), forks)
        for lines in (attacks(bed), types(bed, asked.changes, rng), rot(bed, rng), readers(bed, asked.seconds)):
            for line in lines:
                print(line)
                sys.stdout.flush()


if __name__ == "__main__":
    main()
