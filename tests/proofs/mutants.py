"""Puts faults into the code one at a time, and reports which of them the tests notice.

    python -m tests.proofs.mutants [--room dataset] [--only TEXT] [--tests fast|near|folder] [--work FOLDER]

``mutants.toml`` lists the faults: small, realistic mistakes that would hurt. Each is applied to a copy of the checkout,
the tests that belong to the file run until one fails, and the copy is restored. Printed are the survivors and the
noticed faults by room. A fault whose ``why`` says that it changes nothing is listed apart and does not count.

First come the fast tests, which ``make check`` runs, that reach the changed lines (see :mod:`tests.proofs.reach`).
Then come the file's own tests (``tests/ROOM/test_NAME.py``), those that the fault names, and its room's folder unless
``near`` is asked for; of each the fast ones before those marked slow, ray or browser. ``fast`` leaves these out.
Results go to FOLDER/results.jsonl as they come. Noticed faults that are there already are not tried again, survivors
only after a commit or with more tests.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.proofs.reach import Reach, choice, recorded
from tests.proofs.warm import pytest_in

REPOSITORY = Path(__file__).resolve().parents[2]
TABLE = Path(__file__).with_name("mutants.toml")
SLOW = "slow or ray or browser"  # what ``make check`` leaves out
FAST = ("-m", f"not ({SLOW})")
_FIRST_TESTS = 20  # that reach the changed lines, before the others that do
_HANGS_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Fault:
    """One mistake: ``old``, which stands in ``file`` exactly once, becomes ``new``.

    what: the mistake in words. tests: files or folders that would notice it, besides the file's own.
    equivalent: why it changes nothing that matters, "" for a fault that must be noticed.
    """

    file: str
    what: str
    old: str
    new: str
    tests: tuple[str, ...] = ()
    equivalent: str = ""

    @property
    def room(self) -> str:
        """The package below fvcli/, or the module's name for those that stand alone."""
        return self.file.split("/")[1].removesuffix(".py")

    def applied(self, text: str) -> str:
        """The file's text with the fault. Raises ValueError where the table no longer fits the code."""
        found = text.count(self.old)
        if found != 1:
            raise ValueError(f"{self.file}: {self.what}: the text stands {found} times, not once: {self.old!r}")
        return text.replace(self.old, self.new)

    def steps(self, tests: str, reached: Sequence[str] = ()) -> Iterator[Step]:
        """The runs of pytest one after another, the quickest to notice the fault first."""
        return steps_of(self.file, self.tests, tests, reached)

    def reached(self, text: str, reach: Reach) -> list[str]:
        """Fast tests that run the lines of the file's text that the fault changes."""
        begin = text.index(self.old) + len(self.old) - len(self.old.lstrip("\n"))
        end = text.index(self.old) + len(self.old.rstrip("\n"))
        return reach.of(self.file, text, text.count("\n", 0, begin), text.count("\n", 0, end))


@dataclass(frozen=True, slots=True)
class Step:
    """One run of pytest. fast: only tests that ``make check`` runs; otherwise only those that it leaves out.

    first: names of the only tests to run, in their order; empty for all. without: names of tests that have run already.
    """

    fast: bool
    paths: tuple[str, ...]
    first: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    @property
    def arguments(self) -> list[str]:
        """Arguments for pytest."""
        return [*(FAST if self.fast else ("-m", SLOW)), *self.paths]


def steps_of(file: str, named: Iterable[str], tests: str, reached: Sequence[str] = ()) -> Iterator[Step]:
    """The runs of pytest for a module: the tests that reach its lines, its own and the named ones, then its room's.

    tests: "folder", "near" without the room's, or "fast" for the fast ones of these alone.
    """
    for some in (tuple(reached[:_FIRST_TESTS]), tuple(reached[_FIRST_TESTS:])):
        there = dict.fromkeys(path for path in (name.split("::")[0] for name in some) if (REPOSITORY / path).exists())
        if there:
            yield Step(True, tuple(there), some)
    parts = Path(file).parts[1:]
    own = Path("tests", *parts[:-1], f"test_{parts[-1]}")
    near = tuple(str(path) for path in (own, *map(Path, named)) if (REPOSITORY / path).exists())
    folder = ("tests/" + parts[0],) if (REPOSITORY / "tests" / parts[0]).is_dir() else ()
    if not near:
        near, folder = folder or ("tests",), ()
    for paths in (near, folder) if tests == "folder" else (near,):
        if paths:
            yield Step(True, paths, without=tuple(reached))
            if tests != "fast":
                yield Step(False, paths)


def read_table(path: Path = TABLE) -> list[Fault]:
    """The faults, in the order of the table."""
    entries = tomllib.loads(path.read_text("utf-8"))["fault"]
    return [Fault(**{**entry, "tests": tuple(entry.get("tests", ()))}) for entry in entries]


