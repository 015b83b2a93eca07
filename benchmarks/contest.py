"""Processes that are measured: contestants that wait between passes, and whole commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

FVCLI = [sys.executable, "-c", "from fvcli.__main__ import main; main()"]  # as the installed command does


class ContestError(Exception):
    """A contestant did not do what it should."""


@dataclass(frozen=True, slots=True)
class Pass:
    """The cost of one pass over some images: seconds by the clock and of CPU, and the largest process's peak memory."""

    images: int
    seconds: float
    cpu_seconds: float
    peak_mb: float

    @property
    def rate(self) -> float:
        return self.images / self.seconds

    @property
    def cpu(self) -> float:
        """CPU seconds for one image."""
        return self.cpu_seconds / self.images


class Contestant:
    """``processes`` children of one kind, each with every n-th file: they start together, the slowest one counts."""

    def __init__(self, subject: str, files: Sequence[Path], processes: int, *arguments: str) -> None:
        self.name = subject
        command = [sys.executable, "-m", "benchmarks.child", subject, *arguments]
        self._children = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(processes)
        ]
        for number, child in enumerate(self._children):
            self._tell(child, "\0".join(str(file) for file in files[number::processes]))
        for child in self._children:
            if self._hear(child) != "ready":
                raise ContestError(f"{subject} did not start")

    def go(self) -> Pass:
        started = time.perf_counter()
        for child in self._children:
            self._tell(child, "go")
        passes = [Pass(**json.loads(self._hear(child))) for child in self._children]
        return Pass(
            images=sum(each.images for each in passes),
            seconds=time.perf_counter() - started,
            cpu_seconds=sum(each.cpu_seconds for each in passes),
            peak_mb=max(each.peak_mb for each in passes),
        )

    def close(self) -> None:
        for child in self._children:
            with suppress(OSError):
                if child.stdin is not None:
                    child.stdin.close()
            child.wait()

    def _tell(self, child: subprocess.Popen[str], line: str) -> None:
        assert child.stdin is not None
        with suppress(BrokenPipeError):
            child.stdin.write(line + "\n")
            child.stdin.flush()

    def _hear(self, child: subprocess.Popen[str]) -> str:
        assert child.stdout is not None
        line = child.stdout.readline().strip()
        if not line:
            raise ContestError(f"{self.name} ended with exit code {child.wait()}")
        return line


def extract(sources: Path, scratch: Path, *options: str) -> Pass:
    """The real command, from process start to its end, into a fresh folder."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        command = [*FVCLI, "extract", str(sources), "-o", f"{folder}/features", "--json", "--quiet", *options]
        return run(command)


def first_rows(sources: Path, scratch: Path) -> Pass:
    """A Pass from process start until the first shard's file is in place, without CPU and memory."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        data = Path(folder) / "features" / "data"
        started = time.perf_counter()
        child = subprocess.Popen([*FVCLI, "extract", str(sources), "-o", f"{folder}/features", "--quiet"])
        while child.poll() is None and not any(data.glob("part-*.parquet")):
            time.sleep(0.001)
        seconds = time.perf_counter() - started
        if child.wait():
            raise ContestError(f"fvcli extract ended with exit code {child.returncode}")
    return Pass(0, seconds, 0.0, 0.0)


def run(command: Sequence[str]) -> Pass:
    """A command; where its last line is JSON, that tells how many images it ``extracted``."""
    with tempfile.TemporaryFile() as printed:
        started = time.perf_counter()
        child = subprocess.Popen(command, stdout=printed)
        _, status, used = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise ContestError(f"{' '.join(command)} ended with exit code {child.returncode}")
        printed.seek(0)
        last = printed.read().rstrip().rpartition(b"\n")[2]
    images = json.loads(last).get("extracted", 0) if last.startswith(b"{") else 0
    return Pass(images, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
