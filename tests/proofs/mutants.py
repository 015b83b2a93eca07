"""Puts faults into the code one at a time, and reports which of them the tests notice.

    python -m tests.proofs.mutants [--room dataset] [--only TEXT] [--tests near|folder] [--work FOLDER]

``mutants.toml`` lists the faults: small, realistic mistakes that would hurt. Each is applied to a copy of the checkout,
the tests that belong to the file run until one fails, and the copy is restored. Printed are the survivors and the
noticed faults by room. A fault whose ``why`` says that it changes nothing is listed apart and does not count.

The tests of a file are its own (``tests/ROOM/test_NAME.py``), those that the fault names, and its room's folder unless
``near`` is asked for. Of each the fast ones, which ``make check`` runs, come before those marked slow, ray or browser.
Results go to FOLDER/results.jsonl as they come; faults that are there already are not tried again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
TABLE = Path(__file__).with_name("mutants.toml")
SLOW = "slow or ray or browser"  # what ``make check`` leaves out


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

    def steps(self, tests: str) -> Iterator[Step]:
        """The runs of pytest one after another, the quickest to notice the fault first."""
        return steps_of(self.file, self.tests, tests)


@dataclass(frozen=True, slots=True)
class Step:
    """One run of pytest. fast: only tests that ``make check`` runs; otherwise only those that it leaves out."""

    fast: bool
    paths: tuple[str, ...]

    @property
    def arguments(self) -> list[str]:
        """Arguments for pytest."""
        return ["-m", f"{'not ' if self.fast else ''}({SLOW})", *self.paths]


def steps_of(file: str, named: Iterable[str], tests: str) -> Iterator[Step]:
    """The runs of pytest for a module: its own tests and the named ones, then its room's.

    tests: "folder", or "near" without the room's.
    """
    parts = Path(file).parts[1:]
    own = Path("tests", *parts[:-1], f"test_{parts[-1]}")
    near = tuple(str(path) for path in (own, *map(Path, named)) if (REPOSITORY / path).exists())
    folder = ("tests/" + parts[0],) if (REPOSITORY / "tests" / parts[0]).is_dir() else ()
    if not near:
        near, folder = folder or ("tests",), ()
    for paths in (near, folder) if tests == "folder" else (near,):
        if paths:
            yield from (Step(True, paths), Step(False, paths))


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
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *step.arguments]
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    if done.returncode in (0, 5):  # 5: nothing there to run
        return ""
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return failed[0] if failed else done.stdout[-200:] + done.stderr[-200:]


def checkout(work: Path) -> Path:
    """A copy of the last commit in ``work``, with ../shared beside it where this checkout has it."""
    copy = work / "fvcli"
    shutil.rmtree(copy, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    subprocess.run(["git", "clone", "--quiet", REPOSITORY, copy], check=True)
    shared = REPOSITORY.parent / "shared"
    if shared.exists() and not (work / "shared").exists():
        (work / "shared").symlink_to(shared)
    return copy


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
    options.add_argument("--tests", choices=["near", "folder"], default="folder")
    options.add_argument("--work", type=Path, default=Path("/tmp/fvcli-mutants"))
    given = options.parse_args()
    copy, log = checkout(given.work), given.work / "results.jsonl"
    faults = [fault for fault in read_table() if given.room in (None, fault.room)]
    faults = [fault for fault in faults if given.only in fault.file + fault.what]
    results = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    known = {(result["file"], result["what"]) for result in results}
    for number, fault in enumerate(faults, 1):
        if (fault.file, fault.what) in known:
            continue
        started = time.monotonic()
        file = copy / fault.file
        notice = noticed(file, fault.applied(file.read_text("utf-8")), fault.steps(given.tests), copy)
        result = {
            "room": fault.room,
            "file": fault.file,
            "what": fault.what,
            "by": notice and notice.by,
            "fast": notice is not None and notice.fast,
            "equivalent": fault.equivalent,
        }
        results.append(result)
        with log.open("a") as sink:
            sink.write(json.dumps(result) + "\n")
        told = "SURVIVED" if notice is None else "noticed" if notice.fast else "noticed by a slow test"
        print(
            f"{number}/{len(faults)} {told} in {time.monotonic() - started:.0f} s: {fault.file}: {fault.what}",
            flush=True,
        )
    print(report(results))


if __name__ == "__main__":
    main()
