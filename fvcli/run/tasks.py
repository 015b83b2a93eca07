"""A plan worked on by several processes that know nothing of each other, for batch queues and shared folders.

``plan`` freezes the work; every ``Task`` does its slice of it; ``finalize`` writes the manifest once all is there.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fvcli.dataset import layout, lock, manifest, schema
from fvcli.dataset import plan as plan_file
from fvcli.dataset.commit import Workspace, recover, settle, standing_failures
from fvcli.dataset.manifest import Counts, Manifest
from fvcli.dataset.plan import Plan, PlannedShard
from fvcli.dataset.store import Store, open_store
from fvcli.errors import DatasetError, UsageError
from fvcli.models.loading import load_model
from fvcli.run import finishing
from fvcli.run.crew import Crew, Duty, carried
from fvcli.run.extract import RunSummary
from fvcli.run.in_work import TASK_IN_WORK
from fvcli.run.isolation import Trial
from fvcli.run.product import Product
from fvcli.run.request import ExtractRequest, FailureLimit, Observer
from fvcli.run.session import Session
from fvcli.run.suspects import find_crashing
from fvcli.run.watch import Watch

_NOTE = ".json"


@dataclass(frozen=True, slots=True)
class Planned:
    """What a plan asks for. ``done`` is the number of its shards that are committed already."""

    output: str
    shards: int
    done: int
    inputs: int

    def to_json(self) -> dict[str, object]:
        return {"output": self.output, "shards": self.shards, "done": self.done, "inputs": self.inputs}


@dataclass(frozen=True, slots=True)
class Task:
    """One of ``of`` equal slices of a plan; ``number`` counts from 1."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Task:
        """From "3/8". Raises UsageError."""
        number, slash, of = text.partition("/")
        if not (slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
            raise UsageError(f"--task takes a number and how many there are, such as 3/8, not {text!r}")
        return cls(int(number), int(of))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def shards(self, frozen: Plan) -> list[PlannedShard]:
        """Every ``of``-th shard, so that all tasks get the same mix whatever the order of the inputs."""
        return list(frozen.shards[self.number - 1 :: self.of])

    def key(self, suffix: str) -> str:
        """The key of this task's own file of some kind."""
        return f"{layout.TASKS}/{self.number:05d}-of-{self.of:05d}{suffix}"


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard one task tries: threads (None for all CPUs), images a thread holds, failures before it gives up."""

    workers: int | None = None
    batch_size: int = 32
    max_failures: FailureLimit | None = None


@dataclass(frozen=True, slots=True)
class TaskSummary:
    """``counts`` are those of the slice, ``extracted`` the vectors that this process computed."""

    task: Task
    shards: int
    counts: Counts
    extracted: int
    seconds: float
    output: str

    def to_json(self) -> dict[str, object]:
        rate = self.extracted / self.seconds if self.seconds > 0 else 0.0
        return {
            "task": str(self.task),
            "shards": self.shards,
            **self.counts.to_json(),
            "seconds": round(self.seconds, 3),
            "images_per_second": round(rate, 1),
            "output": self.output,
        }


class MissingShardsError(DatasetError):
    """A plan is not done yet. ``tasks`` are those that have not ended well, as "3/8"; ``shards`` are plan indices."""

    def __init__(self, message: str, shards: Sequence[int], tasks: Sequence[str]) -> None:
        super().__init__(message)
        self.shards = tuple(shards)
        self.tasks = tuple(tasks)


def plan(request: ExtractRequest, observer: Observer) -> Planned:
    """Looks for inputs and freezes what there is to do with them; where that is nothing, the run ends with it.

    Raises UsageError, ModelError, DatasetError (LockedError) and StoppedError.
    """
    model = load_model(request.model, request.engine)
    store = open_store(request.output)
    store.make_folder()
    with lock.hold(store):
        session = Session(request, model, store, observer)
        frozen = session.plan()
        done = Workspace(store, Product.of(request, model).encoding).commits(frozen)
    return Planned(request.output, len(frozen.shards), len(done), frozen.extract)


def work(output: str, task: Task, effort: Effort, observer: Observer) -> TaskSummary:
    """Does what is still to be done of one slice of the plan that waits in ``output``.

    Raises ModelError, DatasetError (LockedError when another process has the same slice, or the whole dataset),
    TooManyFailuresError and StoppedError; what was committed stays, and the same call goes on from there.
    """
    started = time.monotonic()
    store = open_store(output)
    frozen = plan_file.load(store)
    if frozen is None:
        _require_dataset(store, output)
        return TaskSummary(task, 0, Counts(), 0, 0.0, output)
    with lock.hold(store, task.key(lock.TASK_LOCK)):
        product = Product.planned(frozen)
        workspace = Workspace(store, product.encoding)
        watch = Watch(observer, effort.max_failures)
        mine = task.shards(frozen)
        done = workspace.commits(frozen, mine)
        todo = [shard for shard in mine if shard.index not in done]
        total = sum(shard.extract for shard in mine)
        watch.expect(total, total - sum(shard.extract for shard in todo))
        note = {"task": str(task), "of": task.of, "host": socket.gethostname(), "began": _now(), "ended": None}
        store.replace(task.key(_NOTE), json.dumps(note).encode())
        if todo:
            model = product.load_model()
            trial = Trial(model.input_spec, product.recipe.preprocessing, product.limits)
            in_work = task.key(TASK_IN_WORK)
            crashing = find_crashing(store, frozen, trial, [in_work], task.key(".crashed.jsonl"))
            duty = Duty(workspace, frozen, todo, carried(store, frozen), crashing, in_work)
            crew = Crew(product, model, effort.workers, effort.batch_size)
            for commit in crew.run(duty, watch.batch, watch.stopped):
                done[commit.index] = commit
        watch.raise_if_stopped()
        store.replace(task.key(_NOTE), json.dumps({**note, "ended": _now()}).encode())
    counts = sum((commit.counts for commit in done.values()), Counts())
    return TaskSummary(task, len(mine), counts, watch.extracted, time.monotonic() - started, output)


def finalize(output: str) -> RunSummary:
    """Makes what the tasks committed the dataset.

    Raises MissingShardsError, which names the tasks, while the plan is not done; DatasetError (LockedError while tasks
    are at work).
    """
    started = time.monotonic()
    store = open_store(output)
    if plan_file.load(store) is None:
        settle(store)
        return _summary(_require_dataset(store, output), store, started)
    with lock.hold(store):
        recover(store)
        frozen = plan_file.load(store)
        if frozen is None:
            return _summary(_require_dataset(store, output), store, started)
        product = Product.planned(frozen)
        workspace = Workspace(store, product.encoding)
        done = workspace.commits(frozen)
        missing = [shard.index for shard in frozen.shards if shard.index not in done]
        if missing:
            raise _missing(store, output, frozen, missing)
        return _summary(
            finishing.finish(workspace, frozen, product, standing_failures(store), finishing.Effort(started, 0)),
            store,
            started,
        )


def _require_dataset(store: Store, output: str) -> Manifest:
    found = manifest.load(store)
    if found is None:
        raise DatasetError(f"{output} has no plan; fvcli plan SOURCES -o {output} makes one")
    return found


def _summary(found: Manifest, store: Store, started: float) -> RunSummary:
    return RunSummary(
        counts=found.counts,
        extracted=0,
        seconds=time.monotonic() - started,
        output=store.place,
        model=found.model["name"],
        identity=found.model["identity"],
        failures_file=store.describe(found.failures[0].file) if found.failures else None,
    )


def _missing(store: Store, output: str, frozen: Plan, missing: Sequence[int]) -> MissingShardsError:
    notes = _notes(store)
    said = f"{output}: {len(missing)} of {len(frozen.shards)} shards are missing"
    if not notes:
        return MissingShardsError(f"{said}; no task has begun: fvcli extract -o {output} --task 1/N", missing, ())
    of = max(notes, key=lambda note: str(note["began"]))["of"]
    begun = {note["task"]: note for note in notes}
    tasks = [Task(number, of) for number in sorted({index % of + 1 for index in missing})]
    told = ", ".join(f"{task} ({_state(begun.get(str(task)))})" for task in tasks)
    return MissingShardsError(
        f"{said}: tasks {told}; run them again (fvcli extract -o {output} --task {tasks[0]}), then finalize",
        missing,
        [str(task) for task in tasks],
    )


def _state(note: Mapping[str, Any] | None) -> str:
    if note is None:
        return "not begun"
    return f"begun on {note['host']} at {note['began']}, not ended"


def _notes(store: Store) -> list[dict[str, Any]]:
    """What tasks that have begun left of themselves."""
    found = []
    for name in store.names(layout.TASKS):
        if name.endswith(_NOTE):
            try:
                found.append(schema.parse("task", store.read(f"{layout.TASKS}/{name}") or b""))
            except ValueError:
                continue
    return found


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
