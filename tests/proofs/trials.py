"""Changed modules in a copy of the checkout, and the tests that notice the change."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.proofs.reach import Reach, recorded, without
from tests.proofs.warm import Warm, only_functions_differ

REPOSITORY = Path(__file__).resolve().parents[2]
SLOW = "slow or ray or browser"  # what ``make check`` leaves out
FAST = ("-m", f"not ({SLOW})")
_HANGS = "--timeout=120"


@dataclass(frozen=True, slots=True)
class Step:
    """One run of pytest. fast: only tests that ``make check`` runs; otherwise only those that it leaves out.

    without: names of tests that have run already.
    """

    fast: bool
    paths: tuple[str, ...]
    without: tuple[str, ...] = ()

    @property
    def arguments(self) -> list[str]:
        """Arguments for pytest."""
        return [*(FAST if self.fast else ("-m", SLOW)), *self.paths]


def room_of(file: str) -> str:
    """The package below fvcli/, or the module's name for those that stand alone."""
    return file.split("/")[1].removesuffix(".py")


def near_of(file: str, named: Iterable[str]) -> tuple[str, ...]:
    """The module's own tests and the named ones, as far as they are there."""
    parts = Path(file).parts[1:]
    own = Path("tests", *parts[:-1], f"test_{parts[-1]}")
    return tuple(str(path) for path in dict.fromkeys((own, *map(Path, named))) if (REPOSITORY / path).exists())


def steps_of(file: str, named: Iterable[str], tests: str, reached: Sequence[str] = ()) -> Iterator[Step]:
    """The runs of pytest for a module: its own tests and the named ones, then its room's; without any, the commands'.

    tests: "folder", "near" without the room's, or "fast" for the fast ones of these alone. reached: have run already.
    """
    parts = Path(file).parts[1:]
    near = near_of(file, named)
    folder = ("tests/" + parts[0],) if (REPOSITORY / "tests" / parts[0]).is_dir() else ()
    if not near:
        near, folder = folder or ("tests/commands",), ()
    for paths in (near, folder) if tests == "folder" else (near,):
        if paths:
            yield Step(True, paths, tuple(reached))
            if tests != "fast":
                yield Step(False, paths)


@dataclass(frozen=True, slots=True)
class Notice:
    """The first test that failed, and whether ``make check`` runs it."""

    by: str
    fast: bool


@dataclass(frozen=True, slots=True)
class Trials:
    """Trials in this checkout, which is the copy. reach: which fast tests run which lines."""

    commit: str
    reach: Reach
    warm: Warm

    def notice(self, file: str, text: str, lines: tuple[int, int], named: Iterable[str], tests: str) -> Notice | None:
        """The first test that fails while ``text`` stands in the file, None if all pass.

        First run the fast tests of the module of which it is not known what they reach, those that reach one of the
        lines (first, last), then those of ``steps_of``. These are left out where tests is "fast" and only functions
        differ.
        """
        path = REPOSITORY / file
        sound = path.read_text("utf-8")
        near = near_of(file, named)
        reached = self.reach.of(file, sound, *lines, near)
        # A module that is a program also runs in processes of its own, of which it is not known what they reach.
        known = reached if "__main__" in sound or not reached else self.reach.known
        reached = [*self.warm.others(near, known), *reached]
        path.write_text(text, "utf-8")
        try:
            tried: Sequence[str] = ()
            if reached and only_functions_differ(sound, text):
                if failed := self.warm.first_failure(path, sound, text, reached):
                    return Notice(failed, True)
                if tests == "fast":
                    return None
                tried = reached
            for step in steps_of(file, named, tests, tried):
                if failed := _first_failure(step):
                    return Notice(failed, step.fast)
            return None
        finally:
            path.write_text(sound, "utf-8")


def _first_failure(step: Step) -> str:
    """The line in which pytest names the test; "" if all pass."""
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "tests.proofs.reach", _HANGS]
    command = [sys.executable, "-m", "pytest", *options, *step.arguments]
    environment = {**os.environ, **without(REPOSITORY.with_name("without.json"), step.without)}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    if done.returncode in (0, 5):  # 5: nothing there to run
        return ""
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return failed[0] if failed else done.stdout[-200:] + done.stderr[-200:]


def in_copy(work: Path, program: str, trials: Callable[[Trials], None]) -> None:
    """Calls ``trials`` in a copy of the last commit below ``work``: starts ``program``, this module, again there."""
    copy = work.resolve() / "fvcli"
    if copy != REPOSITORY:
        _checkout(copy)
        os.chdir(copy)
        environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
        os.execve(sys.executable, [sys.executable, "-m", program, *sys.argv[1:]], environment)
    reach = recorded(copy, FAST)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    warm = Warm(lambda warm: trials(Trials(commit, reach, warm)), copy.with_name("written"))
    code = pytest.main(["-q", "-s", "-p", "no:cacheprovider", _HANGS, *FAST], plugins=[warm])
    sys.exit(0 if code == pytest.ExitCode.OK else int(code))


def _checkout(copy: Path) -> None:
    """A copy of the last commit, with ../shared beside it where this checkout has it."""
    shutil.rmtree(copy, ignore_errors=True)
    copy.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["git", "clone", "--quiet", REPOSITORY, copy], check=True)
    shared = REPOSITORY.parent / "shared"
    if shared.exists() and not copy.with_name("shared").exists():
        copy.with_name("shared").symlink_to(shared)
    # Compiled by content: a file that changes and changes back is never taken for another one of the same second.
    compiled = [sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "checked-hash", "fvcli"]
    subprocess.run(compiled, cwd=copy, check=True)
