"""The table of faults fits the code: each can still be put in, and the result is a program."""

from __future__ import annotations

import ast

import pytest

from tests.proofs.mutants import REPOSITORY, Fault, read_table
from tests.proofs.reach import Reach

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
    assert [fault.what for fault in FAULTS if not list(fault.steps("folder"))] == []


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
    assert fault.reached(TEXT, REACH) == ["tests/quick.py::b", "tests/slow.py::a", "tests/one.py::c"]


def test_a_line_that_nothing_is_known_of_has_the_tests_of_the_line_above_within_its_function() -> None:
    assert Fault("fvcli/x.py", "", "2", "3").reached(TEXT, REACH)[0] == "tests/quick.py::b"
    assert Fault("fvcli/x.py", "", "pass", "").reached(TEXT, REACH) == []
    assert Fault("fvcli/y.py", "", "pass", "").reached(TEXT, REACH) == []


def test_the_tests_that_reach_a_fault_run_before_the_others_of_its_file() -> None:
    name = "tests/test_text.py::test_x"
    first, own, slow = Fault("fvcli/text.py", "", "a", "b").steps("near", [name])
    assert (first.paths, first.first, first.fast) == (("tests/test_text.py",), (name,), True)
    assert (own.paths, own.first, own.without) == (("tests/test_text.py",), (), (name,))
    assert slow.fast is False
    assert [step.fast for step in Fault("fvcli/text.py", "", "a", "b").steps("fast", [name])] == [True, True]
