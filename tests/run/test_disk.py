"""Disks that are full, broken, read-only or gone: exit 1 and one line for the output, a failure line for an input."""

from __future__ import annotations

import errno
import os
import random
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fvcli.errors import DatasetError
from fvcli.sources import folders
from tests.helpers import commands, contents, pictures
from tests.helpers.commands import Forks
from tests.helpers.in_process import Bench
from tests.proofs import refusals
from tests.proofs.refusals import arguments, prepare, told

LATER = pictures.SOME_TIME_NS + 10**9


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks() as running:
        yield running


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a tmpfs with the given options; skips where this is not allowed."""
    mounted: list[Path] = []

    def mounting(options: str) -> Path:
        place = tmp_path / f"mounted-{len(mounted)}"
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        try:
            done = subprocess.run(command, capture_output=True, check=False)
        except FileNotFoundError:
            pytest.skip("there is no mount command")
        if done.returncode:
            pytest.skip(f"cannot mount a tmpfs: {done.stderr.decode().strip()}")
        mounted.append(place)
        return place

    yield mounting
    for place in mounted:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("update", [False, True], ids=["first run", "update"])
@pytest.mark.parametrize("error", ["ENOSPC+", "EIO", "EROFS+"])
def test_a_disk_that_refuses_at_some_call_costs_nothing(
    forks: Forks, memory_path: Path, error: str, update: bool
) -> None:
    """``python -m tests.proofs.refusals`` does so at every call."""
    rng = random.Random(f"{error} {update}")

    def choose(calls: Sequence[str]) -> list[int]:
        return rng.sample([number for number, call in enumerate(calls, start=1) if call != "write"], 2)

    runs, _ = refusals.sweep(memory_path, forks, error, update, choose)
    assert runs == 2


@pytest.mark.slow
def test_a_disk_without_inodes_is_told_from_a_full_one(
    forks: Forks, memory_path: Path, mount: Callable[[str], Path]
) -> None:
    prepare(memory_path, forks, update=False)
    place = mount("size=50m,nr_inodes=9")
    done = forks.run("extract", memory_path / "photographs", "-o", place / "features", "-q")
    assert (done.code, done.said.count("\n")) == (1, 1)
    assert "no inodes left (df -i); remove some files" in done.said


@pytest.mark.slow
def test_a_full_disk_is_told_and_freeing_space_completes_the_run(
    forks: Forks, memory_path: Path, mount: Callable[[str], Path]
) -> None:
    prepare(memory_path, forks, update=False)
    assert forks.run(*arguments(memory_path)).code == 3
    expected = contents.state(memory_path / "features")
    place = mount("size=1m")
    (place / "others").write_bytes(b"\0" * 300_000)
    command = [*arguments(memory_path)[:3], place / "features", *arguments(memory_path)[4:]]
    filler = place / "filler"
    failed = 0
    for free in (0, 4, 30, 60, 90, 200):
        space = os.statvfs(place)
        filler.write_bytes(b"\0" * max(0, space.f_bavail * space.f_frsize - free * 1024))
        done = forks.run(*command)
        if done.code == 1:
            told(done, "the disk is full; free some space and run the same command again")
            failed += 1
        if (place / "features").exists():
            contents.check_moment(place / "features")
        filler.unlink()
    assert failed >= 3
    assert forks.run(*command).code == 3
    assert contents.state(place / "features") == expected
    assert forks.run("verify", place / "features").code == 0


@pytest.mark.slow
def test_a_read_only_file_system_is_told(forks: Forks, memory_path: Path, mount: Callable[[str], Path]) -> None:
    prepare(memory_path, forks, update=False)
    place = mount("size=4m")
    command = [*arguments(memory_path)[:3], place / "features", *arguments(memory_path)[4:]]
    assert forks.run(*command).code == 3
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
    told(forks.run(*command), "the file system is read-only")
    assert forks.run("verify", place / "features").code == 0, "reading needs no writing"
    told(forks.run(*command[:3], place / "elsewhere"), "the file system is read-only")


@pytest.mark.slow
def test_a_limit_on_file_sizes_is_told(forks: Forks, memory_path: Path) -> None:
    prepare(memory_path, forks, update=False)
    limited = subprocess.run(
        [commands.FVCLI, *map(str, arguments(memory_path))],
        capture_output=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )
    told(commands.Outcome(limited.returncode, limited.stderr.decode()), "File too large")
    assert forks.run(*arguments(memory_path)).code == 3


@pytest.mark.slow
def test_few_open_files_are_enough(forks: Forks, memory_path: Path) -> None:
    prepare(memory_path, forks, update=False)
    limited = subprocess.run(
        [commands.FVCLI, *map(str, arguments(memory_path))],
        capture_output=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32)),
    )
    assert limited.returncode == 3, limited.stderr
    assert len(contents.rows(memory_path / "features")) == 30


@pytest.mark.slow
def test_nothing_is_written_elsewhere(forks: Forks, memory_path: Path) -> None:
    """A run works although /tmp is full."""
    prepare(memory_path, forks, update=False)
    script = (
        "import sys, tempfile; tempfile.tempdir = '/nowhere'; sys.argv[0] = 'fvcli'\nfrom fvcli.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments(memory_path))], capture_output=True, text=True, check=False
    )
    assert done.returncode == 3, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["a file", "below a file"])
def test_an_output_that_is_no_folder_is_told(forks: Forks, tmp_path: Path, kind: str) -> None:
    prepare(tmp_path, forks, update=False)
    (tmp_path / "file").write_text("mine")
    output = tmp_path / "file" if kind == "a file" else tmp_path / "file" / "features"
    done = forks.run("extract", tmp_path / "photographs", "-o", output)
    assert done.code == (2 if kind == "a file" else 1), done
    told(replace(done, code=1), str(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.EIO, "IOError"), (errno.EMFILE, "IOError"), (errno.EACCES, "PermissionDenied"), (errno.ESTALE, "IOError")],
)
def test_an_input_that_cannot_be_read_is_a_failure_line(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, number: int, kind: str
) -> None:
    pictures.make_folder(bench.photographs, range(12))
    opening = os.open

    def failing(path: object, *arguments: int, **options: int) -> int:
        if os.fsencode(path).endswith(b"0005.png"):  # type: ignore[arg-type]
            raise OSError(number, os.strerror(number))
        return opening(path, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(folders.os, "open", failing)
    bench.extract()
    monkeypatch.setattr(folders.os, "open", opening)
    (line,) = contents.failures(bench.features)
    assert (line["path"], line["stage"], line["error"]) == ("0005.png", "read", kind)
    assert len(bench.rows()) == 11
    assert bench.extract() == 1, "what the world refused is tried in every run"
    assert bench.failed() == {}


def test_inputs_that_go_away_or_change_before_they_are_read(bench: Bench) -> None:
    pictures.make_folder(bench.photographs, range(40))

    def meanwhile(done: int) -> None:
        if done == 4:
            (bench.photographs / "0039.png").unlink()
            pictures.put(bench.photographs, "0038.png", pictures.picture(700), LATER)

    bench.extract(workers=1, meanwhile=meanwhile, batch_size=1)
    if "0039.png" in bench.rows():
        pytest.skip("all had been read ahead")
    assert bench.failed() == {"0039.png": "read"}
    assert bench.extract(prune=True) == 0, "the row is that of the file as it was read"
    assert bench.failed() == {}
    assert bench.rows()["0038.png"].mtime_ns == LATER


@pytest.mark.slow
def test_an_input_that_changes_while_it_is_read_gets_no_vector_of_neither(bench: Bench) -> None:
    """Somebody keeps writing to the file; sooner or later it is whole, and then it gets its vector."""
    file = pictures.put(bench.photographs, "growing.png", pictures.picture(1))
    pictures.make_folder(bench.photographs, range(3))
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            with file.open("ab") as growing:
                growing.write(b"\0" * 4096)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(5):
            bench.extract()
    finally:
        stop.set()
        writer.join()
    bench.extract()
    assert bench.failed() == {}
    row = bench.rows()["growing.png"]
    assert row.size_bytes == file.stat().st_size
    assert bench.damages() == []


def test_a_dataset_that_cannot_be_written_any_more_keeps_what_it_has(bench: Bench) -> None:
    pictures.make_folder(bench.photographs, range(30))
    bench.extract()
    before = contents.state(bench.features)
    pictures.put(bench.photographs, "0005.png", pictures.picture(700), LATER)
    shutil.rmtree(bench.features / "data")
    (bench.features / "data").write_text("somebody's file")
    with pytest.raises(DatasetError):
        bench.extract()
    assert contents.manifest(bench.features)["counts"]["rows"] == before.with_vector  # type: ignore[index]
