"""``--metrics-file`` and ``--log-format json``: what a monitor is told of runs that end well, badly and not at all."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from tests.helpers.commands import here


def run(*arguments: str | Path, code: int) -> list[dict[str, object]]:
    """The events told on standard error."""
    done = here("extract", *arguments, "--log-format", "json")
    assert done.exit_code == code, done.stderr
    return [json.loads(line) for line in done.stderr.splitlines()]


def metrics(file: Path, dataset: Path) -> dict[str, float]:
    """By name; every sample must be of this dataset and come after its type."""
    found = {}
    typed = set()
    for line in file.read_text().splitlines():
        if match := re.fullmatch(r"# TYPE (\w+) gauge", line):
            typed.add(match[1])
        elif not line.startswith("# HELP "):
            sample = re.fullmatch(r'(\w+)\{dataset="([^"]*)"\} ([0-9.e+-]+)', line)
            assert sample is not None, line
            assert sample[2] == str(dataset)
            assert sample[1] in typed
            found[sample[1]] = float(sample[3])
    return found


def test_a_run_with_a_failure_then_one_that_cannot_begin(sample_images: Path, tmp_path: Path) -> None:
    output, file = tmp_path / "features", tmp_path / "metrics" / "fvcli.prom"
    file.parent.mkdir()
    before = time.time()
    run(sample_images, "-o", output, "--metrics-file", file, code=3)
    first = metrics(file, output)
    assert first["fvcli_last_run_exit_code"] == 3
    assert (first["fvcli_inputs"], first["fvcli_rows"], first["fvcli_failed_inputs"]) == (24, 23, 1)
    assert before <= first["fvcli_last_finished_timestamp_seconds"] <= time.time()
    run(tmp_path / "nowhere", "-o", output, "--metrics-file", file, code=2)
    second = metrics(file, output)
    assert second["fvcli_last_run_exit_code"] == 2
    assert second["fvcli_last_run_timestamp_seconds"] > first["fvcli_last_run_timestamp_seconds"]
    assert second["fvcli_last_finished_timestamp_seconds"] == first["fvcli_last_finished_timestamp_seconds"]
    assert second["fvcli_rows"] == 23
    assert [path.name for path in file.parent.iterdir()] == ["fvcli.prom"]


def test_metrics_that_cannot_be_written_are_refused_before_the_run(sample_images: Path, tmp_path: Path) -> None:
    events = run(sample_images / "cat.jpg", "-o", tmp_path / "f", "--metrics-file", tmp_path / "no" / "m", code=2)
    assert [event["event"] for event in events] == ["error"]
    assert not (tmp_path / "f").exists()


def test_the_label_is_the_absolute_path_whatever_the_working_folder(
    sample_images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = tmp_path / 'a "quoted" \\ folder'
    odd.mkdir()
    monkeypatch.chdir(odd)
    for output in ("f", f"../{odd.name}/f"):
        run(sample_images / "cat.jpg", "-o", output, "--metrics-file", "m.prom", code=0)
    labels = set(re.findall(r'\{dataset="((?:[^"\\]|\\.)*)"\}', (odd / "m.prom").read_text()))
    assert labels == {str(odd / "f").replace("\\", "\\\\").replace('"', '\\"')}


def test_every_line_of_the_log_is_an_event(sample_images: Path, tmp_path: Path) -> None:
    events = run(sample_images, "-o", tmp_path / "f", code=3)
    events = [event for event in events if event["event"] != "passed_over"]
    assert [event["event"] for event in events] == ["planned", "failure", "finished"]
    assert (events[0]["total"], events[0]["done"]) == (24, 0)
    assert (events[1]["path"], events[1]["stage"]) == ("broken-on-purpose.jpg", "decode")
    assert (events[2]["rows"], events[2]["failed"]) == (23, 1)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", str(event["time"])) for event in events)
    error = run(tmp_path / "nowhere", "-o", tmp_path / "f", code=2)
    assert [(event["event"], event["exit_code"]) for event in error] == [("error", 2)]
    assert run(sample_images / "cat.jpg", "-o", tmp_path / "g", "-q", code=0) == []
