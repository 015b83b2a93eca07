"""The table of faults fits the code: each can still be put in, and the result is a program."""

from __future__ import annotations

import ast

import pytest

from tests.proofs.mutants import REPOSITORY, Fault, read_table

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
