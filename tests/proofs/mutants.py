"""Puts faults into the code one at a time, and reports which of them the tests notice.

    python -m tests.proofs.mutants [--room dataset] [--only TEXT] [--tests fast|folder|all] [--work FOLDER]

``mutants.toml`` lists the faults: small, realistic mistakes that would hurt. Each is applied to a copy of the checkout,
the tests that belong to the file run until one fails, and the copy is restored. Printed are the survivors and the
noticed faults by room. A fault whose ``why`` says that it changes nothing is listed apart and does not count.

The tests of a file are, in order: its own (``tests/ROOM/test_NAME.py``), those that the fault names, its room's folder.
``fast`` leaves out tests marked slow, ray or browser, as ``make check`` does; ``all`` ends with the whole suite.
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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
TABLE = Path(__file__).with_name("mutants.toml")
_SECONDS = 600  # for the tests of one step; a suite that hangs has noticed the fault


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

    def steps(self, tests: str) -> Iterator[list[str]]:
        """Arguments for pytest, step after step, the quickest to notice it first."""
        quick = ["-m", "not slow and not ray and not browser"] if tests == "fast" else []
        parts = Path(self.file).parts[1:]
        own = Path("tests", *parts[:-1], f"test_{parts[-1]}")
        named = [str(path) for path in (own, *map(Path, self.tests)) if (REPOSITORY / path).exists()]
        if named:
            yield [*quick, *named]
        folder = Path("tests", parts[0])
        if (REPOSITORY / folder).is_dir():
            yield [*quick, str(folder)]
        if tests == "all" or (tests == "fast" and not named):
            yield [*quick, "tests"]


def read_table(path: Path = TABLE) -> list[Fault]:
    """The faults, in the order of the table."""
    entries = tomllib.loads(path.read_text("utf-8"))["fault"]
    return [Fault(**{**entry, "tests": tuple(entry.get("tests", ()))}) for entry in entries]


def noticed(fault: Fault, copy: Path, tests: str) -> str | None:
    """The first test that fails on the copy with the fault, None if all pass."""
    file = copy / fault.file
    sound = file.read_text("utf-8")
    file.write_text(fault.applied(sound), "utf-8")
    try:
        for arguments in fault.steps(tests):
            command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *arguments]
            environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
            try:
                done = subprocess.run(
                    command, cwd=copy, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False
                )
            except subprocess.TimeoutExpired:
                return f"no end within {_SECONDS} s"
            if done.returncode not in (0, 5):  # 5: nothing there to run
                failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
                return failed[0] if failed else done.stdout[-200:] + done.stderr[-200:]
        return None
    finally:
        file.write_text(sound, "utf-8")


def report(results: list[dict[str, object]]) -> str:
    """Noticed of tried by room, then the survivors."""
    counted = [result for result in results if not result["equivalent"]]
    tried = Counter(str(result["room"]) for result in counted)
    killed = Counter(str(result["room"]) for result in counted if result["by"])
    lines = [f"{room:12} {killed[room]:3} of {tried[room]:3}" for room in sorted(tried)]
    lines.append(f"{'all':12} {killed.total():3} of {tried.total():3}")
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
    options.add_argument("--tests", choices=["fast", "folder", "all"], default="folder")
    options.add_argument("--work", type=Path, default=Path("/tmp/fvcli-mutants"))
    given = options.parse_args()
    copy, log = given.work / "fvcli", given.work / "results.jsonl"
    shutil.rmtree(copy, ignore_errors=True)
    given.work.mkdir(parents=True, exist_ok=True)
    subprocess.run(["git", "clone", "--quiet", REPOSITORY, copy], check=True)
    shared = REPOSITORY.parent / "shared"
    if shared.exists() and not (given.work / "shared").exists():
        (given.work / "shared").symlink_to(shared)
    faults = [fault for fault in read_table() if given.room in (None, fault.room)]
    faults = [fault for fault in faults if given.only in fault.file + fault.what]
    results = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    known = {(result["file"], result["what"]) for result in results}
    for number, fault in enumerate(faults, 1):
        if (fault.file, fault.what) in known:
            continue
        started = time.monotonic()
        by = noticed(fault, copy, given.tests)
        result = {"room": fault.room, "file": fault.file, "what": fault.what, "by": by, "equivalent": fault.equivalent}
        results.append(result)
        with log.open("a") as sink:
            sink.write(json.dumps(result) + "\n")
        seconds = time.monotonic() - started
        print(
            f"{number}/{len(faults)} {'noticed' if by else 'SURVIVED'} in {seconds:.0f} s: {fault.file}: {fault.what}",
            flush=True,
        )
    print(report(results))


if __name__ == "__main__":
    main()
