"""A folder with a dataset to attack, things beside it to aim at, and the commands that meet it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.helpers import contents, pictures
from tests.helpers.commands import Forks, Outcome
from tests.proofs.attacks import OUTSIDE

LIMIT_SECONDS = 60.0
READING = (
    ("inspect", "{dataset}"),
    ("inspect", "{dataset}", "--json"),
    ("verify", "{dataset}"),
    ("verify", "{dataset}", "--recompute", "2"),
    ("neighbors", "{dataset}", "{photographs}/0001.png"),
    ("neighbors", "{dataset}", "{query}"),
    ("duplicates", "{dataset}"),
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
ALARMING = ("Traceback", "unexpected", "a bug")


class Bed:
    """A folder with photographs, a dataset of them, an unfinished plan of an update, and things outside to aim at.

    findings: one line per promise that did not hold.
    """

    def __init__(self, folder: Path, forks: Forks) -> None:
        self.folder = folder
        self.forks = forks
        self.findings: list[str] = []
        self._attempt = ""
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

    @contextmanager
    def attempt(self, name: str) -> Iterator[None]:
        """The name of what is tried in the block, for the findings."""
        self._attempt = name
        yield
        self._attempt = ""

    def expect(self, holds: bool, what: object) -> None:
        """Notes and prints a finding where something does not hold."""
        if not holds:
            self.findings.append(f"{self._attempt}: {what}")
            print(f"FOUND: {self.findings[-1]}", flush=True)

    def fresh(self, base: Path) -> None:
        """Puts a dataset in place."""
        shutil.rmtree(self.dataset, ignore_errors=True)
        shutil.copytree(base, self.dataset)
        shutil.rmtree(self.folder / "out", ignore_errors=True)
        (self.folder / "out").mkdir()

    def run(self, *arguments: str | Path) -> Outcome:
        """A command that must end in time, with a documented exit code and one of fvcli's own messages."""
        done = self.forks.run(*arguments, kill_after=LIMIT_SECONDS)
        words = " ".join(map(str, arguments))
        self.expect(done.code in EXITS, f"{words}: exit code {done.code}: {done.said[-500:]}")
        self.expect(not any(word in done.said for word in ALARMING), f"{words}: {done.said[-1500:]}")
        return done

    def command(self, words: tuple[str, ...]) -> Outcome:
        """A command of READING or WRITING, with the places of this folder."""
        names = {
            "dataset": self.dataset,
            "photographs": self.photographs,
            "query": self.query,
            "folder": self.folder,
        }
        return self.run(*(word.format(**names) for word in words))

    def watched(self, words: tuple[str, ...]) -> Outcome:
        """A command beside which nothing may change."""
        places = (self.outside, self.photographs)
        before = [contents.tree(place).items() for place in places]
        done = self.command(words)
        after = [contents.tree(place).items() for place in places]
        changed = [sorted(dict(old ^ new)) for old, new in zip(before, after, strict=True) if old != new]
        self.expect(not changed, f"{words}: changed {changed}")
        return done
