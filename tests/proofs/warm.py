"""pytest in a fork of a process that has loaded what tests load, but nothing of fvcli: starting it takes no second."""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_LIBRARIES = (
    *("numpy", "pyarrow", "pyarrow.parquet", "pyarrow.ipc", "pyarrow.compute", "PIL.Image", "PIL.ImageFile"),
    *("pytest", "_pytest.assertion.rewrite", "_pytest.junitxml", "pytest_timeout", "xdist.plugin", "typer.testing"),
    *("ai_edge_litert.interpreter", "fastjsonschema", "jsonschema", "tqdm", "duckdb", "pandas"),
)


def pytest_in(checkout: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
    """The exit code of pytest over a checkout, and what it said. Not for a process with threads."""
    _load()
    log = checkout.with_name("pytest.log")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = _run(checkout, arguments, environment, log)
        finally:
            for stream in (sys.stdout, sys.stderr):
                with suppress(Exception):
                    stream.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), log.read_text("utf-8", "replace")


def _load() -> None:
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # no threads before the fork
    try:
        for name in _LIBRARIES:
            with suppress(ImportError):
                importlib.import_module(name)
    finally:
        del os.environ["OPENBLAS_NUM_THREADS"]
    assert threading.active_count() == 1


def _run(checkout: Path, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> int:
    import pytest

    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.setpgid(0, 0)
    os.chdir(checkout)
    os.environ.update(environment, PYTHONPATH=str(checkout))
    for name in [name for name in sys.modules if name.split(".")[0] in ("fvcli", "tests", "training", "benchmarks")]:
        del sys.modules[name]
    sys.path[:] = [str(checkout), *(path for path in sys.path if path not in ("", str(Path(__file__).parents[2])))]
    return int(pytest.main(list(arguments)))
