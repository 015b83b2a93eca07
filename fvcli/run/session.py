"""A run over a dataset whose lock it holds: take up what was left, plan, work, finish."""

from __future__ import annotations

import hashlib
import json
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from fvcli.dataset import commit as commits
from fvcli.dataset import layout, manifest, plan
from fvcli.dataset.base import BaseVectors
from fvcli.dataset.commit import Workspace
from fvcli.dataset.failures import FailureLine
from fvcli.dataset.manifest import SCHEMA_VERSION, Counts, Manifest
from fvcli.dataset.plan import Plan
from fvcli.dataset.planning import Policy, make_plan
from fvcli.dataset.shard_file import Encoding
from fvcli.dataset.store import Store
from fvcli.errors import DatasetError, StoppedError
from fvcli.images.discover import discover
from fvcli.images.pipeline import ImageLoader
from fvcli.models.base import FeatureModel
from fvcli.records import Failure, ImageRef, Recipe
from fvcli.run import in_work
from fvcli.run.cpus import usable_cpus
from fvcli.run.environment import environment
from fvcli.run.isolation import Trial
from fvcli.run.local import run_local
from fvcli.run.request import ExtractRequest, Observer, TooManyFailuresError
from fvcli.run.shard import ShardWork
from fvcli.run.suspects import find_crashing
from fvcli.run.worker import Batch, Outcome, Success, Worker

_TELL_EVERY = 1000


