"""The threads of one process, ready to turn planned shards into commits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fvcli.dataset import manifest
from fvcli.dataset.commit import Commit, Workspace
from fvcli.dataset.existing import BaseVectors
from fvcli.dataset.layout import IN_WORK
from fvcli.dataset.plan import Plan, PlannedShard
from fvcli.dataset.store import Store
from fvcli.images.loader import ImageLoader
from fvcli.machine import environment, usable_cpus
from fvcli.models.protocol import FeatureModel
from fvcli.records import Failure, ImageRef
from fvcli.run import in_work
from fvcli.run.ahead import ReadAhead
from fvcli.run.local import run_local
from fvcli.run.product import Product
from fvcli.run.shard import ShardWork
from fvcli.run.worker import Batch, Outcome, Worker


@dataclass(frozen=True, slots=True)
class Duty:
    """Shards to be done, and what has to be known for it.

    carried: rows of the dataset that is being updated. crashing: inputs that bring a process down, not to be touched.
    in_work: where the inputs in hand are noted.
    """

    workspace: Workspace
    plan: Plan
    todo: Sequence[PlannedShard]
    carried: BaseVectors | None = None
    crashing: Mapping[ImageRef, Failure] | None = None
    in_work: str = IN_WORK


class Crew:
    """One model and ``workers`` threads (all CPUs without a number), which share it for as many duties as there are."""

    def __init__(self, product: Product, model: FeatureModel, workers: int | None, batch_size: int) -> None:
        self._loader = ImageLoader(model.input_spec, product.recipe.preprocessing, product.limits)
        self._workers = workers or usable_cpus()
        self._batch_size = batch_size
        self._models = [model]
        self._environment = environment()

    def run(
        self, duty: Duty, observe: Callable[[Batch, Sequence[Outcome]], None], stopped: Callable[[], bool]
    ) -> Iterator[Commit]:
        """Yields each shard's commit, in plan order; see :func:`fvcli.run.local.run_local`."""
        if not duty.todo:
            return
        count = max(1, min(self._workers, sum(shard.extract for shard in duty.todo)))
        while len(self._models) < count:
            self._models.append(self._models[0].per_thread())
        crashing = duty.crashing or {}
        with in_work.record(duty.workspace.store, count, duty.in_work) as record, ReadAhead(crashing) as ahead:
            workers = [
                Worker(model, self._loader, slot, record, duty.carried, crashing, ahead.read, stopped)
                for slot, model in enumerate(self._models[:count])
            ]
            work = ShardWork(duty.workspace, duty.plan, duty.carried, self._environment)
            yield from run_local(duty.todo, work, workers, self._batch_size, observe, stopped, ahead.begin)


def carried(store: Store, frozen: Plan) -> BaseVectors | None:
    """The rows that an update may take over."""
    base = None if frozen.overwrite else manifest.load(store)
    return BaseVectors(store, base) if base is not None and base.shards else None
