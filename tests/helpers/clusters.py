"""A Ray cluster of this machine's own, for tests and for measurements."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def small_cluster(raylets: int = 2) -> Iterator[Any]:
    """A head without CPUs and raylets with one each, in the environment of now; all their processes end with it."""
    pytest.importorskip("ray")
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    try:
        for cpus in (0, *[1] * raylets):
            add_node(cluster, cpus)
        yield cluster
    finally:
        cluster.shutdown()


def add_node(cluster: Any, cpus: int) -> Any:
    """Ray gives a node half a minute to come up, which a busy machine may not."""
    for attempt in range(4):
        try:
            return cluster.add_node(
                num_cpus=cpus, include_dashboard=False, object_store_memory=100 * 1024**2, **_ports()
            )
        except (AttributeError, ImportError, TypeError, ValueError):
            raise  # another Ray, or a mistake here: no matter of time
        except Exception as error:
            if attempt == 3:
                pytest.skip(f"the machine is too busy to start a Ray node: {error}")
    return None


def _ports() -> dict[str, int]:
    """Free ports for a node's agents: choosing their own, they can be too slow for their raylet."""
    names = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")
    sockets = [socket.socket() for _ in names]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return dict(zip(names, [one.getsockname()[1] for one in sockets], strict=True))
    finally:
        for one in sockets:
            one.close()
