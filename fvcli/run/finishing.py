"""From commits to a manifest: the last step of every run, whoever did the work."""

from __future__ import annotations

import hashlib
import json
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fvcli.dataset import manifest
from fvcli.dataset.commit import Commit, Workspace
from fvcli.dataset.failures import FailureLine
from fvcli.dataset.manifest import Counts, Manifest
from fvcli.dataset.plan import Plan
from fvcli.machine import environment
from fvcli.run.product import Product


@dataclass(frozen=True, slots=True)
class Effort:
    """started: by the monotonic clock. extracted: the vectors that were computed since."""

    started: float
    extracted: int


def finish(
    workspace: Workspace, frozen: Plan, product: Product, standing: Iterable[FailureLine], effort: Effort
) -> Manifest:
    """Makes what is committed the dataset; ``effort`` is this process's own part in it, for the history."""
    base = manifest.load(workspace.store)

    def describe(commits: Sequence[Commit], counts: Counts) -> Manifest:
        made = {environment_id(commit.environment): commit.environment for commit in commits if commit.counts.extracted}
        roots = set(frozen.roots)
        known: Mapping[str, str] = next(iter(made.values()), environment())
        if base is not None:
            roots |= set() if frozen.overwrite else set(base.roots)
            if not made and not frozen.overwrite:
                known = base.environment
        seconds = time.monotonic() - effort.started
        run = {
            "started": (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat(timespec="seconds"),
            "seconds": round(seconds, 3),
            "host": socket.gethostname(),
            "environment": ",".join(sorted(made)) or environment_id(known),
            "worked": effort.extracted,
            **counts.to_json(),
        }
        described = Manifest(
            format=product.format,
            dtype=product.dtype,
            dimension=product.dimension,
            model=product.model,
            recipe=product.recipe,
            environment=known,
            roots=tuple(sorted(roots)),
            runs=base.runs if base is not None else (),
        )
        return described.with_run(run)

    return workspace.finish(frozen, base, standing, describe)


def environment_id(values: Mapping[str, str]) -> str:
    """Twelve hexadecimal digits that stand for a set of versions and a CPU."""
    return hashlib.sha256(json.dumps(dict(values), sort_keys=True).encode()).hexdigest()[:12]
