"""After a run died: which of the inputs it had in hand are to blame."""

from __future__ import annotations

from collections.abc import Mapping

from fvcli.dataset import failures, layout
from fvcli.dataset import plan as plan_file
from fvcli.dataset.failures import FailureLine
from fvcli.dataset.plan import Plan
from fvcli.dataset.store import Store
from fvcli.records import Failure, ImageRef
from fvcli.run import in_work
from fvcli.run.isolation import Trial, crashes


def find_crashing(store: Store, frozen: Plan | None, trial: Trial) -> Mapping[ImageRef, Failure]:
    """Tries what was in work when a run died, each input in a process of its own, and remembers which crash.

    Returns all that are known to crash, until the run that reports them among its failures has ended.
    """
    known = {line.ref: line.failure for line in failures.read(store, layout.CRASHED)}
    places = [] if frozen is None else in_work.suspects(store)
    refs = []
    for index in sorted({shard for shard, _ in places}):
        if frozen is None or index >= len(frozen.shards):
            continue
        entries = plan_file.read_entries(store, frozen.shards[index])
        refs += [entries[position].ref for shard, position in places if shard == index and position < len(entries)]
    found = crashes([ref for ref in refs if ref not in known], trial)
    if found:
        known |= found
        store.replace(layout.CRASHED, failures.to_bytes(FailureLine(*item) for item in known.items()))
    store.remove(layout.IN_WORK)
    return known
