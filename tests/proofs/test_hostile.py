"""Some of the crafted datasets; ``python -m tests.proofs.hostile`` is the recorded proof."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.helpers.commands import Forks
from tests.proofs import bed, hostile
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
    monkeypatch.setattr(hostile, "READING", bed.READING[:3])
    monkeypatch.setattr(hostile, "WRITING", bed.WRITING[:2])
    with Forks() as forks:
        place = bed.Bed(memory_path, forks)
        assert list(hostile.attacks(place))
        assert len(list(hostile.types(place, 3, random.Random(1)))) == 5
    assert not place.findings


def test_rotten_shards_are_never_sealed(memory_path: Path) -> None:
    with Forks() as forks:
        place = bed.Bed(memory_path, forks)
        (told,) = hostile.rot(place, random.Random(2))
    assert "none sealed" in told
    assert not place.findings
