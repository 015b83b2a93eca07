"""``fvcli extract`` as a function: a run from its lock to its manifest.

    take up → plan → run → merge → publish

The state of the dataset is read once, by ``take_up``, and passed on as a value.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fvcli.dataset import layout, lock
from fvcli.dataset.compare import Policy, make_plan
from fvcli.dataset.layout import KINDS
from fvcli.dataset.lock import Lease
from fvcli.dataset.manifest import Counts, Manifest
from fvcli.dataset.standing import (
    Standing,
    discard,
    merge,
    publish,
    require_access,
    require_in_place,
    set_aside_damaged,
    take_up,
)
from fvcli.dataset.store import Store, open_store
from fvcli.errors import SourceError
from fvcli.models.loading import load_model
from fvcli.models.protocol import FeatureModel
from fvcli.records import Failure, ImageRef
from fvcli.run import crashes
from fvcli.run.crashes import Notes, Trial
from fvcli.run.pool import Resources, WorkerPool
from fvcli.run.request import ExtractRequest, Observer
from fvcli.run.shard import Job, Runner, RunProgress
from fvcli.run.spec import DatasetSpec
from fvcli.sources.candidates import PassedOver
from fvcli.sources.discover import BackgroundDiscovery
from fvcli.sources.roots import KnownRoots


@dataclass(frozen=True, slots=True)
class RunSummary:
    """``counts`` describe the dataset as the run left it; ``extracted`` is how many vectors this process computed.

    failures_file: path of the list of inputs without a vector, None where there is none.
    passed_over: what the search for inputs passed over, by kind.
    zero_vectors: rows of the dataset whose vector is all zeros.
    remembered: inputs among them that failed before and were not tried again.
    """

    counts: Counts
    extracted: int
    seconds: float
    output: str
    model: str
    identity: str
    failures_file: str | None
    passed_over: Mapping[str, int]
    zero_vectors: int = 0
    remembered: int = 0

    @classmethod
    def of(cls, store: Store, manifest: Manifest, started: float, extracted: int, remembered: int = 0) -> RunSummary:
        """The summary of a run that ends now. started: by the monotonic clock."""
        return cls(
            counts=manifest.counts,
            extracted=extracted,
            seconds=time.monotonic() - started,
            output=store.place,
            model=manifest.model["name"],
            identity=manifest.model["identity"],
            failures_file=store.describe(manifest.failures[0].file) if manifest.failures else None,
            passed_over=manifest.runs[-1].get("passed_over", {}),
            zero_vectors=manifest.zero_vectors,
            remembered=remembered,
        )

    def to_json(self) -> dict[str, object]:
        rate = self.extracted / self.seconds if self.seconds > 0 else 0.0
        return {
            **self.counts.to_json(),
            "passed_over": dict(self.passed_over),
            "zero_vectors": self.zero_vectors,
            "seconds": round(self.seconds, 3),
            "images_per_second": round(rate, 1),
            "output": self.output,
            "model": self.model,
            "identity": self.identity,
        }


def extract(request: ExtractRequest, observer: Observer) -> RunSummary:
    """Brings the dataset in ``request.output`` up to date with the sources.

    Raises UsageError, ModelError, DatasetError (LockedError when another run holds it), TooManyFailuresError and
    StoppedError; what was committed stays, and the same call resumes from there.
    """
    started = time.monotonic()
    model = load_model(request.model, request.engine)
    store = open_store(request.output)
    store.make_folder()
    with lock.hold(store) as lease:
        run = Run(request, model, store, lease, RunProgress(observer, request.max_failures), started)
        standing = run.take_up()
        crashing = run.find_crashing(standing)
        manifest = None
        if run.continues(standing):
            manifest = run.carry_out(standing, crashing)
            standing = Standing(manifest)
        else:
            standing = run.set_aside(standing)
            crashing |= run.find_still_crashing(standing)
        standing = run.plan(standing, resumed=manifest is not None)
        if manifest is None or standing.require_plan().has_work:
            manifest = run.carry_out(standing, crashing)
    remembered = standing.require_plan().kept.failed
    return RunSummary.of(store, manifest, started, run.progress.extracted, remembered)


class Run:
    """The steps of one run over a dataset whose lock the caller holds. started: by the monotonic clock."""

    def __init__(
        self,
        request: ExtractRequest,
        model: FeatureModel,
        store: Store,
        lease: Lease,
        progress: RunProgress,
        started: float,
    ) -> None:
        self.progress = progress
        self._lease = lease
        self._request = request
        self._model = model
        self._store = store
        self._started = started
        self._passed_over = PassedOver()
        self._spec = DatasetSpec.of(request, model)
        self._asked: Mapping[str, Any] = request.fingerprint(self._spec.recipe)

    def take_up(self) -> Standing:
        """The dataset's standing, after recovery. Raises DatasetError where it has another recipe."""
        if self._request.overwrite:
            set_aside_damaged(self._store)
        standing = take_up(self._store, self._request.overwrite)
        if not self._request.overwrite:
            self._spec.require_same(standing, self._request.output)
        if standing.dropped:
            self.progress.observer.noted(f"done again: {standing.dropped}")
        if self._store.unlocked:
            self.progress.observer.noted(self._store.unlocked)
        for key in (layout.COMMITS, layout.STAGING, *(folder for folder, _, _ in KINDS[self._spec.format])):
            self._store.make_folder(key)
        return standing

    def find_crashing(self, standing: Standing) -> dict[ImageRef, Failure]:
        """Inputs that bring a process down, as far as earlier runs died of them."""
        return crashes.find(self._store, standing.plan, self._trial(), Notes.of_run(self._store))

    def find_still_crashing(self, standing: Standing) -> dict[ImageRef, Failure]:
        """The inputs that crashed before and would again, where failed ones are to be retried."""
        if not self._request.retry_failed or standing.manifest is None:
            return {}
        return crashes.find_again(self._store, standing.manifest, self._trial())

    def continues(self, standing: Standing) -> bool:
        """Whether an unfinished plan was made for the same request."""
        return standing.plan is not None and standing.plan.request == self._asked

    def set_aside(self, standing: Standing) -> Standing:
        """The standing without its unfinished plan, whose commits are published unless one of the two overwrites."""
        if standing.plan is None:
            return standing
        self._lease.require()
        if standing.plan.overwrite or self._request.overwrite:
            return discard(self._store, standing)
        return Standing(self._finish(standing))

    def plan(self, standing: Standing, resumed: bool = False) -> Standing:
        """The standing with what there is to do now; after a resumed run that is what has come in meanwhile."""
        self._passed_over = PassedOver()
        inputs, policy = search(self._request, self._spec, standing, self.progress, self._passed_over)
        if resumed:
            policy = replace(policy, retry_failed=False, overwrite=False)
        found = policy.settings

        def settings() -> Mapping[str, Any]:
            self._lease.require()  # all inputs have been seen, and the plan is written next
            return found()

        try:
            planned = make_plan(self._store, standing, inputs, replace(policy, settings=settings))
        except SourceError:  # where no image was found, this says what was there
            self.progress.observer.passed_over(self._passed_over.to_json())
            raise
        self.progress.observer.passed_over(self._passed_over.to_json())
        return planned

    def carry_out(self, standing: Standing, crashing: dict[ImageRef, Failure]) -> Manifest:
        """Runs what the plan leaves to do and publishes all of it. Raises StoppedError, DatasetError and others."""
        plan, done = standing.require_plan(), dict(standing.commits)
        todo = standing.todo(plan.shards)
        failed = sum(commit.counts.failed for commit in done.values())
        self.progress.expect(plan.extract, plan.extract - sum(shard.extract for shard in todo), failed)
        if todo:
            job = Job.of(self._store, self._spec, standing, todo, crashing, Notes(), self._lease)
            for commit in self._runner().run(job, self.progress):
                done[commit.index] = commit
        self.progress.raise_if_stopped(sum(shard.extract for shard in plan.shards if shard.index in done))
        require_in_place(self._store, plan, done)
        require_access(self._store, plan, done)
        manifest = self._finish(replace(standing, commits=done))
        self._store.remove(layout.CRASHED)
        return manifest

    def _finish(self, standing: Standing) -> Manifest:
        self._lease.require()
        return finish(self._store, self._spec, standing, self._started, self.progress.extracted)

    def _runner(self) -> Runner:
        request = self._request
        if request.ray is not None:
            from fvcli.run.ray.runner import RayRunner

            return RayRunner(request.output, request.ray, request.batch_size)
        return WorkerPool(self._spec, self._model, Resources(request.workers, request.batch_size, request.processes))

    def _trial(self) -> Trial:
        request = self._request
        return Trial(self._model.input_spec, request.preprocessing, request.limits, self.progress.raise_if_stopped)


