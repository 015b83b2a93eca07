"""What runs on the nodes of a Ray cluster: turns numbers of planned shards into commits."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from fvcli.dataset import layout
from fvcli.dataset import plan as plan_file
from fvcli.dataset.commit import Commit, Workspace
from fvcli.dataset.store import open_store
from fvcli.errors import DatasetError, FvcliError
from fvcli.run.crew import Crew, Duty, carried
from fvcli.run.in_work import TASK_IN_WORK
from fvcli.run.isolation import Trial
from fvcli.run.product import Product
from fvcli.run.suspects import find_crashing


@dataclass(frozen=True, slots=True)
class Job:
    """What an actor has to know; everything else is in the plan.

    output: absolute path or address of the dataset; folder: what relative sources are relative to; plan: its id.
    """

    output: str
    folder: str
    plan: str
    threads: int
    batch_size: int


class Actor:
    """One process of the cluster: loads the model once, then does a shard for each call."""

    def __init__(self, job: Job) -> None:
        with suppress(OSError):  # relative sources mean what they mean to the run, where its folder exists
            os.chdir(job.folder)
        store = open_store(job.output)
        frozen = plan_file.load(store)
        if frozen is None or frozen.id != job.plan:
            raise DatasetError(f"{job.output} as this machine sees it does not hold the plan; is it a shared folder?")
        self._product = Product.planned(frozen)
        self._workspace = Workspace(store, self._product.encoding)
        self._plan = frozen
        self._carried = carried(store, frozen)
        model = self._product.load_model()
        self._trial = Trial(model.input_spec, self._product.recipe.preprocessing, self._product.limits)
        self._crew = Crew(self._product, model, job.threads, job.batch_size)

    def commit(self, index: int) -> Commit:
        """Does one shard; what an earlier try had in hand when it died is tried in a process of its own first."""
        planned = self._plan.shards[index]
        key = f"{layout.TASKS}/ray-{index:05d}"
        in_work, memory = f"{key}{TASK_IN_WORK}", f"{key}.crashed.jsonl"
        crashing = find_crashing(self._workspace.store, self._plan, self._trial, [in_work], memory)
        duty = Duty(self._workspace, self._plan, [planned], self._carried, crashing, in_work)
        (commit,) = self._crew.run(duty, lambda batch, outcomes: None, lambda: False)
        return commit


class Worker:
    """An actor as Ray Data calls it. Our own errors come back as values: Ray would wrap and retry them."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._actor: Actor | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        try:
            self._actor = self._actor or Actor(self._job)
            commit = self._actor.commit(int(batch["index"][0]))
            return {"commit": [commit.to_bytes()], "error": [""]}
        except FvcliError as error:
            return {"commit": [b""], "error": [str(error)]}
