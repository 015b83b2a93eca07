"""Runs on a Ray cluster of this machine: a head without CPUs and two raylets with one each."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.clusters import add_node, small_cluster
from tests.helpers.processes import children, command_line

pytestmark = pytest.mark.ray

FVCLI = Path(sys.executable).with_name("fvcli")
SHARD_SIZE = "10"
COPIES = 10
PATIENCE_SECONDS = 180.0


def test_without_ray_the_command_says_what_to_install(sample_images: Path, tmp_path: Path) -> None:
    (tmp_path / "ray.py").write_text("raise ImportError('no ray here')")
    done = subprocess.run(
        [FVCLI, "extract", sample_images, "-o", tmp_path / "f", "--on", "ray", "-q"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "pip install 'fvcli[ray]'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_cluster_that_is_not_there_is_told_in_one_line(sample_images: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    done = run(sample_images, tmp_path / "f", address)
    assert done.wait(timeout=PATIENCE_SECONDS) == 1
    assert f"no Ray cluster at {address}" in done.stderr.read()  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with small_cluster() as made:
        yield made


@pytest.fixture(scope="module")
def photographs(sample_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder large enough that something can be killed in the middle."""
    folder = tmp_path_factory.mktemp("photographs") / "photos"
    for copy in range(COPIES):
        shutil.copytree(sample_images, folder / str(copy), ignore=shutil.ignore_patterns("README.md"))
    return folder


@pytest.fixture(scope="module")
def local(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a local run."""
    output = tmp_path_factory.mktemp("local") / "f"
    done = subprocess.run([FVCLI, "extract", photographs, "-o", output, "--shard-size", SHARD_SIZE, "-q"], check=False)
    assert done.returncode == 3
    return files(output)


def files(output: Path) -> dict[str, bytes]:
    return {
        file.relative_to(output).as_posix(): file.read_bytes()
        for folder in ("data", "failures")
        for file in (output / folder).iterdir()
    }


def run(folder: Path, output: Path, address: str | None) -> subprocess.Popen[str]:
    on = [] if address is None else ["--on", "ray", "--ray-address", address]
    return subprocess.Popen(
        [FVCLI, "extract", folder, "-o", output, "--shard-size", SHARD_SIZE, "-q", "--json", "-b", "1", *on],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def finished(process: subprocess.Popen[str], code: int = 3) -> dict[str, Any]:
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == code, err
    assert err == ""
    return json.loads(out)  # type: ignore[no-any-return]


def committed(output: Path) -> list[Path]:
    return list((output / ".fvcli/commits").glob("*.json"))


def worker_processes(output: Path) -> list[int]:
    """The processes that have a shard in hand: they hold its record of inputs open."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                targets = [os.readlink(descriptor) for descriptor in (entry / "fd").iterdir()]
            except OSError:
                continue
            if any(target.startswith(str(output)) and ".in-work" in target for target in targets):
                found.append(int(entry.name))
    return found


def ray_drivers(run: subprocess.Popen[str]) -> list[int]:
    return [process for process in children(run.pid) if b"ray.driver" in command_line(process)]


def test_the_cluster_writes_the_bytes_of_a_local_run(
    cluster: Any, photographs: Path, local: dict[str, bytes], tmp_path: Path
) -> None:
    summary = finished(run(photographs, tmp_path / "f", cluster.address))
    assert summary["failed"] == COPIES
    assert files(tmp_path / "f") == local
    again = finished(run(photographs, tmp_path / "f", None))
    assert again["extracted"] == 0


def test_a_killed_actor_costs_nothing_but_time(
    cluster: Any, photographs: Path, local: dict[str, bytes], tmp_path: Path
) -> None:
    driver = run(photographs, tmp_path / "f", cluster.address)
    wait_for(lambda: committed(tmp_path / "f") and worker_processes(tmp_path / "f"))
    for process in worker_processes(tmp_path / "f")[:1]:
        os.kill(process, signal.SIGKILL)
    finished(driver)
    assert files(tmp_path / "f") == local


@pytest.mark.parametrize("then", ["ray", "local"])
def test_a_killed_driver_is_followed_by_a_run_anywhere(
    cluster: Any, photographs: Path, local: dict[str, bytes], tmp_path: Path, then: str
) -> None:
    driver = run(photographs, tmp_path / "f", cluster.address)
    wait_for(lambda: committed(tmp_path / "f"))
    (of_ray,) = ray_drivers(driver)
    driver.kill()
    driver.communicate()
    wait_for(lambda: not Path(f"/proc/{of_ray}").exists())
    wait_for(lambda: not worker_processes(tmp_path / "f"))
    finished(run(photographs, tmp_path / "f", cluster.address if then == "ray" else None))
    assert files(tmp_path / "f") == local


def test_a_killed_raylet_costs_nothing_but_time(
    cluster: Any, photographs: Path, local: dict[str, bytes], tmp_path: Path
) -> None:
    extra = add_node(cluster, cpus=1)
    driver = run(photographs, tmp_path / "f", cluster.address)
    wait_for(lambda: committed(tmp_path / "f"))
    cluster.remove_node(extra, allow_graceful=False)
    finished(driver)
    assert files(tmp_path / "f") == local


def test_when_the_driver_of_the_cluster_dies_the_run_says_so_and_the_next_goes_on(
    cluster: Any, photographs: Path, local: dict[str, bytes], tmp_path: Path
) -> None:
    first = run(photographs, tmp_path / "f", cluster.address)
    wait_for(lambda: committed(tmp_path / "f"))
    for process in ray_drivers(first):
        os.kill(process, signal.SIGKILL)
    _, err = first.communicate(timeout=PATIENCE_SECONDS)
    assert first.returncode == 1
    assert err == "fvcli: the driver of the Ray cluster ended by SIGKILL; run the same command to resume\n"
    wait_for(lambda: not worker_processes(tmp_path / "f"))
    finished(run(photographs, tmp_path / "f", cluster.address))
    assert files(tmp_path / "f") == local


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_and_its_actors(
    cluster: Any, photographs: Path, tmp_path: Path, number: signal.Signals
) -> None:
    for copy in range(4):
        shutil.copytree(photographs, tmp_path / "many" / str(copy), copy_function=os.link)
    stopped = run(tmp_path / "many", tmp_path / "f", cluster.address)
    wait_for(lambda: committed(tmp_path / "f"))
    stopped.send_signal(number)
    _, err = stopped.communicate(timeout=PATIENCE_SECONDS)
    assert stopped.returncode == 128 + number, err
    assert re.fullmatch(
        r"fvcli: interrupted: saved [\d,]+ of [\d,]+(; [\d,]+ more were read and will be again)?; "
        "run the same command to resume\n",
        err,
    )
    wait_for(lambda: not worker_processes(tmp_path / "f"))
