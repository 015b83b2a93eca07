"""The real command: in the test's process, started anew or forked, undisturbed or with something happening to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typer.testing import Result

FVCLI = Path(sys.executable).with_name("fvcli")
REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its exit code (negative: the signal that killed it) and what it said."""

    code: int
    said: str


def run(*arguments: str | Path, kill_after: float | None = None, timeout: float = 120) -> Outcome:
    """The installed command, with SIGKILL after so many seconds, should it still be there."""
    child = subprocess.Popen([FVCLI, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        said, _ = child.communicate(timeout=timeout if kill_after is None else kill_after)
    except subprocess.TimeoutExpired:
        child.kill()
        said, _ = child.communicate()
        assert kill_after is not None, f"{arguments} has not ended: {said.decode()}"
    return Outcome(child.returncode, said.decode())


def here(*arguments: str | Path, **environment: str) -> Result:
    """The command in the test's own process, which takes a tenth of the time that starting one does."""
    from typer.testing import CliRunner

    from fvcli.cli import app

    return CliRunner().invoke(app, list(map(str, arguments)), env=environment, prog_name="fvcli")


class Forks:
    """Runs commands forked from one process; see :mod:`tests.proofs.forks`."""

    def __init__(self) -> None:
        self._scratch = tempfile.TemporaryDirectory(prefix="fvcli-forks-")
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.proofs.forks"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )

    def __enter__(self) -> Forks:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait()
        self._scratch.cleanup()

    def run(self, *arguments: str | Path, kill_after: float | None = None) -> Outcome:
        """The command, with SIGKILL after so many seconds, should it still be there."""
        return self._ask("none", "", arguments, kill_after)

    def run_faulty(self, action: str, number: int, *arguments: str | Path) -> Outcome:
        """The command with something happening at its n-th file system call; see :mod:`tests.proofs.faults`."""
        return self._ask(action, str(number), arguments, None)

    def calls_of(self, *arguments: str | Path) -> list[str]:
        """The file system calls that the command makes, in order: "replace", "write", ..."""
        report = Path(self._scratch.name) / "calls"
        done = self._ask("count", str(report), arguments, None)
        assert done.code in (0, 3), done
        return report.read_text("utf-8").split("\n")

    def _ask(self, action: str, number: str, arguments: tuple[str | Path, ...], kill_after: float | None) -> Outcome:
        log = Path(self._scratch.name) / "said"
        log.unlink(missing_ok=True)
        asked = {
            "log": str(log),
            "action": action,
            "number": number,
            "arguments": [str(argument) for argument in arguments],
            "kill_after": kill_after,
        }
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(asked) + "\n")
        self._server.stdin.flush()
        code = int(self._server.stdout.readline())
        return Outcome(code, log.read_text("utf-8", "replace") if log.exists() else "")
