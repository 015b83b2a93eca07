"""Freed memory goes back to the system, however it lies between what is kept; a quota limits the CPUs."""

from __future__ import annotations

import ctypes
import errno
import subprocess
import sys
from pathlib import Path

import pytest

from fvcli import machine

PROGRAM = """
from pathlib import Path
from fvcli.machine import MemoryTrimmer

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

give_back = MemoryTrimmer()
blocks = [bytes(100_000) for _ in range(2000)]
full = resident()
kept = blocks[::50]
del blocks
give_back(2499)
before = resident()
give_back(1)
print(full, before, resident())
"""


def test_memory_between_what_is_kept_is_given_back() -> None:
    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("this C library gives memory back by itself, or not at all")
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    full, before, after = map(float, done.stdout.split())
    assert before > full - 20  # not yet: 2499 images
    assert after < full - 100


@pytest.mark.parametrize(
    ("files", "most"),
    [
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "max 100000"}, 64),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 64),
        ({"cpu.max": "damaged"}, 64),
        ({}, 64),
    ],
)
def test_a_quota_of_the_cgroup_limits_the_cpus(
    files: dict[str, str], most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(64)))
    assert machine.usable_cpus() == most


def test_a_cpu_too_old_for_the_libraries_is_known(tmp_path: Path) -> None:
    """QEMU's core2duo, on which importing NumPy is an illegal instruction."""
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nflags\t\t: fpu sse sse2 pni ssse3 cx16 sse4_1 lahf_lm lm\n\nprocessor\t: 1\n")
    assert machine.missing_instructions(str(file)) == ["popcnt", "sse4_2"]
    file.write_text("processor\t: 0\nFeatures\t: fp asimd\n")  # ARM
    assert machine.missing_instructions(str(file)) == []
    assert machine.missing_instructions() == []


THREADS = "the system starts no more threads or processes; raise the limit (ulimit -u) or use fewer workers (-j 1)"
MEMORY = "not enough memory; raise the limit (ulimit -v), close other programs, or use fewer workers (-j 1)"


@pytest.mark.parametrize(
    ("error", "limited", "said"),
    [
        (RuntimeError("can't start new thread"), False, THREADS),
        (RuntimeError("can't start new thread"), True, MEMORY),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), False, THREADS),
        (MemoryError(), False, MEMORY),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), False, MEMORY),
        (ImportError("libx.so: failed to map segment from shared object"), False, MEMORY),
        (ValueError("malloc of size 64 failed"), False, MEMORY),
        (OSError(errno.ENOSPC, "No space left on device"), False, None),
        (RuntimeError("anything else"), False, None),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_the_system_lacks_is_told(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, limited: bool, said: str | None
) -> None:
    limit = 10**9 if limited else machine.resource.RLIM_INFINITY
    monkeypatch.setattr(machine.resource, "getrlimit", lambda kind: (limit, limit))
    assert machine.shortage(error) == said


def test_the_end_of_a_process_in_words() -> None:
    assert [machine.ended_by(code) for code in (0, 3, -9, -11, -60)] == [
        "with exit code 0", "with exit code 3", "by SIGKILL", "by SIGSEGV", "by signal 60",
    ]  # fmt: skip


def test_versions_and_cpu_stand_behind_a_short_name_that_changes_with_each() -> None:
    values = machine.environment()
    assert values["cpu"]
    assert set(machine.decoders()) <= set(values) | {"simplejpeg", "imagecodecs", "tifffile", "pillow-jxl-plugin"}
    names = {machine.environment_id({**values, name: "another"}) for name in values} | {machine.environment_id(values)}
    assert len(names) == len(values) + 1
    assert all(len(name) == 12 for name in names)
    assert machine.environment_id(dict(reversed(values.items()))) == machine.environment_id(values)
    assert machine._version("no-such-package-at-all") == "none"