@dataclass(frozen=True, slots=True)
class Notice:
    """The first test that failed, and whether ``make check`` runs it."""

    by: str
    fast: bool


def noticed(file: Path, text: str, steps: Iterable[Step], copy: Path) -> Notice | None:
    """The first test that fails on the copy while ``text`` stands in the file, None if all pass."""
    sound = file.read_text("utf-8")
    file.write_text(text, "utf-8")
    try:
        for step in steps:
            failed = _first_failure(step, copy)
            if failed:
                return Notice(failed, step.fast)
        return None
    finally:
        file.write_text(sound, "utf-8")


def _first_failure(step: Step, copy: Path) -> str:
    """The line in which pytest names the test; "" if all pass."""
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "tests.proofs.reach", f"--timeout={_HANGS_SECONDS}"]
    chosen = choice(copy.with_name("chosen.json"), step.first, step.without)
    code, said = pytest_in(copy, [*options, *step.arguments], chosen)
    if code in (0, 5):  # 5: nothing there to run
        return ""
    failed = [line for line in said.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return failed[0] if failed else said[-400:]


def checkout(work: Path) -> Path:
    """A copy of the last commit in ``work``, with ../shared beside it where this checkout has it."""
    copy = work / "fvcli"
    shutil.rmtree(copy, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    subprocess.run(["git", "clone", "--quiet", REPOSITORY, copy], check=True)
    shared = REPOSITORY.parent / "shared"
    if shared.exists() and not (work / "shared").exists():
        (work / "shared").symlink_to(shared)
    # Compiled by content: a file that changes and changes back is never taken for another one of the same second.
    compiled = [sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "checked-hash", "fvcli"]
    subprocess.run(compiled, cwd=copy, check=True)
    return copy


def commit_of(copy: Path) -> str:
    """The commit that was copied, in hexadecimal digits."""
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=copy, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def report(results: list[dict[str, object]]) -> str:
    """Noticed of tried by room, how many of these by fast tests, then the survivors."""
    counted = [result for result in results if not result["equivalent"]]
    tried = Counter(str(result["room"]) for result in counted)
    killed = Counter(str(result["room"]) for result in counted if result["by"])
    soon = Counter(str(result["room"]) for result in counted if result["by"] and result["fast"])
    lines = [f"{room:12} {killed[room]:3} of {tried[room]:3}, {soon[room]:3} by fast tests" for room in sorted(tried)]
    lines.append(f"{'all':12} {killed.total():3} of {tried.total():3}, {soon.total():3} by fast tests")
    lines += [f"survived: {each['file']}: {each['what']}" for each in counted if not each["by"]]
    lines += [
        f"changes nothing: {each['file']}: {each['what']}: {each['equivalent']}"
        for each in results
        if each["equivalent"]
    ]
    return "\n".join(lines)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--room")
    options.add_argument("--only", default="", help="faults whose file or description holds this text")
    options.add_argument("--tests", choices=["fast", "near", "folder"], default="folder")
    options.add_argument("--work", type=Path, default=Path("/tmp/fvcli-mutants"))
    given = options.parse_args()
    copy, log = checkout(given.work), given.work / "results.jsonl"
    reach, commit = recorded(copy, FAST), commit_of(copy)
    faults = [fault for fault in read_table() if given.room in (None, fault.room)]
    faults = [fault for fault in faults if given.only in fault.file + fault.what]
    lines = map(json.loads, log.read_text().splitlines() if log.exists() else ())
    results = {(line["file"], line["what"]): line for line in lines}
    for number, fault in enumerate(faults, 1):
        before = results.get((fault.file, fault.what))
        if before and (before["by"] or (before["commit"], before["tests"]) == (commit, given.tests)):
            continue
        started = time.monotonic()
        file = copy / fault.file
        text = file.read_text("utf-8")
        steps = fault.steps(given.tests, fault.reached(text, reach))
        notice = noticed(file, fault.applied(text), steps, copy)
        result = {
            "room": fault.room,
            "file": fault.file,
            "what": fault.what,
            "by": notice and notice.by,
            "fast": notice is not None and notice.fast,
            "equivalent": fault.equivalent,
            "commit": commit,
            "tests": given.tests,
        }
        results[fault.file, fault.what] = result
        with log.open("a") as sink:
            sink.write(json.dumps(result) + "\n")
        told = "SURVIVED" if notice is None else "noticed" if notice.fast else "noticed by a slow test"
        print(
            f"{number}/{len(faults)} {told} in {time.monotonic() - started:.0f} s: {fault.file}: {fault.what}",
            flush=True,
        )
    print(report(list(results.values())))


if __name__ == "__main__":
    main()
