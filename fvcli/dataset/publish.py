"""From commits to a manifest: the last step of every run, whichever processes did the work.

The new manifest is written down under ``.fvcli`` first. From then on the run is decided: the files move in,
``manifest.json`` is replaced, and what it no longer names is removed. The next run completes what a crash interrupts.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from fvcli.dataset import failures, layout
from fvcli.dataset.commit import Commit, in_place, retract
from fvcli.dataset.failures import FailureLine
from fvcli.dataset.manifest import Counts, DataFile, Manifest, Shard
from fvcli.dataset.plan import Plan, PlannedShard
from fvcli.dataset.standing import Standing, switch
from fvcli.dataset.store import Store
from fvcli.errors import DatasetError, SourceError


@dataclass(frozen=True, slots=True)
class Merged:
    """Committed shards together with what their plan keeps: the content of the next manifest.

    shards ascend by their first row, failures by their key. environments: of the commits that extracted something.
    """

    shards: tuple[Shard, ...]
    counts: Counts
    failures: Iterable[FailureLine]
    environments: tuple[Mapping[str, str], ...]


def require_in_place(store: Store, plan: Plan, commits: Mapping[int, Commit]) -> None:
    """A last look before the run is decided. Raises DatasetError where a shard's files were removed meanwhile."""
    missing = sum(shard.index not in commits or not in_place(store, commits[shard.index]) for shard in plan.shards)
    if missing:
        raise DatasetError(
            f"{missing} finished shards are gone from {store.place}; find out who removes files there, "
            "then repeat the command to redo them"
        )


def require_access(store: Store, plan: Plan, commits: Mapping[int, Commit]) -> None:
    """Raises SourceError where every input of a root was refused, and takes back what was committed of that.

    So nothing is remembered of files that may be readable in the next run.
    """
    refused = Counter(line.ref.root for commit in commits.values() for line in commit.failures if _is_refused(line))
    closed = sorted(root for root, count in plan.inputs.items() if refused[root] == count)
    if not closed:
        return
    for commit in commits.values():
        if any(line.ref.root in closed and _is_refused(line) for line in commit.failures):
            retract(store, commit)
    raise SourceError(
        f"permission denied for every file of {closed[0] or 'those named'}; nothing was recorded. "
        "Make them readable for this user and repeat the command"
    )


def _is_refused(line: FailureLine) -> bool:
    return (line.failure.stage, line.failure.error) == ("read", "PermissionDenied")


def merge(standing: Standing, commits: Mapping[int, Commit]) -> Merged:
    """The dataset with these commits of the plan in place of what they replace; not all have to be there."""
    plan = standing.require_plan()
    missing = {shard.replaces for shard in plan.shards if shard.index not in commits}
    counted = [commits[shard.index] for shard in plan.shards if shard.index in commits and _whole(shard, missing)]
    pruned = sum(shard.pruned for shard in plan.shards if shard.index in commits and _whole(shard, missing))
    kept, kept_counts = _kept(plan, standing.manifest, missing)
    shards = (*kept, *(commit.shard for commit in counted if commit.shard is not None))
    return Merged(
        shards=tuple(sorted(shards, key=lambda shard: shard.first)),
        counts=sum((commit.counts for commit in counted), kept_counts + Counts(pruned=pruned)),
        failures=heapq.merge(
            (line for commit in counted for line in commit.failures), standing.failures, key=lambda line: line.key
        ),
        environments=tuple(commit.environment for commit in counted if commit.counts.extracted),
    )


def publish(store: Store, standing: Standing, manifest: Manifest, lines: Iterable[FailureLine]) -> Manifest:
    """Makes ``manifest`` with these failures the dataset's. Returns it, complete. Raises DatasetError."""
    result = replace(manifest, failures=_write_failures(store, lines))
    if standing.require_plan().has_work or result.failures != (standing.manifest.failures if standing.manifest else ()):
        store.replace(layout.PENDING_MANIFEST, result.to_bytes())
        switch(store, result)
    else:  # nothing but the run's line in the history
        store.replace(layout.MANIFEST, result.to_bytes())
    return result


def _whole(shard: PlannedShard, missing: set[int | None]) -> bool:
    """Whether a finished shard may count although others do not: all that stand for the same old shard are there."""
    return shard.replaces is None or shard.replaces not in missing


def _kept(plan: Plan, base: Manifest | None, missing: set[int | None]) -> tuple[list[Shard], Counts]:
    """The base's shards that stay, those among them whose replacement was not finished, and what they amount to."""
    shards = base.shards if base else ()
    waiting = [shard for shard in shards if shard.number in missing]
    rows = sum(shard.rows for shard in waiting)
    replaced = set(plan.replaced) - missing
    return [shard for shard in shards if shard.number not in replaced], plan.kept + Counts(rows, reused=rows)


def _write_failures(store: Store, lines: Iterable[FailureLine]) -> tuple[DataFile, ...]:
    data = failures.to_bytes(lines)
    if not data:
        return ()
    digest = hashlib.sha256(data).hexdigest()
    file = DataFile(f"{layout.FAILURES}/{layout.shard_name('failures-', 0, '.jsonl', digest)}", len(data), digest)
    if store.size(file.file) != len(data):
        store.make_folder(layout.FAILURES)
        store.replace(store.waiting(file.file), data)
    return (file,)
