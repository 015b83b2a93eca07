"""Installations: the lean one of docs/models.md is built as documented, and everything but TensorFlow works in it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

TENSORFLOW = {"tensorflow", "tensorflow-hub", "packaging"}
Run = Callable[..., subprocess.CompletedProcess[str]]


def documented_commands(repository: Path) -> list[str]:
    """The commands in the page's section on the lean installation."""
    page = (repository / "docs" / "models.md").read_text("utf-8")
    section = page.split("## Installation without TensorFlow")[1].split("\n## ")[0]
    return [line.strip() for line in section.splitlines() if line.startswith("    pip install")]


def test_the_lean_requirements_are_all_but_tensorflow(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text("utf-8"))["project"]
    every = project["dependencies"]
    assert {re.split(r"[^\w-]", each)[0] for each in every} >= TENSORFLOW
    wanted = [each for each in every if re.split(r"[^\w-]", each)[0] not in TENSORFLOW]
    lines = (repository / "requirements-lean.txt").read_text("utf-8").splitlines()
    assert [line for line in lines if not line.startswith("#")] == wanted


def test_what_belongs_to_tensorflow_is_left_out_where_it_has_no_wheel(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text("utf-8"))["project"]
    marked = [each for each in project["dependencies"] if re.split(r"[^\w-]", each)[0] in TENSORFLOW]
    assert len(marked) == 3
    assert all(each.endswith("; python_version < '3.14'") for each in marked)


@pytest.fixture(scope="module")
def lean(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A runner of fvcli in a new environment, made by the documented commands; skipped without a package index."""
    folder = tmp_path_factory.mktemp("lean")
    source = folder / "source"
    source.mkdir()
    # A copy, since building leaves files beside what is built.
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(repository / "fvcli", source / "fvcli", ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE", "requirements-lean.txt"):
        shutil.copy(repository / name, source / name)
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    scripts = folder / "venv" / "bin"
    commands = documented_commands(repository)
    assert len(commands) == 2
    for command in commands:
        pip, *arguments = command.split()
        done = subprocess.run(
            [scripts / pip, *arguments, "-q", "--no-compile"], cwd=source, capture_output=True, text=True, check=False
        )
        if done.returncode and "connection broken by" in done.stderr:  # pip's words where it reaches no index
            pytest.skip(f"needs a package index: {done.stderr.strip().splitlines()[-1]}")
        assert done.returncode == 0, done.stderr

    def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "FVCLI_CACHE": str(folder / "cache"), "PYTHONPATH": ""}
        return subprocess.run(
            [scripts / "fvcli", *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
            env=environment,
            **options,
        )

    packages = {path.name for path in (folder / "venv").glob("lib/python*/site-packages/*")}
    assert not packages & {"tensorflow", "keras", "tensorflow_hub", "tf_keras"}
    return run


@pytest.mark.slow
def test_everything_but_tensorflow_works_in_a_lean_installation(lean: Run, photographs: Path) -> None:
    images = str(photographs)
    assert lean("extract", images, "-o", "f", "--labels", "3", "-q").returncode == 0
    for arguments in (
        ["verify", "f"],
        ["verify", "f", "--recompute", "3"],
        ["inspect", "f"],
        ["neighbors", "f", "cat.jpg"],
        ["duplicates", "f"],
        ["report", "f", "-o", "page.html"],
        ["selftest"],
        ["models", "list"],
        ["models", "show", "embedded"],
        ["models", "verify"],
        ["models", "export", "embedded", "--as", "tflite"],
        ["extract", images, "-m", "fvcli_embedded_160.tflite", "-o", "g"],
    ):
        done = lean(*arguments)
        assert done.returncode == 0, (arguments, done.stderr)
    streamed = lean("extract", "--files-from", "-", "-o", "-", "--format", "jsonl", "-q", input=f"{images}/cat.jpg\n")
    assert streamed.returncode == 0, streamed.stderr
    assert len(json.loads(streamed.stdout)["embedding"]) == 1024


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["selftest", "--engine", "tensorflow"],
        ["models", "export", "embedded", "--as", "saved-model"],
        ["extract", "{images}", "-o", "t", "--engine", "tensorflow"],
        ["extract", "{images}", "-o", "t", "-m", "google/imagenet/mobilenet_v1_100_160/quantops/feature_vector/3"],
    ],
    ids=" ".join,
)
def test_what_needs_tensorflow_is_one_line_there(lean: Run, photographs: Path, arguments: list[str]) -> None:
    done = lean(*[each.format(images=photographs) for each in arguments])
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert "needs tensorflow, which is not installed; install it with: pip install 'tensorflow'" in done.stderr
