"""What keeps the time to the first image short."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType


def leave_pandas_out() -> None:
    """Makes pyarrow do without pandas in this process.

    Where pandas is installed, pyarrow imports it with its first array, which takes longer than all else at start-up;
    no command has a use for it. Only for the command line: a program that uses fvcli as a library may want
    ``Table.to_pandas``.
    """
    if "pandas" in sys.modules or "pyarrow" in sys.modules:
        return
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
