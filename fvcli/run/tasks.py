"""A plan that several processes share without knowing of each other, for batch queues and shared folders.

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

from fvcli.dataset import layout, lock, manifest
from fvcli.dataset.manifest import Counts, Manifest
from fvcli.dataset.plan import Plan, PlannedShard
from fvcli.dataset.standing import join, settle, take_up
from fvcli.dataset.store import Store, open_store
from fvcli.errors import DatasetError, UsageError
from fvcli.models.loading import load_model
from fvcli.records import Limit
from fvcli.run.crashes import Notes
from fvcli.run.extract import Run, RunSummary, finish
from fvcli.run.pool import Part, Resources
from fvcli.run.request import ExtractRequest, Observer
from fvcli.run.shard import RunProgress
from fvcli.run.spec import DatasetSpec

_NOTE = ".json"


@dataclass(frozen=True, slots=True)
class Planned:
    """The extent of a plan. ``done`` is the number of its shards that are committed already."""

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

    def shards(self, plan: Plan) -> list[PlannedShard]:
        """Every ``of``-th shard, so that all tasks get the same mix whatever the order of the inputs."""
        return list(plan.shards[self.number - 1 :: self.of])

    def key(self, suffix: str) -> str:
        """The key of this task's own file of some kind."""
        return f"{layout.TASKS}/{self.number:05d}-of-{self.of:05d}{suffix}"


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

    A plan that was made for the same request stays. Raises UsageError, ModelError, DatasetError (LockedError) and
    StoppedError.
    """
    started = time.monotonic()
    model = load_model(request.model, request.engine)
    store = open_store(request.output)
    store.make_folder()
    with lock.hold(store) as lease:
        run = Run(request, model, store, lease, RunProgress(observer, request.max_failures), started)
        standing = run.take_up()
        if not run.continues(standing):
            standing = run.plan(run.set_aside(standing))
            if not standing.require_plan().has_work:
                run.carry_out(standing, {})
    made = standing.require_plan()
    return Planned(request.output, len(made.shards), len(standing.commits), made.extract)


def work(output: str, task: Task, resources: Resources, max_failures: Limit | None, observer: Observer) -> TaskSummary:
    """Does what is still to be done of one slice of the plan that waits in ``output``.

    Raises ModelError, DatasetError (LockedError when another process has the same slice, or the whole dataset),
    TooManyFailuresError and StoppedError; what was committed stays, and the same call resumes from there.
    """
    started = time.monotonic()
    store = open_store(output)
    if not store.exists(layout.PLAN):  # no folder for a lock where there is no dataset
        _require_dataset(store, output)
        return TaskSummary(task, 0, Counts(), 0, 0.0, output)
    progress = RunProgress(observer, max_failures)
    with lock.hold(store, task.key(lock.TASK_LOCK)) as lease:
        standing = join(store, task.shards)
        if standing.plan is None:
            _require_dataset(store, output)
            return TaskSummary(task, 0, Counts(), 0, 0.0, output)
        note = {"task": str(task), "of": task.of, "host": socket.gethostname(), "began": _now(), "ended": None}
        store.replace(task.key(_NOTE), json.dumps(note).encode())
        mine = task.shards(standing.plan)
        todo, done = standing.todo(mine), dict(standing.commits)
        total = sum(shard.extract for shard in mine)
        progress.expect(total, total - sum(shard.extract for shard in todo))
        if todo:
            for commit in Part(store, standing, resources).run(todo, Notes.of_part(task.key("")), progress, lease):
                done[commit.index] = commit
        progress.raise_if_stopped(sum(shard.extract for shard in mine if shard.index in done))
        lease.require()
        store.replace(task.key(_NOTE), json.dumps({**note, "ended": _now()}).encode())
    counts = sum((commit.counts for commit in done.values()), Counts())
    return TaskSummary(task, len(mine), counts, progress.extracted, time.monotonic() - started, output)


def finalize(output: str) -> RunSummary:
    """Makes what the tasks committed the dataset.

    Raises MissingShardsError, which names the tasks, while the plan is not done; DatasetError (LockedError while tasks
    are at work).
    """
    started = time.monotonic()
    store = open_store(output)
    if not store.exists(layout.PLAN):  # no lock, and no folder for one, where there is no dataset
        settle(store)
        return RunSummary.of(store, _require_dataset(store, output), started, 0)
    with lock.hold(store):
        standing = take_up(store)
        if standing.plan is None:
            return RunSummary.of(store, _require_dataset(store, output), started, 0)
        missing = [shard.index for shard in standing.todo(standing.plan.shards)]
        if missing:
            raise _missing(store, output, standing.plan, missing)
        spec = DatasetSpec.planned(standing.plan)
        return RunSummary.of(store, finish(store, spec, standing, started, 0), started, 0)


def _require_dataset(store: Store, output: str) -> Manifest:
    found = manifest.load(store)
    if found is None:
        raise DatasetError(f"{output} has no plan; fvcli plan SOURCES -o {output} makes one")
    return found


def _missing(store: Store, output: str, plan: Plan, missing: Sequence[int]) -> MissingShardsError:
    begun_tasks = notes(store)
    said = f"{output}: {len(missing)} of {len(plan.shards)} shards are missing"
    if not begun_tasks:
        return MissingShardsError(f"{said}; no task has begun: fvcli extract -o {output} --task 1/N", missing, ())
    of = max(begun_tasks, key=lambda note: str(note["began"]))["of"]
    begun = {note["task"]: note for note in begun_tasks}
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


def notes(store: Store) -> list[dict[str, Any]]:
    """The notes of tasks that have begun: task, of, host, began, ended."""
    found = []
    for name in store.names(layout.TASKS):
        if name.endswith(_NOTE):
            try:
                found.append(layout.parse("task", store.read(f"{layout.TASKS}/{name}") or b""))
            except ValueError:
                continue
    return found


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