def search(
    request: ExtractRequest, spec: DatasetSpec, standing: Standing, progress: RunProgress, passed_over: PassedOver
) -> tuple[BackgroundDiscovery, Policy]:
    """The search for inputs, not begun, and the policy by which they are compared with what is there."""
    base = None if request.overwrite else standing.manifest
    known = KnownRoots() if base is None else KnownRoots(base.base_folder, base.roots)
    policy = Policy(
        base_folder=known.base_folder,
        request=request.fingerprint(spec.recipe),
        settings=lambda: {**spec.settings(), "passed_over": passed_over.to_json()},
        shard_size=request.shard_size,
        prune=request.prune,
        prune_limit=request.prune_limit,
        retry_failed=request.retry_failed,
        overwrite=request.overwrite,
        circumstances=spec.circumstances,
    )
    tell, check = progress.observer.discovered, progress.raise_if_stopped
    return BackgroundDiscovery(request.sources, passed_over, known, tell, check), policy


def finish(store: Store, spec: DatasetSpec, standing: Standing, started: float, extracted: int) -> Manifest:
    """Makes the commits of the plan, all or some, the dataset.

    started, extracted: this process's own part, for the history.
    """
    merged = merge(standing, standing.commits)
    return publish(store, standing, spec.describe(standing, merged, started, extracted), merged.failures)