class Session:
    """One run. ``extracted`` counts the images that this process turned into vectors."""

    def __init__(self, request: ExtractRequest, model: FeatureModel, store: Store, observer: Observer) -> None:
        self.extracted = 0
        self._request = request
        self._model = model
        self._store = store
        self._observer = observer
        self._recipe = Recipe(model.identity, model.engine, request.preprocessing)
        self._encoding = Encoding(request.format, request.dtype, model.dimension, {"fvcli": self._description()})
        self._workspace = Workspace(store, self._encoding)
        self._crashing: Mapping[ImageRef, Failure] = {}
        self._started = time.monotonic()
        self._began = datetime.now(UTC)
        self._failed = 0

    def run(self) -> Manifest:
        """Continues an unfinished run, then brings the dataset up to date. Returns the new manifest."""
        request = self._request
        self._refuse_another_recipe()
        self._workspace.prepare()
        resumed = self._resume()
        if resumed is None:
            return self._update(request.retry_failed, request.overwrite)
        return self._update(retry_failed=False, overwrite=False, resumed=resumed)

    def _resume(self) -> Manifest | None:
        frozen = plan.load(self._store)
        trial = Trial(self._model.input_spec, self._request.preprocessing, self._request.limits)
        self._crashing = find_crashing(self._store, frozen, trial)
        if frozen is None:
            return None
        if frozen.request == self._request.fingerprint(self._recipe):
            return self._execute(frozen, commits.standing_failures(self._store))
        if frozen.overwrite or self._request.overwrite:
            self._workspace.discard_plan()
        else:  # asked for something else now: what the other run finished is kept, the rest is planned anew
            self._finish(frozen, commits.standing_failures(self._store))
        return None

    def _update(self, retry_failed: bool, overwrite: bool, resumed: Manifest | None = None) -> Manifest:
        request = self._request
        policy = Policy(request.fingerprint(self._recipe), request.shard_size, request.prune, retry_failed, overwrite)
        base = manifest.load(self._store)
        frozen, standing = make_plan(self._store, self._refs(), base, policy)
        if resumed is not None and not frozen.has_work:
            return resumed
        return self._execute(frozen, standing)

    def _refs(self) -> Iterator[ImageRef]:
        for number, ref in enumerate(discover(self._request.sources)):
            if number % _TELL_EVERY == 0:
                self._observer.discovered(number)
                self._raise_if_stopped()
            yield ref

    def _execute(self, frozen: Plan, standing: Iterable[FailureLine]) -> Manifest:
        done = self._workspace.commits(frozen)
        todo = [shard for shard in frozen.shards if shard.index not in done]
        self._observer.planned(frozen.extract, frozen.extract - sum(shard.extract for shard in todo))
        if todo:
            self._work(frozen, todo)
        self._raise_if_stopped()
        result = self._finish(frozen, standing)
        self._store.remove(layout.CRASHED)
        return result

    def _work(self, frozen: Plan, todo: Sequence[plan.PlannedShard]) -> None:
        base = None if frozen.overwrite else manifest.load(self._store)
        carried = BaseVectors(self._store, base) if base is not None and base.shards else None
        request = self._request
        batch_count = -(-max(shard.extract for shard in todo) // request.batch_size)
        count = max(1, min(request.workers or usable_cpus(), batch_count * len(todo)))
        loader = ImageLoader(self._model.input_spec, request.preprocessing, request.limits)
        total = frozen.extract

        def observe(batch: Batch, outcomes: Sequence[Outcome]) -> None:
            failed = [
                FailureLine(ref, outcome)
                for ref, outcome in zip(batch.refs, outcomes, strict=True)
                if isinstance(outcome, Failure)
            ]
            self._failed += len(failed)
            self.extracted += sum(isinstance(outcome, Success) and not outcome.reused for outcome in outcomes)
            self._observer.advanced(len(outcomes), failed)
            limit = request.max_failures
            if limit is not None and limit.exceeded(self._failed, total):
                raise TooManyFailuresError(
                    f"gave up: {self._failed} of {total} inputs failed, more than --max-failures allows; "
                    "what was committed is safe, the same command goes on from there"
                )

        with in_work.record(self._store, count) as record:
            models = [self._model, *(self._model.per_thread() for _ in range(count - 1))]
            workers = [
                Worker(model, loader, slot, record, carried, self._crashing) for slot, model in enumerate(models)
            ]
            work = ShardWork(self._workspace, frozen, carried)
            stopped = self._observer.stopped
            for _ in run_local(todo, work, workers, request.batch_size, observe, lambda: stopped() is not None):
                pass

    def _raise_if_stopped(self) -> None:
        number = self._observer.stopped()
        if number is not None:
            raise StoppedError("stopped; what was committed is safe, the same command goes on from there", number)

    def _finish(self, frozen: Plan, standing: Iterable[FailureLine]) -> Manifest:
        base = manifest.load(self._store)
        known = environment()
        roots = set(frozen.roots)
        runs: tuple[Mapping[str, Any], ...] = ()
        if base is not None:
            runs = base.runs
            roots |= set() if frozen.overwrite else set(base.roots)
            if self.extracted == 0 and not frozen.overwrite:
                known = dict(base.environment)
        fresh = Manifest(
            format=self._request.format,
            dtype=self._request.dtype,
            dimension=self._model.dimension,
            model=self._model_description(),
            recipe={**self._recipe.to_json(), "identity": self._recipe.identity},
            environment=known,
            roots=tuple(sorted(roots)),
            runs=runs,
        )
        return self._workspace.finish(frozen, base, fresh, standing, self._run_entry)

    def _run_entry(self, counts: Counts) -> Mapping[str, Any]:
        return {
            "started": self._began.isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - self._started, 3),
            "host": socket.gethostname(),
            "environment": environment_id(environment()),
            "worked": self.extracted,
            **counts.to_json(),
        }

    def _refuse_another_recipe(self) -> None:
        if self._request.overwrite:
            return
        now = {"format": self._request.format, "dtype": self._request.dtype, **self._recipe.to_json()}
        base = manifest.load(self._store, layout.PENDING_MANIFEST) or manifest.load(self._store)
        frozen = plan.load(self._store)
        if base is not None:
            recipe = {name: value for name, value in base.recipe.items() if name != "identity"}
            _compare(self._request.output, {"format": base.format, "dtype": base.dtype, **recipe}, now)
        elif frozen is not None:
            asked = frozen.request
            _compare(self._request.output, {"format": asked["format"], "dtype": asked["dtype"], **asked["recipe"]}, now)

    def _model_description(self) -> dict[str, str]:
        return {"name": self._model.name, "identity": self._model.identity, "licence": self._model.licence}

    def _description(self) -> str:
        """What every shard says of itself, so that one that lost its manifest can still be told from another."""
        values = {
            "schema_version": SCHEMA_VERSION,
            "model": self._model_description(),
            "recipe": self._recipe.to_json(),
            "recipe_identity": self._recipe.identity,
        }
        return json.dumps(values, sort_keys=True)


def environment_id(values: Mapping[str, str]) -> str:
    """Twelve hexadecimal digits that stand for a set of versions and a CPU."""
    return hashlib.sha256(json.dumps(dict(values), sort_keys=True).encode()).hexdigest()[:12]


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
