"""Runs the tests twice, in their own order and in another, and reports whatever differs or is left behind.

    python -m tests.proofs.repetition [--seed 1] [--processes 2] [PATH ...]

Each run has a temporary folder of its own and a mark in its environment, which all processes that it starts inherit.
Reported are tests whose outcomes differ, files in the temporary folder and in /dev/shm, and processes with the mark,
once pytest has ended. Exit code 1 if there is anything to report.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from tests.helpers.processes import command_line, environment_of

REPOSITORY = Path(__file__).resolve().parents[2]
_MARK = "FVCLI_TEST_RUN"
_SHARED_MEMORY = Path("/dev/shm")
_GRACE_SECONDS = 10  # for processes that have been told to end
#: What other software keeps on purpose: Chromium its caches, Ray its sessions, ONNX Runtime a number.
_FOREIGN = ("ray", ".ses", ".org.chromium.", "org.chromium.", ".com.google.Chrome.", "pytest-of-")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run. results: by test, "passed", "failed", "error" or "skipped". left: what it left behind, in words."""

    results: dict[str, str]
    left: tuple[str, ...]


def run(paths: Sequence[str], processes: int, seed: int | None) -> Outcome:
    """The tests in a temporary folder that is removed afterwards. seed: the order, None for their own."""
    mark = uuid.uuid4().hex
    before = _names(_SHARED_MEMORY)
    place = Path(tempfile.mkdtemp(prefix="fv-", dir="/tmp"))  # a short path: Ray keeps sockets there
    place.chmod(0o755)  # some tests look at it as another user
    try:
        temporary = place / "tmp"
        temporary.mkdir()
        order = [] if seed is None else ["--shuffle", str(seed)]
        command = [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", str(processes)),
            *("--no-loadscope-reorder", f"--junit-xml={place / 'results.xml'}", *order, *paths),
        ]
        environment = {**os.environ, "TMPDIR": str(temporary), _MARK: mark}
        subprocess.run(command, cwd=REPOSITORY, env=environment, stdout=subprocess.DEVNULL, check=False)
        left = [f"process {process}: {line}" for process, line in _processes(mark)]
        left += [f"temporary file: {name}" for name in sorted(_own(_names(temporary)))]
        left += [f"shared memory: {name}" for name in sorted(_own(_names(_SHARED_MEMORY) - before))]
        return Outcome(_results(place / "results.xml"), tuple(left))
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _names(folder: Path) -> set[str]:
    return set(os.listdir(folder)) if folder.is_dir() else set()


def _own(names: set[str]) -> set[str]:
    return {name for name in names if not name.startswith(_FOREIGN)}


def _processes(mark: str) -> list[tuple[int, str]]:
    """Processes with the mark, as (process, command line), after time to end."""
    deadline = time.monotonic() + _GRACE_SECONDS
    while found := _marked(mark):
        if time.monotonic() > deadline:
            break
        time.sleep(0.2)
    return found


def _marked(mark: str) -> list[tuple[int, str]]:
    sign = f"{_MARK}={mark}".encode()
    marked = (each for each in map(int, filter(str.isdigit, os.listdir("/proc"))) if sign in environment_of(each))
    return [(each, command_line(each).replace(b"\0", b" ").decode(errors="replace")) for each in marked]


def _results(file: Path) -> dict[str, str]:
    found = {}
    for case in ElementTree.parse(file).iter("testcase"):
        kinds = {child.tag for child in case}
        kind = next((kind for kind in ("error", "failure", "skipped") if kind in kinds), "passed")
        found[f"{case.get('classname')}::{case.get('name')}"] = kind
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--processes", type=int, default=2)
    options.add_argument("paths", nargs="*", default=["tests"])
    given = options.parse_args()
    first = run(given.paths, given.processes, None)
    second = run(given.paths, given.processes, given.seed)
    told = [f"{test}: {result}" for test, result in first.results.items() if result in ("error", "failure")]
    told += [
        f"{test}: {first.results.get(test)} in its own order, {second.results.get(test)} in another"
        for test in sorted({*first.results, *second.results})
        if first.results.get(test) != second.results.get(test)
    ]
    told += [f"left behind: {each}" for each in dict.fromkeys(first.left + second.left)]
    print(f"{' '.join(given.paths)}: {len(first.results)} tests twice, {len(told)} findings")
    for line in told:
        print(" ", line)
    sys.exit(1 if told else 0)


if __name__ == "__main__":
    main()
