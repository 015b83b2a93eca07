"""After a run died: which of the inputs it had in hand are to blame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fvcli.dataset import failures, layout
from fvcli.dataset import plan as plan_file
from fvcli.dataset.failures import FailureLine
from fvcli.dataset.manifest import Manifest
from fvcli.dataset.plan import Plan
from fvcli.dataset.store import Store
from fvcli.records import Failure, ImageRef
from fvcli.run import in_work
from fvcli.run.isolation import Trial, crashes


def find_crashing(
    store: Store, frozen: Plan | None, trial: Trial, records: Sequence[str], memory: str = layout.CRASHED
) -> Mapping[ImageRef, Failure]:
    """Tries what was in work when a run died, each input in a process of its own, and remembers which crash.

    records: keys of what was noted as in work. memory: key of what is known to crash; all of it is returned, until the
    run that reports it among its failures has ended.
    """
    known = {line.ref: line.failure for line in failures.read(store, memory)}
    places = {place for key in records for place in in_work.suspects(store, key)}
    refs = []
    for index in sorted({shard for shard, _ in places}):
        if frozen is None or index >= len(frozen.shards):
            continue
        entries = plan_file.read_entries(store, frozen.shards[index])
        refs += [
            entries[position].ref for shard, position in sorted(places) if shard == index and position < len(entries)
        ]
    found = crashes([ref for ref in refs if ref not in known], trial)
    if found:
        known |= found
        store.replace(memory, failures.to_bytes(FailureLine(*item) for item in known.items()))
    for key in records:
        store.remove(key)
    return known


def find_still_crashing(store: Store, base: Manifest, trial: Trial) -> Mapping[ImageRef, Failure]:
    """Those of the inputs that crashed before which would again, so that a retry costs no run its life."""
    return crashes([line.ref for line in failures.of(store, base) if line.failure.stage == "crash"], trial)
