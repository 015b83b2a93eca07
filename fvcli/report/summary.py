"""The head and the end of the page, from the manifest and the failures files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from fvcli.dataset.manifest import Manifest
from fvcli.dataset.reader import Dataset
from fvcli.report.facts import FailedInput, FailureGroup, PastRun, Summary
from fvcli.report.names import MESSAGE_CHARACTERS, readable

RUNS = 10
ROOTS = 20
FAILURE_KINDS = 30
FAILURES = 600  # named, over all kinds


def summarize(dataset: Dataset, folder: str) -> Summary:
    """The head of the page. ``folder`` is the dataset's, as named on the command line."""
    manifest = dataset.manifest
    model = manifest.model
    last = next((run for run in reversed(manifest.runs) if run.get("worked")), None)
    rate = last["worked"] / last["seconds"] if last is not None and last["seconds"] > 0 else None
    return Summary(
        title=readable(_title(manifest.roots, folder)),
        folder=readable(folder),
        rows=len(dataset),
        discovered=manifest.counts.discovered,
        failed=manifest.counts.failed,
        stale=manifest.counts.stale,
        passed_over=_passed_over(manifest),
        roots=tuple(readable(root) for root in manifest.roots[:ROOTS]),
        roots_left_out=max(0, len(manifest.roots) - ROOTS),
        bytes=sum(file.bytes for shard in manifest.shards for file in shard.files),
        shards=len(manifest.shards),
        format=manifest.format,
        dtype=manifest.dtype,
        dimension=manifest.dimension,
        model=readable(str(model.get("name", ""))),
        license=readable(str(model.get("license", model.get("license", "")))),
        identity=readable(str(model.get("identity", ""))),
        recipe=_pairs(manifest.recipe.to_json(), ("model", "identity")),
        environment=_pairs(manifest.environment, ()),
        extracted_at=readable(str(manifest.runs[-1]["started"])) if manifest.runs else None,
        seconds=None if last is None else float(last["seconds"]),
        images_per_second=rate,
    )


def runs(dataset: Dataset) -> tuple[PastRun, ...]:
    """The last ``RUNS`` runs, the newest first."""
    return tuple(
        PastRun(
            started=readable(str(run["started"])),
            seconds=float(run["seconds"]),
            extracted=int(run["extracted"]),
            reused=int(run["reused"]),
            failed=int(run["failed"]),
            rows=int(run["rows"]),
        )
        for run in reversed(dataset.manifest.runs[-RUNS:])
    )


def failure_kinds(dataset: Dataset) -> tuple[tuple[FailureGroup, ...], int]:
    """The failures by kind, the most frequent first, and the number of kinds."""
    counts: Counter[tuple[str, str]] = Counter()
    first: dict[tuple[str, str], list[FailedInput]] = {}
    for line in dataset.failures():
        kind = (line.failure.stage, line.failure.error)
        counts[kind] += 1
        examples = first.setdefault(kind, []) if kind in first or len(first) < 10 * FAILURE_KINDS else []
        if len(examples) < FAILURES:
            message = readable(line.failure.message, MESSAGE_CHARACTERS)
            examples.append(FailedInput(readable(line.ref.path), readable(line.ref.root), message))
    common = sorted(counts.items(), key=lambda kind: (-kind[1], kind[0]))[:FAILURE_KINDS]
    share = FAILURES // max(1, len(common))
    kinds = tuple(
        FailureGroup(stage, readable(error), count, tuple(first.get((stage, error), [])[:share]))
        for (stage, error), count in common
    )
    return kinds, len(counts)


def _title(roots: Sequence[str], folder: str) -> str:
    """The folder that all sources are in, ``~`` for the user's own; else the dataset's name."""
    named = [root for root in roots if root]
    together = os.path.commonpath(named) if named and len({os.path.isabs(root) for root in named}) == 1 else ""
    if not together.strip("./"):
        return Path(folder).resolve().name or folder
    home = os.path.expanduser("~")
    return together.replace(home, "~", 1) if together == home or together.startswith(f"{home}/") else together


def _passed_over(manifest: Manifest) -> tuple[tuple[str, int], ...]:
    """(kind, count), the most frequent first, of the last run."""
    found = manifest.runs[-1].get("passed_over") if manifest.runs else None
    if not isinstance(found, Mapping):
        return ()
    counts = sorted(
        ((readable(str(kind)), int(count)) for kind, count in found.items()), key=lambda one: (-one[1], one[0])
    )
    return tuple((kind, count) for kind, count in counts if count)


def _pairs(values: Mapping[str, object], without: Sequence[str]) -> tuple[tuple[str, str], ...]:
    return tuple((readable(name), readable(str(value))) for name, value in values.items() if name not in without)
