"""The table of faults fits the code: each can still be put in, and the result is a program."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from tests.proofs.mutants import Fault, read_table
from tests.proofs.reach import Reach
from tests.proofs.trials import REPOSITORY, steps_of
from tests.proofs.warm import loaded_functions, only_functions_differ, replace_code

FAULTS = read_table()


@pytest.mark.parametrize("file", sorted({fault.file for fault in FAULTS}))
def test_every_fault_can_be_put_in(file: str) -> None:
    text = (REPOSITORY / file).read_text("utf-8")
    for fault in FAULTS:
        if fault.file == file:
            assert fault.new != fault.old
            ast.parse(fault.applied(text))


def test_each_fault_is_there_once_and_its_tests_exist() -> None:
    assert len({(fault.file, fault.what) for fault in FAULTS}) == len(FAULTS)
    assert len({(fault.file, fault.old, fault.new) for fault in FAULTS}) == len(FAULTS)
    missing = {test for fault in FAULTS for test in fault.tests if not (REPOSITORY / test).exists()}
    assert not missing
    assert [fault.what for fault in FAULTS if not list(steps_of(fault.file, fault.tests, "folder"))] == []


def test_a_fault_that_no_longer_fits_is_told() -> None:
    fault = Fault("fvcli/files.py", "flushing stops at the kernel", "flush", "")
    with pytest.raises(ValueError, match="flushing stops at the kernel: the text stands 0 times, not once"):
        fault.applied("def close(): ...")
    with pytest.raises(ValueError, match="stands 2 times"):
        fault.applied("flush, flush")


REACH = Reach(
    [("tests/slow.py::a", 9.0), ("tests/quick.py::b", 0.1), ("tests/one.py::c", 0.2)],
    {"fvcli/x.py": {"number = 1": [0, 1, 2], "return number": [0, 1], "def f():": [0]}},
)
TEXT = "def f():\n    number = 1\n    (\n    2)\n    return number\n\ndef g():\n    pass\n"


def test_tests_that_reach_most_of_the_changed_lines_come_first_the_quickest_before_others() -> None:
    fault = Fault("fvcli/x.py", "", "\n    number = 1\n    (\n    2)\n    return", "")
    assert REACH.of(fault.file, TEXT, *fault.lines(TEXT)) == [
        "tests/quick.py::b",
        "tests/slow.py::a",
        "tests/one.py::c",
    ]


def test_a_line_that_nothing_is_known_of_has_the_tests_of_the_line_above_within_its_function() -> None:
    def reached(old: str) -> list[str]:
        return REACH.of("fvcli/x.py", TEXT, *Fault("fvcli/x.py", "", old, "").lines(TEXT))

    assert reached("2")[0] == "tests/quick.py::b"
    assert reached("pass") == []
    assert REACH.of("fvcli/y.py", TEXT, 1, 1) == []


def test_the_tests_of_a_file_run_without_those_that_have_run() -> None:
    own, slow = steps_of("fvcli/text.py", [], "near", ["tests/test_text.py::test_x"])
    assert (own.paths, own.without, own.fast) == (("tests/test_text.py",), ("tests/test_text.py::test_x",), True)
    assert slow.fast is False
    assert [step.fast for step in steps_of("fvcli/text.py", [], "fast")] == [True]


MODULE = """
import functools
LIMIT = 3
def plain(a, b=1): return a + b
@functools.lru_cache
def kept(a): return [a for _ in range(2)]
class Shown:
    @property
    def value(self): return LIMIT
    @staticmethod
    def made(): return (lambda: 1)()
"""


@pytest.mark.parametrize(
    ("old", "new", "functions_only"),
    [
        ("a + b", "a - b", True),
        ("range(2)", "range(3)", True),
        ("return LIMIT", "return LIMIT + 1", True),
        ("lambda: 1", "lambda: 2", True),
        ("b=1", "b=2", False),
        ("LIMIT = 3", "LIMIT = 4", False),
        ("@property", "@functools.cached_property", False),
    ],
)
def test_a_fault_in_functions_is_put_into_the_loaded_module(
    tmp_path: Path, old: str, new: str, functions_only: bool
) -> None:
    text = MODULE.replace(old, new)
    assert only_functions_differ(MODULE, text) is functions_only
    file = tmp_path / "module.py"
    loaded: dict[str, Any] = {}
    exec(compile(MODULE, str(file), "exec"), loaded)

    def results() -> list[object]:
        return [loaded["plain"](5), loaded["kept"](7), loaded["Shown"]().value, loaded["Shown"].made()]

    assert results() == [6, [7, 7], 3, 1]
    loaded["kept"].cache_clear()
    replace_code(loaded_functions()[str(file)], file, text)
    fresh: dict[str, Any] = {}
    exec(compile(text, "", "exec"), fresh)
    wanted = [fresh["plain"](5), fresh["kept"](7), fresh["Shown"]().value, fresh["Shown"].made()]
    assert (results() == wanted) or not functions_only
