"""A fixture for all tests of training."""

from __future__ import annotations

import sys

import pytest


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Of torch: its threads wait for one another in a loop, which takes long where tests run side by side."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
