"""Shards on a Ray cluster: Ray Data hands out the numbers of planned shards, actors turn them into commits.

Only numbers and commit records travel. Plan, unit of work, commit and manifest are those of every other run, so a run
that began here can end elsewhere, and the other way round.
"""

from __future__ import annotations

import io
import logging
import os
import queue
import re
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fvcli.dataset import layout
from fvcli.dataset import plan as plan_file
from fvcli.dataset.commit import Commit, Workspace
from fvcli.dataset.store import open_store
from fvcli.errors import DatasetError, FvcliError, UsageError
from fvcli.models.quiet import stderr_without
from fvcli.remote import is_remote
from fvcli.run.crew import Crew, Duty, carried
from fvcli.run.in_work import TASK_IN_WORK
from fvcli.run.isolation import Trial
from fvcli.run.product import Product
from fvcli.run.request import RayOptions
from fvcli.run.suspects import find_crashing

if TYPE_CHECKING:
    from fvcli.run.watch import Watch

#: How often a worker may be started anew, and a shard handed out again, before the run gives up.
RESTARTS = 8
_LOOK_SECONDS = 0.2
_CONNECT_SECONDS = 10.0
_GREETING = re.compile(rb"Set ray log level from environment variable")


class RayError(FvcliError):
    """The cluster cannot be reached, or gave up."""


@dataclass(frozen=True, slots=True)
class _Job:
    """What an actor has to know; everything else is in the plan."""

    output: str
    folder: str
    plan: str
    threads: int
    batch_size: int


class _Actor:
    """One process of the cluster: loads the model once, then does a shard for each call."""

    def __init__(self, job: _Job) -> None:
        with suppress(OSError):  # relative sources mean what they mean to the driver, where its folder exists
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


class _Worker:
    """An actor as Ray Data calls it. Our own errors come back as values: Ray would wrap and retry them."""

    def __init__(self, job: _Job) -> None:
        self._job = job
        self._actor: _Actor | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        try:
            self._actor = self._actor or _Actor(self._job)
            commit = self._actor.commit(int(batch["index"][0]))
            return {"commit": [commit.to_bytes()], "error": [""]}
        except FvcliError as error:
            return {"commit": [b""], "error": [str(error)]}


def run_on_ray(duty: Duty, output: str, options: RayOptions, batch_size: int, watch: Watch) -> Iterator[Commit]:
    """Yields each commit as it comes, in any order, and tells ``watch``. The duty's todo must not be empty.

    Raises UsageError without Ray; RayError; what stopped an actor as DatasetError; StoppedError. Whenever it ends, the
    actors end with it.
    """
    _require_ray()
    place = output if is_remote(output) else os.path.abspath(output)
    threads = options.cpus_per_worker
    job = _Job(place, os.getcwd(), duty.plan.id, threads, batch_size)
    shards = {shard.index: shard for shard in duty.todo}
    duty.workspace.store.make_folder(layout.TASKS)
    with _hushed(), _connected(options.address) as cpus:
        most = max(1, cpus // threads)
        workers = min(options.workers or most, len(shards))
        if workers > most:
            raise RayError(f"{workers} workers of {threads} CPUs are wanted, the cluster has {cpus} CPUs")
        rows = _rows(job, list(shards), workers)
        for row in _polled(rows, watch):
            if row["error"]:
                raise DatasetError(f"on a worker: {row['error']}")
            commit = Commit.from_bytes(row["commit"])
            watch.inputs(shards[commit.index].extract, commit.counts.extracted, commit.failures)
            yield commit


def _require_ray() -> None:
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")  # our thread must not begin anew what has been shut down
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        raise UsageError(f"--on ray needs Ray: pip install 'fvcli[ray]' here and on the cluster ({error})") from None


@contextmanager
def _connected(address: str) -> Iterator[int]:
    """The number of CPUs of the cluster, as long as this process is its driver."""
    import ray

    _require_answer(address)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with stderr_without(_GREETING):
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, namespace="fvcli")
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise _no_cluster(address, error) from None
    try:
        if threading.current_thread() is threading.main_thread():  # Ray puts its own in the place of SIGTERM's
            for number, handler in handlers.items():
                signal.signal(number, handler)
        yield int(ray.cluster_resources().get("CPU", 0))
    finally:
        # What the cluster said last, of a node that died for example, Ray prints from this thread, and to stdout.
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            ray.shutdown()


def _require_answer(address: str) -> None:
    """Ray would try for a minute what a connection tells at once. Raises RayError."""
    host, _, port = address.rpartition(":")
    if not host:
        return
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:
        raise _no_cluster(address, error) from None


def _no_cluster(address: str, error: Exception) -> RayError:
    reason = str(error).strip().split("\n", 1)[0]
    return RayError(f"no Ray cluster at {address}: {reason} (ray start --head begins one; see --ray-address)")


@contextmanager
def _hushed() -> Iterator[None]:
    """Keeps Ray's threads from writing between our lines, stdout above all: what matters reaches the run as an error.

    A run that ends early takes the cluster from under some of them, and they stay silent about that for good.
    """
    before = threading.excepthook

    def hook(args: threading.ExceptHookArgs) -> None:
        if args.thread is None or not args.thread.name.startswith("ray"):
            before(args)

    threading.excepthook = hook
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_OthersOnly(stream) for stream in streams)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams


class _OthersOnly(io.TextIOBase):
    """A stream that drops what Ray's threads write."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        if threading.current_thread().name.startswith("ray"):
            return len(text)
        return int(self._stream.write(text))

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return bool(self._stream.isatty())

    def fileno(self) -> int:
        return int(self._stream.fileno())


def _rows(job: _Job, todo: list[int], workers: int) -> Iterator[dict[str, Any]]:
    import ray

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    items = ray.data.from_items([{"index": index} for index in todo], override_num_blocks=len(todo))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the last two have no other way in yet
        commits = items.map_batches(
            _Worker,
            fn_constructor_args=(job,),
            batch_size=1,
            num_cpus=job.threads,
            compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=2),
            max_restarts=RESTARTS,
            max_task_retries=RESTARTS,
        )
    yield from commits.iter_rows()


def _polled(rows: Iterator[dict[str, Any]], watch: Watch) -> Iterator[dict[str, Any]]:
    """The rows as another thread gets them, so that a signal is heard meanwhile. Raises RayError and StoppedError."""
    arrived: queue.SimpleQueue[dict[str, Any] | BaseException | None] = queue.SimpleQueue()

    def fetch() -> None:
        try:
            for row in rows:
                arrived.put(row)
            arrived.put(None)
        except BaseException as error:
            arrived.put(error)

    threading.Thread(target=fetch, name="ray", daemon=True).start()
    while True:
        watch.raise_if_stopped()
        try:
            item = arrived.get(timeout=_LOOK_SECONDS)
        except queue.Empty:
            continue
        if item is None:
            return
        if isinstance(item, BaseException):
            lines = str(item).strip().split("\n")
            raise RayError(f"Ray gave up: {lines[-1]} ({type(item).__name__})") from item
        yield item
