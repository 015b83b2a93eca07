"""Nothing is passed over without a word: on stderr, in --json, in the log, in the manifest and in the report."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import Result

from tests.helpers.commands import here
from tests.helpers.processes import PATIENCE_SECONDS, catches, wait_for
from tests.helpers.trees import make

FVCLI = Path(sys.executable).with_name("fvcli")


def run(*arguments: str | Path, code: int = 0) -> Result:
    done = here("extract", *arguments)
    assert done.exit_code == code, done.stderr
    return done


@pytest.fixture
def phone(tmp_path: Path, sample_images: Path) -> Path:
    """The files of a phone: photographs, films and the edits of both."""
    folder = tmp_path / "phone"
    folder.mkdir()
    for number in range(6):
        shutil.copy(sample_images / "cat.jpg", folder / f"IMG_{number:04}.JPG")
        make(folder, f"IMG_{number:04}.MOV", f"IMG_{number:04}.AAE", content=b"no image")
    (folder / "album").symlink_to(sample_images)
    return folder


def test_what_is_passed_over_is_told_everywhere(phone: Path, tmp_path: Path) -> None:
    counts = {".aae": 6, ".mov": 6, "symlinked folder": 1}
    done = run(phone, "-o", tmp_path / "f", "--json")
    assert "passed over: 6 .aae, 6 .mov, 1 symlinked folder (--follow-symlinks walks them)" in done.stderr
    summary = json.loads(done.stdout)
    assert (summary["rows"], summary["passed_over"]) == (6, counts)
    assert json.loads((tmp_path / "f/manifest.json").read_text())["runs"][-1]["passed_over"] == counts
    again = run(phone, "-o", tmp_path / "f", "--log-format", "json")
    events = [json.loads(line) for line in again.stderr.splitlines()]
    assert [event["counts"] for event in events if event["event"] == "passed_over"] == [counts]
    assert run(phone, "-o", tmp_path / "f", "-q").stderr == ""


def test_a_folder_without_images_says_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    make(tmp_path / "photos", "notes.txt", content=b"no image")
    done = run(tmp_path / "photos", "-o", tmp_path / "f", code=1)
    assert "passed over: 1 .txt\nfvcli: no images found in" in done.stderr


@pytest.mark.slow
def test_a_stream_tells_it_as_a_line(phone: Path) -> None:
    done = run(phone, "-o", "-", "--format", "jsonl")
    assert [json.loads(line) for line in done.stderr.splitlines()] == [
        {"passed_over": {".aae": 6, ".mov": 6, "symlinked folder": 1}}
    ]


@pytest.mark.slow
def test_plans_and_tasks_keep_it(phone: Path, tmp_path: Path) -> None:
    output = str(tmp_path / "f")
    subprocess.run([FVCLI, "plan", str(phone), "-o", output, "-q"], check=True)
    run("-o", output, "--task", "1/1", "-q")
    done = subprocess.run([FVCLI, "finalize", output, "--json", "-q"], check=True, capture_output=True, text=True)
    assert json.loads(done.stdout)["passed_over"] == {".aae": 6, ".mov": 6, "symlinked folder": 1}


@pytest.mark.slow
@pytest.mark.parametrize("output", ["dataset", "stream"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("list_of", ["pipe", "zeros"])
def test_a_search_that_waits_or_never_ends_hears_signals(
    tmp_path: Path, number: signal.Signals, list_of: str, output: str
) -> None:
    source = tmp_path / "pipe"
    os.mkfifo(source)
    names = [str(source)] if list_of == "pipe" else ["/dev/zero", "-0"]
    place = ["-o", str(tmp_path / "f")] if output == "dataset" else ["-o", "-", "--format", "jsonl"]
    command = [FVCLI, "extract", "--files-from", *names, *place]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_for(lambda: catches(process.pid, signal.SIGTERM), "the command's handlers of signals")
            time.sleep(0.5)  # nothing tells from outside that it searches
            process.send_signal(number)
            assert process.wait(timeout=PATIENCE_SECONDS) == 128 + number
        finally:
            process.kill()


@pytest.mark.slow
def test_a_phone_s_folder_is_rows_and_films(shared: Path, sample_images: Path, tmp_path: Path) -> None:
    heic = shared / "cases" / "real.heic"
    if not heic.exists():
        pytest.skip("needs a HEIC picture")
    phone = tmp_path / "phone"
    phone.mkdir()
    jpeg = (sample_images / "cat.jpg").read_bytes()
    for number in range(300):
        (phone / f"IMG_{number:04}.JPG").write_bytes(jpeg + number.to_bytes(2))
    for number in range(60):
        shutil.copy(heic, phone / f"IMG_{1000 + number}.HEIC")
        make(phone, f"IMG_{1000 + number}.MOV", content=b"\0\0\0\x14ftypqt  ")
    done = run(phone, "-o", tmp_path / "f", "--json")
    summary = json.loads(done.stdout)
    assert (summary["discovered"], summary["rows"], summary["failed"]) == (360, 360, 0)
    assert summary["passed_over"] == {".mov": 60}
    assert "passed over: 60 .mov\n" in done.stderr
