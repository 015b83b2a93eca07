"""The process that works on a node of a Ray cluster: numbers of planned shards in, commits out."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from fvcli.dataset import layout
from fvcli.dataset.commit import Commit
from fvcli.dataset.standing import join
from fvcli.dataset.store import open_store
from fvcli.errors import DatasetError, FvcliError
from fvcli.run.crashes import Notes
from fvcli.run.pool import Part, Resources
from fvcli.run.request import Silent
from fvcli.run.shard import RunProgress


@dataclass(frozen=True, slots=True)
class ActorOptions:
    """The settings of an actor; everything else is in the plan.

    output: absolute path or address of the dataset; folder: what relative sources are relative to; plan: its id.
    """

    output: str
    folder: str
    plan: str
    threads: int
    batch_size: int


class PlanActor:
    """One process of the cluster: loads the model once, then does one shard per call."""

    def __init__(self, options: ActorOptions) -> None:
        with suppress(OSError):  # relative sources mean what they mean to the run, where its folder exists
            os.chdir(options.folder)
        store = open_store(options.output)
        standing = join(store, lambda plan: ())
        if standing.plan is None or standing.plan.id != options.plan:
            raise DatasetError(
                f"{options.output} as this machine sees it does not hold the plan; is it a shared folder?"
            )
        self._shards = standing.plan.shards
        self._part = Part(store, standing, Resources(options.threads, options.batch_size))

    def commit(self, index: int) -> Commit:
        """Does one shard; what an earlier try had in hand when it died is tried in a process of its own first."""
        notes = Notes.of_part(f"{layout.TASKS}/ray-{index:05d}")
        (commit,) = self._part.run([self._shards[index]], notes, RunProgress(Silent(), None), None)
        return commit


class RayWorker:
    """An actor as Ray Data calls it. fvcli's own errors are returned as values: Ray would wrap and retry them."""

    def __init__(self, options: ActorOptions) -> None:
        self._options = options
        self._actor: PlanActor | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        try:
            self._actor = self._actor or PlanActor(self._options)
            commit = self._actor.commit(int(batch["index"][0]))
            return {"commit": [commit.to_bytes()], "error": [""]}
        except FvcliError as error:
            return {"commit": [b""], "error": [str(error)]}
