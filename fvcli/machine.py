"""This machine: CPUs that this process may use, library versions, memory returned to the system, processes, stderr."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import math
import os
import platform
import re
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO

from fvcli import __version__

_CGROUP = Path("/sys/fs/cgroup")
_DECODERS = ("pillow", "simplejpeg", "pi-heif", "pillow-jxl-plugin", "tifffile", "imagecodecs")
_LIBRARIES = ("ai-edge-litert", "cykooz-resizer", "numpy", "pi-heif", "pillow", "pyarrow", "simplejpeg")
#: Images between two calls of malloc_trim: freed memory has to be taken again, so a call per row group costs 1 %.
_TRIM_EVERY = 2500
#: Parameters of glibc's mallopt (malloc.h) and their values: M_TRIM_THRESHOLD and M_MMAP_THRESHOLD in bytes, and
#: M_ARENA_MAX. Each heap costs some 10 MB.
_KEEPING = ((-1, 32 * 1024**2), (-3, 16 * 1024**2), (-8, 2))
_RETURNING = ((-1, 8 * 1024**2), (-3, 4 * 1024**2), (-8, 2))
_one_at_a_time = threading.Lock()


def usable_cpus() -> int:
    """CPUs that affinity and the cgroup's quota allow, at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota()
    return allowed if math.isinf(quota) else max(1, min(allowed, math.ceil(quota)))


