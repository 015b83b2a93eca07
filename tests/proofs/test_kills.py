"""Twenty kills of the command; ``python -m tests.proofs.kills --kills 500`` is the recorded proof."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.commands import Forks
from tests.proofs.kills import SCENARIOS, Harness

pytestmark = pytest.mark.slow


def test_no_kill_leaves_a_trace(memory_path: Path) -> None:
    with Forks() as forks:
        harness = Harness(memory_path, forks, seed=20, say=print)
        harness.random_kills(20)
    assert sum(harness.report.kills.values()) >= 20
    assert len(harness.report.kills) >= min(8, len(SCENARIOS))
