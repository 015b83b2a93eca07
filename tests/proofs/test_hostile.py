"""Some of the crafted datasets; ``python -m tests.proofs.hostile`` is the recorded proof."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.helpers.commands import Forks
from tests.proofs import hostile
from tests.proofs.attacks import ATTACKS

pytestmark = pytest.mark.slow

SOME = (
    "pending manifest names {outside}/precious.txt",
    ".fvcli/staging is a link",
    "data is a link",
    "shard is a pipe",
)


def test_crafted_datasets_touch_nothing_outside(memory_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostile, "ATTACKS", {name: ATTACKS[name] for name in SOME})
    monkeypatch.setattr(hostile, "READING", hostile.READING[:3])
    monkeypatch.setattr(hostile, "WRITING", hostile.WRITING[:2])
    with Forks() as forks:
        bed = hostile.Bed(memory_path, forks)
        assert list(hostile.attacks(bed))
        assert len(list(hostile.types(bed, 3, random.Random(1)))) == 5


def test_rotten_shards_are_never_sealed(memory_path: Path) -> None:
    with Forks() as forks:
        (told,) = hostile.rot(hostile.Bed(memory_path, forks), random.Random(2))
    assert "none sealed" in told
