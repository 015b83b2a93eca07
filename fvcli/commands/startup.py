"""What comes before a command: standard streams that can be relied on, and nothing imported that takes long."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType


def open_standard_streams() -> None:
    """Gives a process that was started with a standard stream closed (``>&-``) the null device in its place.

    Otherwise the next file that is opened takes the stream's number, and what a library prints ends up in it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False))


def leave_pandas_out() -> None:
    """Makes pyarrow do without pandas in this process.

    Where pandas is installed, pyarrow imports it with its first array, which takes longer than all else at start-up;
    no command has a use for it. And Arrow is to take memory from the C library: a pool of its own keeps 25 MB more.
    Only for the command line: a program that uses fvcli as a library may want ``Table.to_pandas`` and its own pool.
    """
    if "pandas" in sys.modules or "pyarrow" in sys.modules:
        return
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    absence = _Absent()
    sys.meta_path.insert(0, absence)
    try:
        import pyarrow

        pyarrow.array([0])
    finally:
        sys.meta_path.remove(absence)


class _Absent(MetaPathFinder):
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError("left out")
