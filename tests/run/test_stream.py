"""Rows into a pipe or one file, by the command with the real model: order, latency, ends of all kinds."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import Result

import fvcli
from fvcli.errors import StoppedError
from fvcli.records import ImageRef
from fvcli.run import stream as module
from tests.helpers.commands import here
from tests.helpers.in_process import Observed
from tests.run.test_worker import worker

FVCLI = str(Path(sys.executable).with_name("fvcli"))
GOOD = ("rocket.jpg", "cat.jpg", "coffee.jpg", "galaxies.bmp")


def command(*arguments: str | Path, cwd: Path, code: int = 0) -> Result:
    """``fvcli extract`` in the test's own process."""
    with contextlib.chdir(cwd):
        done = here("extract", *arguments)
    assert done.exit_code == code, done.stderr
    return done


def stream(*arguments: str, names: bytes = b"", cwd: Path, code: int = 0) -> tuple[bytes, list[dict[str, object]]]:
    """Standard output, and the failures on standard error, without the line that counts what was passed over.

    names: what comes in where ``arguments`` say ``--files-from -``.
    """
    with tempfile.NamedTemporaryFile() as file:
        file.write(names)
        file.flush()
        given = [file.name if before == "--files-from" else each for before, each in pairwise(("", *arguments))]
        done = command("-o", "-", *given, cwd=cwd, code=code)
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    return done.stdout_bytes, [line for line in lines if "stage" in line]


@pytest.fixture(scope="module")
def vectors(sample_images: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """The rows that extract writes into a dataset, by path."""
    folder = tmp_path_factory.mktemp("features")
    fvcli.extract(sample_images, folder)
    dataset = fvcli.open_dataset(folder)
    return dict(zip(dataset.metadata(["path"]).column(0).to_pylist(), dataset.vectors(), strict=True))


def test_rows_come_in_the_order_of_the_names_and_as_often(sample_images: Path, vectors: dict[str, np.ndarray]) -> None:
    order = [*GOOD, "cat.jpg", *reversed(GOOD)]
    names = "".join(f"{name}\n" for name in order).encode()
    out, failures = stream("--files-from", "-", "--format", "jsonl", "-b", "2", names=names, cwd=sample_images)
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["path"] for row in rows] == order
    assert failures == []
    for row in rows:
        assert np.array_equal(np.array(row["embedding"], np.float32), vectors[row["path"]])
        assert (row["root"], row["size_bytes"]) == ("", (sample_images / row["path"]).stat().st_size)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_an_arrow_stream_has_the_columns_of_a_shard(
    sample_images: Path, vectors: dict[str, np.ndarray], dtype: str, tmp_path: Path
) -> None:
    out, failures = stream(".", "--format", "arrow", "--dtype", dtype, cwd=sample_images, code=3)
    table = pa.ipc.open_stream(out).read_all()
    assert table.column("path").to_pylist() == list(vectors)
    found = np.stack(table.column("embedding").to_numpy())
    assert np.array_equal(found, np.stack(list(vectors.values())).astype(dtype))
    assert json.loads(table.schema.metadata[b"fvcli"])["model"]["name"] == "embedded"
    assert [(line["path"], line["stage"]) for line in failures] == [("broken-on-purpose.jpg", "decode")]


def test_failures_are_lines_in_their_place_and_exit_3(sample_images: Path, tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/\xff\xfe.jpg"
    with open(odd, "wb") as file:
        file.write((sample_images / "cat.jpg").read_bytes())
    names = b"\0".join([b"missing.jpg", b"cat.jpg", odd, b"broken-on-purpose.jpg", b"", b"cat.jpg"])
    arguments = ("--files-from", "-", "-0", "--format", "jsonl", "--quiet")
    out, failures = stream(*arguments, names=names, cwd=sample_images, code=3)
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row.get("path_bytes") for row in rows] == [None, odd.hex(), None]
    assert [(line["path"], line["error"]) for line in failures] == [
        ("missing.jpg", "NotFound"),
        ("broken-on-purpose.jpg", "Truncated"),
    ]


