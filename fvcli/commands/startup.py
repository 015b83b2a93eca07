"""Start-up of a command: standard streams that are open, and imports that are fast."""

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
    """Imports numpy and pyarrow without the parts that most commands do not use.

    Where pandas is installed, pyarrow imports it with its first array, which takes longer than all else at start-up.
    Arrow takes memory from the C library, since a pool of its own keeps 25 MB more. numpy's BLAS starts one thread per
    core, and they spin for a while; a command that multiplies ``matrices`` needs them.
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
