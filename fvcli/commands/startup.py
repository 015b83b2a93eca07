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


def import_lean(*, matrices: bool = False) -> None:
    """Imports numpy and pyarrow without what most commands have no use for.

    Where pandas is installed, pyarrow imports it with its first array, which takes longer than all else at start-up.
    Arrow is to take memory from the C library: a pool of its own keeps 25 MB more. And numpy's BLAS starts a thread a
    core, which spin for a while (0.1 s of CPU on two cores); a command that multiplies ``matrices`` wants them.
    Only for the command line: a program that uses fvcli as a library may want all of these.
    """
    if "pandas" in sys.modules or "pyarrow" in sys.modules:
        return
    if not matrices:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
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
