"""Datasets that somebody crafted or that rotted, under every command.

``python -m tests.proofs.hostile`` makes them and runs the command on each: nothing outside the dataset's folder may
change, nothing in it by a command that only reads, no command may hang, end with an undocumented exit code or say
"unexpected". ``--changes N``: single-field changes per kind of JSON file. ``--seconds N``: how long readers and updates
run against each other.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.helpers import contents, json_changes, pictures
from tests.helpers.commands import FVCLI, Forks
from tests.proofs.attacks import ATTACKS, Attack
from tests.proofs.bed import READING, WRITING, Bed
from tests.proofs.hostile_inputs import explode


def attacks(bed: Bed) -> Iterator[str]:
    """Every attack under every command: a watched tree beside the dataset stays as it is."""
    runs, slowest, which = 0, 0.0, ""
    for name, attack in ATTACKS.items():
        for base in (bed.base, bed.planned):
            with bed.attempt(f"{name} ({base.name})"):
                _attacked(bed, attack, base)
                inside = contents.tree(bed.dataset)
                for words in (*READING, *WRITING):
                    began = time.monotonic()
                    bed.watched(words)
                    runs += 1
                    if (took := time.monotonic() - began) > slowest:
                        slowest, which = took, f"{words[0]} on {name}"
                    if words in READING and contents.tree(bed.dataset) != inside:
                        bed.expect(False, f"{words} changed the dataset")
                        _attacked(bed, attack, base)
                        inside = contents.tree(bed.dataset)
    told = f"the slowest took {slowest:.1f} s ({which})"
    yield f"attacks: {len(ATTACKS)} kinds of crafted datasets, {runs} commands; {told}"


def _attacked(bed: Bed, attack: Attack, base: Path) -> None:
    bed.fresh(base)
    attack(bed.dataset, bed.outside)


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
            with bed.attempt(f"{name} with {change}"):
                done = bed.command(words)
                if done.code == 1:
                    told = [line for line in done.said.split("\n") if line.startswith("fvcli: ")]
                    bed.expect(len(told) == 1, done.said)
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
            with bed.attempt(f"rot: {change} {options}"):
                bed.expect(done.code == 4 or bed.run("verify", features).code == 4, done)
                bed.run("repair", features)
                bed.expect(bed.run(*command).code == 0, "an update after the repair")
                bed.expect(bed.run("verify", features, "-q").code == 0, "verify after the repair")
                assert bed.run("extract", photographs, "-o", folder / "fresh", "-q", *options).code == 0
                bed.expect(contents.rows(features) == contents.rows(folder / "fresh"), "the rows of a fresh run")
    yield f"rot: 6 flipped bits, {stopped} updates stopped with exit code 4, none sealed; repaired as a fresh run"


def readers(bed: Bed, seconds: float) -> Iterator[str]:
    """Readers in a loop against updates that replace shards all the time."""
    folder = bed.folder / "readers"
    photographs = pictures.make_folder(folder / "in", range(60))
    features = folder / "features"
    loops: dict[str, tuple[str, ...]] = {
        "report": ("-o", str(folder / "report.html"), "-q"),
        "export": ("--as", "projector", "-o", str(folder / "projector"), "-q"),
        "neighbors": (str(bed.query),),
        "duplicates": (),
        "inspect": ("--json",),
        "verify": ("-q",),
    }
    counts = dict.fromkeys(loops, 0)
    update = ("extract", str(photographs), "-o", str(features), "--shard-size", "7", "-q")
    assert bed.run(*update).code == 0
    until = time.monotonic() + seconds

    def read(name: str) -> None:
        while time.monotonic() < until:
            command: list[str | Path] = [FVCLI, name, features, *loops[name]]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            counts[name] += 1
            bed.expect(done.returncode == 0, f"readers: {name}: {done.returncode}: {done.stderr}")

    threads = [threading.Thread(target=read, args=(name,)) for name in loops]
    for thread in threads:
        thread.start()
    updates = 0
    while time.monotonic() < until:
        later = pictures.SOME_TIME_NS + updates + 1
        pictures.put(photographs, f"{updates * 11 % 60:04d}.png", pictures.picture(1000 + updates), later)
        bed.expect(bed.run(*update).code == 0, "readers: an update")
        updates += 1
    for thread in threads:
        thread.join()
    told = ", ".join(f"{count} {name}" for name, count in counts.items())
    yield f"readers: {told} against {updates} updates in {seconds:.0f} s"


PARTS = ("attacks", "types", "rot", "bombs", "readers")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=PARTS, help="some parts (default: all)")
    parser.add_argument("--changes", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    rng = random.Random(asked.seed)
    with Forks() as forks, tempfile.TemporaryDirectory(prefix="fvcli-hostile-") as folder:
        bed = Bed(Path(folder), forks)
        parts = {
            "attacks": attacks(bed),
            "types": types(bed, asked.changes, rng),
            "rot": rot(bed, rng),
            "bombs": explode(bed),
            "readers": readers(bed, asked.seconds),
        }
        for name in asked.only or PARTS:
            began = time.monotonic()
            for line in parts[name]:
                print(line, flush=True)
            print(f"{name} took {time.monotonic() - began:.0f} s", flush=True)
        print(f"{len(bed.findings)} findings", flush=True)
    sys.exit(bool(bed.findings))


if __name__ == "__main__":
    main()
