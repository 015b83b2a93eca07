"""Kills the real command again and again, resumes, and compares with runs that nobody disturbed.

``python -m tests.proofs.kills --kills 500 --seed 1`` kills at random: the installed command after a random time,
a forked one likewise, and a forked one just before a random file system call. ``--every-call`` kills once before each
call that a run of each scenario makes (``--writes`` counts every write to a file too), and resumes each time.

After every kill the dataset must be whole as it stands: its manifest the one from before or the one from after, every
file it names there, nothing uncommitted beside them. After the last resume everything must be as if nothing had
happened: the data files byte for byte (where the plan is the same), rows, vectors, failures, counts, nothing left
over, and ``fvcli verify`` content.
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.helpers import commands, contents, pictures
from tests.helpers.commands import Forks, Outcome
from tests.helpers.contents import State

_PICTURES = 60
_SHARD_SIZE = 7


@dataclass(frozen=True)
class Scenario:
    """A command and the dataset it finds. ``other`` is what is asked for instead while the run is unfinished."""

    name: str
    base: str | None
    options: tuple[str, ...] = ()
    other: tuple[str, ...] | None = None


SCENARIOS = (
    Scenario("first run", None),
    Scenario("first run, npy", None, ("--format", "npy", "--dtype", "float16")),
    Scenario("first run, processes", None, ("--processes", "2")),
    Scenario("update", "parquet"),
    Scenario("update, processes", "parquet", ("--processes", "2")),
    Scenario("update, pruned and retried", "parquet", ("--prune", "--retry-failed")),
    Scenario("update, npy, pruned", "npy", ("--format", "npy", "--dtype", "float16", "--prune")),
    Scenario("overwritten as float16", "parquet", ("--overwrite", "--dtype", "float16")),
    Scenario("overwritten as npy", "parquet", ("--overwrite", "--format", "npy")),
    Scenario("only removals", "more", ("--prune",)),
    Scenario("only failures gone", "after", ("--exclude", "broken-*")),
    Scenario("another request in between", None, ("--shard-size", "5"), ("--exclude", "2*.png")),
    Scenario("another update in between", "parquet", ("--prune",), ("--exclude", "2*.png", "--retry-failed")),
)


def make_photographs(folder: Path) -> None:
    """The inputs of the base datasets: some files broken, some contents twice, some in a folder below."""
    pictures.make_folder(folder, range(_PICTURES - 8))
    for number in range(4):
        pictures.put(folder, f"below/{number}.png", pictures.picture(1000 + number))
        pictures.put(folder, f"copy-{number}.png", pictures.picture(number))
    for number in range(3):
        pictures.put(folder, f"broken-{number}.png", pictures.broken(2000 + number))


def change_photographs(folder: Path) -> None:
    """Added, replaced, renamed, deleted, copied; whole ones broken and broken ones mended."""
    for number in range(12):
        pictures.put(folder, f"{number * 5:04d}-new.png", pictures.picture(3000 + number))
    for number in (3, 10, 17, 24, 31, 38):
        pictures.put(folder, f"{number:04d}.png", pictures.picture(4000 + number), pictures.SOME_TIME_NS + 10**9)
    for number in (4, 11, 18, 25, 32, 39):
        (folder / f"{number:04d}.png").rename(folder / f"renamed-{number}.png")
    for number in (5, 12, 13, 26, 33):
        (folder / f"{number:04d}.png").unlink()
    pictures.put(folder, "copy-of-6.png", pictures.picture(6))
    pictures.put(folder, "0007.png", pictures.broken(7), pictures.SOME_TIME_NS + 10**9)
    pictures.put(folder, "broken-0.png", pictures.picture(2000), pictures.SOME_TIME_NS + 10**9)


@dataclass
class Report:
    """The record of a proof: kills by scenario and by how they came, and the stages in which runs died."""

    kills: collections.Counter[str] = field(default_factory=collections.Counter)
    how: collections.Counter[str] = field(default_factory=collections.Counter)
    stages: collections.Counter[str] = field(default_factory=collections.Counter)
    cycles: int = 0
    verified: int = 0

    def lines(self) -> Iterator[str]:
        yield f"{sum(self.kills.values())} kills in {self.cycles} interrupted runs, all as if nothing had happened"
        for title, counter in (("by scenario", self.kills), ("how", self.how), ("found in", self.stages)):
            yield f"{title}: " + ", ".join(f"{name} {count}" for name, count in sorted(counter.items()))
        yield f"fvcli verify clean: {self.verified} times"


class Harness:
    """Photographs, base datasets and the undisturbed results, in a folder of its own."""

    def __init__(self, folder: Path, forks: Forks, seed: int, say: Callable[[str], None]) -> None:
        self.report = Report()
        self._folder = folder
        self._forks = forks
        self._random = random.Random(seed)
        self._say = say
        self._photographs = folder / "photographs"
        self._output = folder / "features"
        self._expected: dict[str, State] = {}
        self._before: dict[str, set[str]] = {}
        self._seconds: dict[str, float] = {}
        self._make_bases()

    def _make_bases(self) -> None:
        make_photographs(self._photographs)
        for name, options in (("parquet", ()), ("npy", ("--format", "npy", "--dtype", "float16"))):
            self._undisturbed(self._folder / f"base-{name}", *options)
        change_photographs(self._photographs)
        self._undisturbed(self._folder / "base-after")
        removed = [pictures.put(self._photographs, f"removed-{n}.png", pictures.picture(5000 + n)) for n in range(20)]
        self._undisturbed(self._folder / "base-more")
        for file in removed:
            file.unlink()

    def _arguments(self, output: Path, *options: str) -> list[str | Path]:
        size = () if "--shard-size" in options else ("--shard-size", str(_SHARD_SIZE))
        return ["extract", self._photographs, "-o", output, "--quiet", *size, *options]

    def _undisturbed(self, output: Path, *options: str) -> None:
        done = self._forks.run(*self._arguments(output, *options))
        assert done.code == 3, done

    def start(self, scenario: Scenario) -> None:
        """A fresh copy of the dataset that the scenario's command finds."""
        shutil.rmtree(self._output, ignore_errors=True)
        if scenario.base is not None:
            shutil.copytree(self._folder / f"base-{scenario.base}", self._output)
        if scenario.name not in self._expected:
            self._before[scenario.name] = _named(self._output)
            started = time.monotonic()
            done = self._forks.run(*self._arguments(self._output, *scenario.options))
            assert done.code in (0, 3), done
            self._seconds[scenario.name] = time.monotonic() - started
            self._expected[scenario.name] = self._finished(scenario)
            self.start(scenario)

    def _finished(self, scenario: Scenario) -> State:
        found = contents.state(self._output)
        if scenario.other is not None:  # another plan cuts shards elsewhere: then rows are compared, not files
            rows = contents.rows(self._output)
            found = State(
                {"/".join(key): repr(row) for key, row in rows.items()},
                found.failed,
                found.discovered,
                found.with_vector,
                found.stale,
            )
        return found

    def random_kills(self, kills: int) -> None:
        """So many kills, a few in each interrupted run, over all scenarios in turn."""
        while sum(self.report.kills.values()) < kills:
            scenario = SCENARIOS[self.report.cycles % len(SCENARIOS)]
            self.start(scenario)
            for number in range(self._random.choice((1, 1, 2, 3))):
                options = scenario.options if scenario.other is None or number % 2 else scenario.other
                how, outcome = self._one(self._seconds[scenario.name], self._arguments(self._output, *options))
                if outcome.code != -9:
                    assert outcome.code in (0, 3), f"{scenario.name}, {how}: {outcome}"
                    break
                self._after_kill(scenario, how)
            self._finish(scenario)

    def _one(self, seconds: float, arguments: list[str | Path]) -> tuple[str, Outcome]:
        """One run that is likely to die."""
        kind = self._random.random()
        if kind < 0.2:
            # Imports take the first part of a process's life; most kills are to come after them.
            return "installed command, random moment", commands.run(
                *arguments, kill_after=self._random.uniform(0.3, 1.0 + 2 * seconds)
            )
        if kind < 0.4:
            moment = self._random.uniform(0, seconds)
            return "forked command, random moment", self._forks.run(*arguments, kill_after=moment)
        call = int(10 ** self._random.uniform(0, 2.9))
        return "before a file system call", self._forks.run_faulty("kill", call, *arguments)

    def every_call(self, writes: bool) -> None:
        """One kill before each call that changes the output, in each scenario."""
        for scenario in SCENARIOS:
            self.start(scenario)
            options = scenario.options if scenario.other is None else scenario.other
            arguments = self._arguments(self._output, *options)
            calls = self._forks.calls_of(*arguments)
            chosen = [number for number, call in enumerate(calls, start=1) if writes or call != "write"]
            self._say(f"{scenario.name}: {len(chosen)} of {len(calls)} calls")
            for number in chosen:
                self.start(scenario)
                outcome = self._forks.run_faulty("kill", number, *arguments)
                assert outcome.code == -9, f"{scenario.name}, call {number}: {outcome}"
                self._after_kill(scenario, f"before {calls[number - 1]}")
                self._finish(scenario)

    def _after_kill(self, scenario: Scenario, how: str) -> None:
        stage = contents.check_moment(self._output) if self._output.exists() else "nothing yet"
        self.report.kills[scenario.name] += 1
        self.report.how[how] += 1
        self.report.stages[stage] += 1
        named = _named(self._output)
        if scenario.other is None and named:
            assert named in (self._before[scenario.name], set(self._expected[scenario.name].files)), (
                f"{scenario.name}, {how}: the manifest is neither the old one nor the new one"
            )
        if named and self._random.random() < 0.3:
            self._verify(f"{scenario.name}, {how}, before the resume")

    def _verify(self, when: str) -> None:
        verdict = self._forks.run("verify", self._output)
        assert verdict.code == 0, f"{when}: {verdict}"
        self.report.verified += 1

    def _finish(self, scenario: Scenario) -> None:
        done = self._forks.run(*self._arguments(self._output, *scenario.options))
        assert done.code in (0, 3), f"{scenario.name}: {done}"
        found, expected = self._finished(scenario), self._expected[scenario.name]
        assert found == expected, f"{scenario.name}: not as if nothing had happened\n{found}\n{expected}"
        self._verify(f"{scenario.name}, at the end")
        left = {file.relative_to(self._output).as_posix() for file in self._output.rglob("*") if file.is_file()}
        left -= {*found.files, *_named(self._output), "manifest.json", ".fvcli/lock"}
        values = contents.manifest(self._output)
        assert values is not None
        left -= {file["file"] for file in values["failures"]}
        assert not left, f"{scenario.name}: left over: {sorted(left)}"
        self.report.cycles += 1
        if self.report.cycles % 50 == 0:
            self._say(f"{sum(self.report.kills.values())} kills, {self.report.cycles} runs, all well")


def _named(output: Path) -> set[str]:
    """The data files that the manifest names."""
    values = contents.manifest(output)
    if values is None:
        return set()
    return {file["file"] for file in contents.named_files(values)} - {file["file"] for file in values["failures"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every-call", action="store_true")
    parser.add_argument("--writes", action="store_true")
    asked = parser.parse_args()

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fvcli-kills-") as folder, Forks() as forks:
        harness = Harness(Path(folder), forks, asked.seed, say)
        if asked.every_call:
            harness.every_call(asked.writes)
        else:
            harness.random_kills(asked.kills)
    for line in harness.report.lines():
        print(line)
    print(f"seed {asked.seed}, {time.monotonic() - started:.0f} s, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
