"""A run over a dataset whose lock it holds: take up what was left, plan, work, finish."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fvcli.dataset import commit as commits
from fvcli.dataset import layout, manifest, plan
from fvcli.dataset.commit import Commit, Workspace
from fvcli.dataset.compare import Policy, make_plan
from fvcli.dataset.failures import FailureLine
from fvcli.dataset.manifest import Manifest
from fvcli.dataset.plan import Plan
from fvcli.dataset.store import Store
from fvcli.errors import DatasetError
from fvcli.models.protocol import FeatureModel
from fvcli.records import Failure, ImageRef
from fvcli.run import in_work
from fvcli.run.crew import Crew, Duty, carried
from fvcli.run.finishing import Effort, finish
from fvcli.run.isolation import Trial
from fvcli.run.product import Product
from fvcli.run.request import ExtractRequest, Observer
from fvcli.run.suspects import find_crashing, find_still_crashing
from fvcli.run.watch import Watch
from fvcli.sources.discover import discover

_TELL_EVERY = 1000


class Session:
    """One run. ``extracted`` counts the images that this process turned into vectors."""

    def __init__(self, request: ExtractRequest, model: FeatureModel, store: Store, observer: Observer) -> None:
        self._request = request
        self._model = model
        self._store = store
        self._watch = Watch(observer, request.max_failures)
        self._product = Product.of(request, model)
        self._asked = request.fingerprint(self._product.recipe)
        self._workspace = Workspace(store, self._product.encoding)
        self._crashing: Mapping[ImageRef, Failure] = {}
        self._started = time.monotonic()

    @property
    def extracted(self) -> int:
        return self._watch.extracted

    def run(self) -> Manifest:
        """Continues an unfinished run, then brings the dataset up to date. Returns the new manifest."""
        request = self._request
        self._prepare()
        resumed = self._resume()
        if resumed is None:
            return self._update(request.retry_failed, request.overwrite)
        return self._update(retry_failed=False, overwrite=False, resumed=resumed)

    def _prepare(self) -> None:
        if self._request.overwrite:
            commits.set_aside_damaged(self._store)
        else:
            self._refuse_another_recipe()
        self._workspace.prepare()

    def plan(self) -> Plan:
        """Freezes what there is to do, unless the same was asked before, and leaves it to others.

        A plan without work is carried out.
        """
        self._prepare()
        frozen = plan.load(self._store)
        if frozen is not None and frozen.request == self._asked:
            return frozen
        self._set_aside(frozen)
        frozen, standing = self._make_plan(self._request.retry_failed, self._request.overwrite)
        if not frozen.has_work:
            self._execute(frozen, standing)
        return frozen

    def _resume(self) -> Manifest | None:
        frozen = plan.load(self._store)
        self._crashing = find_crashing(self._store, frozen, self._trial(), in_work.records(self._store))
        if frozen is not None and frozen.request == self._asked:
            return self._execute(frozen, commits.standing_failures(self._store))
        self._set_aside(frozen)
        return None

    def _trial(self) -> Trial:
        request = self._request
        return Trial(self._model.input_spec, request.preprocessing, request.limits, self._watch.raise_if_stopped)

    def _set_aside(self, frozen: Plan | None) -> None:
        """Something else is asked now: what the unfinished run committed is kept, the rest is planned anew."""
        if frozen is None:
            return
        if frozen.overwrite or self._request.overwrite:
            self._workspace.discard_plan()
        else:
            self._finish(frozen, commits.standing_failures(self._store))

    def _update(self, retry_failed: bool, overwrite: bool, resumed: Manifest | None = None) -> Manifest:
        base = manifest.load(self._store)
        if retry_failed and base is not None:
            self._crashing = {**self._crashing, **find_still_crashing(self._store, base, self._trial())}
        frozen, standing = self._make_plan(retry_failed, overwrite)
        if resumed is not None and not frozen.has_work:
            return resumed
        return self._execute(frozen, standing)

    def _make_plan(self, retry_failed: bool, overwrite: bool) -> tuple[Plan, list[FailureLine]]:
        request = self._request
        policy = Policy(
            self._asked, self._product.settings(), request.shard_size, request.prune, retry_failed, overwrite
        )
        return make_plan(self._store, self._refs(), manifest.load(self._store), policy)

    def _refs(self) -> Iterator[ImageRef]:
        for number, ref in enumerate(discover(self._request.sources)):
            if number % _TELL_EVERY == 0:
                self._watch.observer.discovered(number)
                self._watch.raise_if_stopped()
            yield ref

    def _execute(self, frozen: Plan, standing: Iterable[FailureLine]) -> Manifest:
        done = self._workspace.commits(frozen)
        todo = [shard for shard in frozen.shards if shard.index not in done]
        failed = sum(commit.counts.failed for commit in done.values())
        self._watch.expect(frozen.extract, frozen.extract - sum(shard.extract for shard in todo), failed)
        if todo:
            duty = Duty(self._workspace, frozen, todo, carried(self._store, frozen), self._crashing)
            for _ in self._commits(duty):
                pass
        self._watch.raise_if_stopped()
        missing = len(frozen.shards) - len(self._workspace.commits(frozen))
        if missing:
            raise DatasetError(
                f"{missing} finished shards are gone from {self._request.output}; find out who removes files there, "
                "then repeat the command to redo them"
            )
        result = self._finish(frozen, standing)
        self._store.remove(layout.CRASHED)
        return result

    def _commits(self, duty: Duty) -> Iterator[Commit]:
        """The runner's: this machine's threads, or a cluster."""
        request = self._request
        if request.ray is not None:
            from fvcli.run.ray import run_on_ray

            return run_on_ray(duty, request.output, request.ray, request.batch_size, self._watch)
        crew = Crew(self._product, self._model, request.workers, request.batch_size)
        return crew.run(duty, self._watch.batch, self._watch.stopped)

    def _finish(self, frozen: Plan, standing: Iterable[FailureLine]) -> Manifest:
        return finish(self._workspace, frozen, self._product, standing, Effort(self._started, self.extracted))

    def _refuse_another_recipe(self) -> None:
        now = {"format": self._request.format, "dtype": self._request.dtype, **self._product.recipe.to_json()}
        base = manifest.load(self._store, layout.PENDING_MANIFEST) or manifest.load(self._store)
        frozen = plan.load(self._store)
        if base is not None:
            _compare(self._request.output, {"format": base.format, "dtype": base.dtype, **base.recipe.to_json()}, now)
        elif frozen is not None:
            asked = frozen.request
            _compare(self._request.output, {"format": asked["format"], "dtype": asked["dtype"], **asked["recipe"]}, now)


def _compare(output: str, there: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    differing = [name for name in sorted({*there, *now}) if there.get(name) != now.get(name)]
    if differing:
        then = ", ".join(f"{name} {_short(there.get(name))}" for name in differing)
        asked = ", ".join(f"{name} {_short(now.get(name))}" for name in differing)
        raise DatasetError(
            f"{output} holds vectors made with {then}; this command asks for {asked}. "
            "Name another folder with -o, or replace the dataset with --overwrite"
        )


def _short(value: object) -> str:
    text = str(value)
    return text[:12] if len(text) == 64 else text
