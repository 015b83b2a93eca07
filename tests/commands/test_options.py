"""Places that a command is to write to: files are replaced, all else is left as it is."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from pathlib import Path

import pytest
from typer.testing import Result

from tests.helpers.commands import here


def fvcli(*arguments: str | Path, cwd: Path) -> Result:
    """A command that must not wait for a reader or writer of a pipe."""
    with contextlib.chdir(cwd):
        return here(*arguments)


pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with one of everything that is no regular file."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "precious").write_text("not to be lost")
    (tmp_path / "link").symlink_to("precious")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "null").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(tmp_path / "socket"))
    return tmp_path


ODD = ["pipe", "folder", "link", "dangling", "null", "socket", "/dev/null"]


def state(place: Path) -> dict[str, tuple[int, str]]:
    found = {
        file.name: (file.lstat().st_mode, str(file.readlink()) if file.is_symlink() else "") for file in place.iterdir()
    }
    return {**found, "/dev/null": (stat.S_IFMT(os.lstat("/dev/null").st_mode), "")}


@pytest.mark.parametrize("name", ODD)
def test_metrics_replace_nothing_but_files(place: Path, sample_images: Path, name: str) -> None:
    before = state(place)
    done = fvcli("extract", sample_images / "cat.jpg", "-o", "f", "--metrics-file", name, cwd=place)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"fvcli: --metrics-file {name} is ")
    aims = {"link": "precious", "dangling": "nowhere", "null": "/dev/null"}
    assert (f"is a symbolic link to {aims.get(name)}: name that file" in done.stderr) is (name in aims)
    assert state(place) == before
    assert (place / "precious").read_text() == "not to be lost"


@pytest.mark.parametrize("name", [name for name in ODD if name != "folder"])
def test_a_dataset_is_written_into_no_thing_but_a_folder(place: Path, sample_images: Path, name: str) -> None:
    before = state(place)
    for command in ("extract", "plan"):
        done = fvcli(command, sample_images / "cat.jpg", "-o", name, cwd=place)
        assert done.exit_code == 2, done.stderr
        assert done.stderr.startswith(f"fvcli: -o {name} is ")
    assert state(place) == before


def test_a_link_to_a_folder_is_a_folder(place: Path, sample_images: Path) -> None:
    (place / "linked").symlink_to("folder")
    assert fvcli("extract", sample_images / "cat.jpg", "-o", "linked", cwd=place).exit_code == 0
    assert (place / "linked").is_symlink()
    assert (place / "folder" / "manifest.json").exists()


@pytest.mark.parametrize("name", ODD)
def test_the_report_replaces_nothing_but_files(place: Path, sample_images: Path, name: str) -> None:
    assert fvcli("extract", sample_images / "cat.jpg", "-o", "f", cwd=place).exit_code == 0
    before = state(place)
    done = fvcli("report", "f", "-o", name, cwd=place)
    assert done.exit_code == 2, done.stderr
    assert state(place) == before
