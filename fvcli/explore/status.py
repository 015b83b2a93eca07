"""The status of a run over a dataset: in progress, interrupted, or planned and not begun."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

from fvcli.dataset import commit, layout, lock
from fvcli.dataset.plan import Plan
from fvcli.dataset.standing import Standing, join
from fvcli.dataset.store import Store
from fvcli.run import crashes, tasks

State: TypeAlias = Literal["running", "interrupted", "planned"]


@dataclass(frozen=True, slots=True)
class RunningProcess:
    """A process at work: the whole run's, or that of one task of a plan ("3/8"). since: ISO 8601, UTC."""

    task: str | None
    host: str
    pid: int | None
    since: str | None


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """A task that has begun. ended: None where it is at work or was interrupted."""

    task: str
    host: str
    began: str
    ended: str | None


@dataclass(frozen=True, slots=True)
class RunStatus:
    """An unfinished run. done, total: inputs to read; those in the shards in work count as far as they are known.

    images_per_second: since the first of the workers began; None where nobody works or nothing is finished yet.
    seconds_left: at that rate.
    """

    folder: str
    state: State
    done: int
    total: int
    failed: int
    shards_done: int
    shards: int
    images_per_second: float | None
    seconds_left: float | None
    workers: tuple[RunningProcess, ...]
    tasks: tuple[TaskStatus, ...]
    updates: bool

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def status_of(store: Store) -> RunStatus | None:
    """The unfinished run over a dataset, None where there is none. Changes nothing. Raises DatasetError."""
    workers = _workers(store)
    standing = join(store, lambda plan: plan.shards)
    plan = standing.plan
    if plan is None:
        if not workers:
            return None
        return RunStatus(store.place, "running", 0, 0, 0, 0, 0, None, None, workers, (), standing.manifest is not None)
    finished = sum(shard.extract for shard in plan.shards if shard.index in standing.commits)
    in_work = _in_work(store, standing, plan)
    rate = _rate(store, standing, plan, workers, in_work)
    left = plan.extract - finished - in_work
    state: State = "running" if workers else "interrupted" if finished or _has_begun(store) else "planned"
    return RunStatus(
        folder=store.place,
        state=state,
        done=finished + in_work,
        total=plan.extract,
        failed=sum(done.counts.failed for done in standing.commits.values()),
        shards_done=len(standing.commits),
        shards=len(plan.shards),
        images_per_second=None if rate is None else round(rate, 1),
        seconds_left=None if not rate else round(left / rate, 1),
        workers=workers,
        tasks=_tasks(store),
        updates=standing.manifest is not None,
    )


def _in_work(store: Store, standing: Standing, plan: Plan) -> int:
    """Inputs that were read in shards that are not committed yet, as far as their workers note it."""
    extract = {shard.index: shard.extract for shard in plan.shards if shard.index not in standing.commits}
    return sum(min(position, extract[shard]) for shard, position in crashes.in_hand(store).items() if shard in extract)


def _workers(store: Store) -> tuple[RunningProcess, ...]:
    found = []
    for key in (layout.LOCK, *lock.task_locks(store)):
        held = lock.holder(store, key)
        if held is not None:
            pid = held.get("pid")
            since = held.get("since")
            found.append(
                RunningProcess(
                    task=None if key == layout.LOCK else _task_of(key),
                    host=str(held.get("host", "?")),
                    pid=pid if isinstance(pid, int) else None,
                    since=None if since is None else str(since),
                )
            )
    return tuple(found)


def _task_of(key: str) -> str:
    """ "3/8" from ".fvcli/tasks/00003-of-00008.lock"."""
    number, _, of = key.rsplit("/", 1)[1].removesuffix(lock.TASK_LOCK).partition("-of-")
    return f"{int(number)}/{int(of)}" if number.isdecimal() and of.isdecimal() else number


def _tasks(store: Store) -> tuple[TaskStatus, ...]:
    return tuple(TaskStatus(note["task"], note["host"], note["began"], note["ended"]) for note in tasks.notes(store))


def _has_begun(store: Store) -> bool:
    """Whether anybody has worked on the plan: the notes of those who died lie there."""
    return bool(crashes.in_hand(store) or tasks.notes(store))


def _rate(
    store: Store, standing: Standing, plan: Plan, workers: Sequence[RunningProcess], in_work: int
) -> float | None:
    """Images per second since the first worker began."""
    began = _began(workers)
    if began is None:
        return None
    extract: Mapping[int, int] = {shard.index: shard.extract for shard in plan.shards}
    done = in_work
    for index in standing.commits:
        changed = store.modified(commit.record_key(index))
        if changed is not None and changed >= began:
            done += extract[index]
    seconds = time.time() - began
    return done / seconds if done and seconds > 0 else None


def _began(workers: Sequence[RunningProcess]) -> float | None:
    times = []
    for worker in workers:
        try:
            times.append(datetime.fromisoformat(worker.since or "").timestamp())
        except ValueError:
            continue
    return min(times, default=None)