def _quota() -> float:
    """The cgroup's CPU quota in CPUs (v2 cpu.max, else v1 cfs files); infinite where there is none."""
    try:
        quota, period = (_CGROUP / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (_CGROUP / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (_CGROUP / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return math.inf
    try:
        return int(quota) / int(period) if int(quota) > 0 else math.inf
    except (ValueError, ZeroDivisionError):  # "max": no limit
        return math.inf


def environment() -> dict[str, str]:
    """Versions by package name ("none" of what has no build for this machine), and "cpu", "python" and "platform"."""
    libraries = {name: _version(name) for name in _LIBRARIES}
    return {
        "fvcli": __version__,
        "python": platform.python_version(),
        **libraries,
        "cpu": cpu_name(),
        "platform": f"{platform.system()} {platform.machine()}",
    }


@cache
def decoders() -> dict[str, str]:
    """Versions by package name of the libraries that read images, "none" of those that are not installed."""
    return {name: _version(name) for name in ("fvcli", *_DECODERS)}


def environment_id(values: Mapping[str, str]) -> str:
    """Twelve hexadecimal digits that stand for a set of versions and a CPU."""
    return hashlib.sha256(json.dumps(dict(values), sort_keys=True).encode()).hexdigest()[:12]


def _version(name: str) -> str:
    from importlib import metadata  # a tenth of what a worker process, which asks for no version, would import

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "none"


def shortage(error: BaseException) -> str | None:
    """A message on what the system lacks and what to do, if that caused an error of Python or a library; else None."""
    text = str(error)
    number = error.errno if isinstance(error, OSError) else None
    no_more = "can't start new thread" in text or number == errno.EAGAIN
    if no_more and resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY:
        return "the system starts no more threads or processes; raise the limit (ulimit -u) or use fewer workers (-j 1)"
    memory = ("failed to map segment", "Cannot allocate memory", "cannot allocate memory", "malloc of size")
    if no_more or isinstance(error, MemoryError) or number == errno.ENOMEM or any(word in text for word in memory):
        return "not enough memory; raise the limit (ulimit -v), close other programs, or use fewer workers (-j 1)"
    return None


#: Instructions that NumPy, pyarrow and LiteRT use without asking (x86-64-v2), as Linux calls them.
_NEEDED = ("cx16", "lahf_lm", "popcnt", "pni", "ssse3", "sse4_1", "sse4_2")


def missing_instructions(cpuinfo: str = "/proc/cpuinfo") -> list[str]:
    """Instructions that the libraries need and this CPU lacks; none where Linux does not tell.

    The first import of a library would end the process by an illegal instruction.
    """
    try:
        with open(cpuinfo, encoding="utf-8", errors="replace") as file:
            told = next(line for line in file if line.startswith("flags"))
    except (OSError, StopIteration):
        return []
    return sorted(set(_NEEDED).difference(told.split()))


def cpu_name() -> str:
    """The CPU's model name, family, model and stepping where Linux tells them, else the architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").split("\n\n", 1)[0].splitlines()
    except OSError:
        return platform.machine()
    values = dict(line.replace("\t", "").split(":", 1) for line in lines if ":" in line)
    named = [values.get(name, "").strip() for name in ("model name", "cpu family", "model", "stepping")]
    return " / ".join(value for value in named if value) or platform.machine()


def tune_malloc(*, keep: bool) -> None:
    """Sets glibc's malloc to have two heaps, not one per thread, and to ``keep`` large blocks that are freed, or not.

    If blocks of an image or a row group were returned, the next one would take its pages from the kernel anew. Only
    for processes of fvcli's own, before they have threads: it concerns all of a process.
    """
    set_malloc(_KEEPING if keep else _RETURNING)


def set_malloc(settings: Sequence[tuple[int, int]]) -> None:
    """Sets parameters of glibc's mallopt, by their numbers in malloc.h, for all of this process."""
    with suppress(OSError, AttributeError):  # another C library
        for parameter, value in settings:
            ctypes.CDLL(None).mallopt(parameter, value)


class MemoryTrimmer:
    """Calls malloc_trim every few thousand images to return freed memory to the system.

    glibc keeps memory that threads free between blocks that are still in use, so a long run would grow without it.
    Does nothing where the C library has no malloc_trim.
    """

    def __init__(self) -> None:
        self._images = 0
        self._trim: Callable[[ctypes.c_size_t], object] | None = None
        with suppress(OSError, AttributeError):
            self._trim = ctypes.CDLL(None).malloc_trim

    def __call__(self, images: int) -> None:
        self._images += images
        if self._images >= _TRIM_EVERY:
            self._images = 0
            self.now()

    def now(self) -> None:
        """Returns all that is free."""
        if self._trim is not None:
            self._trim(ctypes.c_size_t(0))


def start_module(
    module: str, stdout: int, descriptors: Sequence[int] = (), variables: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """``module`` as a process of its own, whose end the run survives. It reads its orders from stdin.

    stdout: subprocess.PIPE or DEVNULL. descriptors: open files that the process gets besides, under the same numbers.
    variables: of the environment, besides this process's own. Raises OSError.
    """
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module],  # -P: nothing is imported from the user's folder
        stdin=subprocess.PIPE,
        stdout=stdout,
        stderr=subprocess.DEVNULL,
        pass_fds=descriptors,
        env={**os.environ, **(variables or {})},
        start_new_session=True,  # Ctrl-C is for the run, and must not look as if the process had ended by itself
    )


def ended_by(code: int) -> str:
    """The end of a process, in words, from its return code (negative: the signal that ended it)."""
    return f"by {signal_name(-code)}" if code < 0 else f"with exit code {code}"


def signal_name(number: int) -> str:
    """SIGKILL, or "signal 35" for one without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@contextmanager
def stderr_without(lines: re.Pattern[bytes]) -> Iterator[None]:
    """A context in which stderr is captured; afterwards, all but the matching ``lines`` are written. One at a time.

    Libraries write to file descriptor 2 from C++, before any setting of theirs takes effect. So the descriptor is
    redirected.
    """
    with _one_at_a_time:
        try:
            sys.stderr.flush()
            terminal = os.dup(2)
        except (OSError, ValueError, AttributeError):  # there is no stderr
            yield
            return
        with _memory_file() as caught:
            os.dup2(caught.fileno(), 2)
            try:
                yield
            finally:
                sys.stderr.flush()
                os.dup2(terminal, 2)
                os.close(terminal)
                caught.seek(0)
                for line in caught:
                    if not lines.search(line):
                        os.write(2, line)


def _memory_file() -> IO[bytes]:
    """An in-memory file where the system has such: a full disk must not prevent a start."""
    if sys.platform == "linux":
        return open(os.memfd_create("stderr"), "w+b")
    import tempfile  # its import takes longer than all else here

    return tempfile.TemporaryFile()
