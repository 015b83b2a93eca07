"""The driver of a Ray cluster, as a process of its own: ``python -P -m fvcli.run.ray.driver``.

It takes one JSON line, the fields of :class:`ClusterRequest`, on stdin, and writes one to stdout for each shard:
``{"commit": ...}``, the text of a commit record. The last line is ``{"done": true}``, or what went wrong:
``{"usage": ...}``, ``{"cluster": ...}``, ``{"worker": ...}``. When stdin ends it ends at once, and Ray ends the actors
of a driver that is gone.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fvcli.errors import FvcliError, first_line
from fvcli.run.ray.actor import ActorOptions, RayWorker

#: How often a worker may be restarted, and a shard assigned again, before the run fails.
RESTARTS = 8
_CONNECT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class ClusterRequest:
    """``todo``: the numbers of the shards; ``workers``: actors, None for all that fit."""

    address: str
    workers: int | None
    todo: list[int]
    actor: ActorOptions


class RayError(FvcliError):
    """The cluster cannot be reached, is too small, or gave up."""


def _answers(request: ClusterRequest) -> Iterator[dict[str, Any]]:
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        yield {"usage": f"--on ray needs Ray: pip install 'fvcli[ray]' here and on the cluster ({error})"}
        return
    try:
        with _connected(request.address) as cpus:
            for row in _rows(request.actor, request.todo, _workers(request, cpus)):
                if row["error"]:
                    yield {"worker": row["error"]}
                    return
                yield {"commit": row["commit"].decode()}
        yield {"done": True}
    except RayError as error:
        yield {"cluster": str(error)}
    except Exception as error:
        lines = str(error).strip().split("\n")
        yield {"cluster": f"Ray gave up: {lines[-1]} ({type(error).__name__})"}


@contextmanager
def _connected(address: str) -> Iterator[int]:
    """The number of CPUs of the cluster, as long as this process is its driver. Raises RayError."""
    import ray

    _require_answer(address)
    try:
        ray.init(address=address, log_to_driver=False, namespace="fvcli")
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise _no_cluster(address, error) from None
    try:
        yield int(ray.cluster_resources().get("CPU", 0))
    finally:
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
    return RayError(
        f"no Ray cluster at {address}: {first_line(error)} (ray start --head begins one; see --ray-address)"
    )


def _workers(request: ClusterRequest, cpus: int) -> int:
    """The number of actors to start. Raises RayError."""
    threads = request.actor.threads
    most = max(1, cpus // threads)
    workers = min(request.workers or most, len(request.todo))
    if workers > most:
        raise RayError(f"{workers} workers of {threads} CPUs are wanted, the cluster has {cpus} CPUs")
    return workers


def _rows(options: ActorOptions, todo: list[int], workers: int) -> Iterator[dict[str, Any]]:
    import ray

    logging.getLogger("ray.data").setLevel(logging.ERROR)  # else each step of a long run is a line in Ray's log folder
    ray.data.DataContext.get_current().enable_progress_bars = False
    items = ray.data.from_items([{"index": index} for index in todo], override_num_blocks=len(todo))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the last two have no other way in yet
        commits = items.map_batches(
            RayWorker,
            fn_constructor_args=(options,),
            batch_size=1,
            num_cpus=options.threads,
            compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=2),
            max_restarts=RESTARTS,
            max_task_retries=RESTARTS,
        )
    yield from commits.iter_rows()


def _end_with_the_run() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)


def _main() -> None:
    answers = os.dup(1)
    os.dup2(2, 1)  # Ray prints to stdout
    fields = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_the_run, daemon=True).start()
    with os.fdopen(answers, "w") as out:
        for answer in _answers(ClusterRequest(**fields | {"actor": ActorOptions(**fields["actor"])})):
            print(json.dumps(answer), file=out, flush=True)


if __name__ == "__main__":
    _main()
