"""The scale promises, on fewer files: what is written and how much is computed do not depend on their number."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import contents
from tests.helpers.in_process import Bench
from tests.proofs import at_scale
from tests.proofs.at_scale import Changes

pytestmark = pytest.mark.slow


def test_nothing_new_writes_nothing_but_the_history(memory_path: Path) -> None:
    photographs, features = memory_path / "photographs", memory_path / "features"
    at_scale.prepare(photographs, features, 300, "--shard-size", "100")
    assert at_scale.repeat(photographs, features).written == {"manifest.json", ".fvcli/lock"}


def test_an_update_costs_as_many_inferences_as_there_are_new_contents(bench: Bench) -> None:
    changes = Changes(files=1200, added=120, replaced=12, renamed=12, deleted=12)
    bench.photographs.rmdir()
    at_scale.make_distinct(bench.photographs, changes.files)
    assert bench.extract(shard_size=100, batch_size=8) == 1200
    changes.apply(bench.photographs)

    assert bench.extract(shard_size=100, batch_size=8, prune=True) == 132

    assert bench.counts() == {
        "discovered": 1308,
        "extracted": 132,
        "reused": 1176,
        "failed": 0,
        "stale": 0,
        "elsewhere": 0,
        "pruned": 24,
        "rows": 1308,
    }
    fresh = bench.features.with_name("fresh")
    bench.extract(output=fresh)
    assert contents.rows(bench.features) == contents.rows(fresh)
    assert bench.damages() == []