@pytest.mark.slow
def test_a_row_is_out_before_the_next_name_is_in(sample_images: Path) -> None:
    arguments = [FVCLI, "extract", "--files-from", "-", "-o", "-", "--format", "jsonl"]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=sample_images) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for name in GOOD:
            process.stdin.write(f"{name}\n".encode())
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["path"] == name
        process.stdin.close()
        assert process.stdout.read() == b""
        assert process.wait(30) == 0


@pytest.mark.slow
@pytest.mark.parametrize("format", ["jsonl", "arrow"])
def test_a_reader_that_has_seen_enough_is_no_error(sample_images: Path, format: str) -> None:
    """However much is still to come on standard input."""
    line = f"yes cat.jpg | {FVCLI} extract --files-from - -o - --format {format} | head -c 1000 >/dev/null"
    done = subprocess.run(
        ["bash", "-c", f'{line}; echo "${{PIPESTATUS[1]}}"'], capture_output=True, cwd=sample_images, timeout=60
    )
    assert (done.stdout, done.stderr) == (b"0\n", b"")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_stream_that_waits_for_names(sample_images: Path, number: signal.Signals) -> None:
    arguments = [FVCLI, "extract", "--files-from", "-", "-o", "-", "--format", "jsonl"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(arguments, cwd=sample_images, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"cat.jpg\n")
        process.stdin.flush()
        assert process.stdout.readline()
        process.send_signal(number)
        assert process.wait(30) == 128 + number


def test_a_signal_is_heard_where_its_handler_takes_long() -> None:
    """As on a busy machine, where the main thread waits for its turn."""
    observer, never = Observed(), threading.Event()

    def handle(number: int, frame: object) -> None:
        time.sleep(0.3)
        observer.meanwhile = lambda done: number
        observer.advanced(0, [])

    def waiting() -> Iterator[tuple[ImageRef, ...]]:
        never.wait()
        yield from ()

    before = signal.signal(signal.SIGUSR1, handle)
    threading.Timer(0.03, os.kill, [os.getpid(), signal.SIGUSR1]).start()
    try:
        with pytest.raises(StoppedError), module._Line([worker()], waiting()) as line:
            list(line.results(observer))
    finally:
        never.set()
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.slow
def test_output_that_cannot_be_written_is_an_error(sample_images: Path) -> None:
    line = f"echo cat.jpg | {FVCLI} extract --files-from - -o - --format jsonl >/dev/full"
    done = subprocess.run(["bash", "-c", line], capture_output=True, cwd=sample_images, check=False)
    assert done.returncode == 1
    assert b"No space left" in done.stderr


@pytest.mark.slow
def test_names_are_not_read_far_ahead_of_a_reader_that_stops(sample_images: Path) -> None:
    arguments = [FVCLI, "extract", "--files-from", "-", "-o", "-", "--format", "jsonl", "-j", "1"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(arguments, cwd=sample_images, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        descriptor = process.stdin.fileno()
        os.set_blocking(descriptor, False)
        taken, last = 0, time.monotonic()
        while time.monotonic() - last < 2 and taken < 2_000_000:
            try:
                taken += os.write(descriptor, b"cat.jpg\n" * 500)
                last = time.monotonic()
            except BlockingIOError:
                time.sleep(0.05)
        process.stdout.close()
        assert process.wait(30) == 0
    assert taken < 400_000  # the two pipes, a block of names, and some batches


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-o", "-"], "--format jsonl"),
        (["--format", "jsonl"], "-o -"),
        (["-o", "-", "--format", "jsonl", "--prune"], "--prune"),
        (["-o", "-", "--format", "jsonl", "--json"], "--json"),
        (["-o", "-", "--format", "jsonl", "--max-failures", "2%"], "a number"),
    ],
)
def test_what_makes_no_sense_is_refused(sample_images: Path, tmp_path: Path, arguments: list[str], said: str) -> None:
    done = command(sample_images, *arguments, cwd=tmp_path, code=2)
    assert done.stdout == ""
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_too_many_failures_end_a_stream(sample_images: Path) -> None:
    names = b"missing.jpg\n" * 50 + b"cat.jpg\n"
    arguments = ("--files-from", "-", "--format", "jsonl", "--max-failures", "3")
    out, failures = stream(*arguments, names=names, cwd=sample_images, code=1)
    assert out == b""
    assert 3 < len(failures) < 50


# --- one file ---------------------------------------------------------------------------------------------------


def rows_of(file: Path) -> tuple[list[str], np.ndarray]:
    """Paths and vectors, by a reader of the file's own kind; npy files have no paths."""
    if file.suffix == ".npy":
        return [], np.load(file, allow_pickle=False)
    if file.suffix == ".jsonl":
        rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        return [row["path"] for row in rows], np.array([row["embedding"] for row in rows], np.float32)
    table = pq.read_table(file) if file.suffix == ".parquet" else pa.ipc.open_file(str(file)).read_all()
    return table.column("path").to_pylist(), np.stack(table.column("embedding").to_numpy())


@pytest.mark.parametrize("suffix", [".parquet", ".npy", ".jsonl", ".arrow"])
def test_a_suffix_makes_one_file_of_that_kind(
    sample_images: Path, vectors: dict[str, np.ndarray], tmp_path: Path, suffix: str
) -> None:
    target = tmp_path / f"rows{suffix}"
    target.write_text("the old one")
    done = command("-o", target, ".", "--json", cwd=sample_images, code=3)
    paths, found = rows_of(target)
    assert np.array_equal(found, np.stack(list(vectors.values())))
    assert paths in ([], list(vectors))
    summary = json.loads(done.stdout)
    assert (summary["extracted"], summary["failed"], summary["output"]) == (len(vectors), 1, str(target))
    assert "failed: ./broken-on-purpose.jpg" in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == [target.name]


@pytest.mark.slow
def test_large_files_have_large_row_groups(sample_images: Path, tmp_path: Path) -> None:
    names = tmp_path / "names"
    names.write_text(f"{sample_images}/cat.jpg\n" * 520)
    command("-o", "rows.parquet", "--files-from", str(names), cwd=tmp_path)
    file = pq.ParquetFile(tmp_path / "rows.parquet")
    assert file.metadata.num_rows == 520
    assert file.metadata.num_row_groups == 2
    assert "recipe" in json.loads(file.schema_arrow.metadata[b"fvcli"])


def test_a_stopped_run_leaves_the_old_file_and_nothing_else(sample_images: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.npy").write_text("the old one")
    done = command("-o", "rows.npy", str(sample_images), "--max-failures", "0", cwd=tmp_path, code=1)
    assert "--max-failures" in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["rows.npy"]
    assert (tmp_path / "rows.npy").read_text() == "the old one"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-o", "rows.parquet", "--prune"], "--prune concerns a dataset's folder"),
        (["-o", "rows.parquet", "--shard-size", "5"], "--shard-size concerns"),
        (["-o", "rows.parquet", "--format", "npy"], "different formats"),
        (["-o", "no/rows.parquet"], "the folder no does not exist"),
        (["-o", "features", "--format", "jsonl"], "-o rows.jsonl"),
        (["-o", "-", "--format", "parquet"], "--format jsonl or --format arrow"),
    ],
    ids=str,
)
def test_what_one_file_has_no_use_for_is_refused(
    sample_images: Path, tmp_path: Path, arguments: list[str], said: str
) -> None:
    assert said in command(sample_images, *arguments, cwd=tmp_path, code=2).stderr
    assert not list(tmp_path.iterdir())


def test_a_folder_with_a_suffix_stays_a_dataset(sample_images: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").mkdir()
    command("-o", "rows.parquet", str(sample_images / "cat.jpg"), cwd=tmp_path)
    assert (tmp_path / "rows.parquet" / "manifest.json").exists()
