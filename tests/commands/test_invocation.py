"""Errors as one line and an exit code, expected or not, and what a monitor is told of them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer

from fvcli.cli import app
from fvcli.commands import invocation, metrics
from fvcli.commands.invocation import StopSignals
from fvcli.errors import DatasetError, LockedError, ModelError, StoppedError, UsageError
from fvcli.models import overview
from fvcli.models.overview import Checked
from fvcli.run import extract as run
from tests.helpers.commands import here as fvcli


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Makes every run end with this error."""

    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(run, "extract", fail)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("this cannot be"), 2),
        (ModelError("no model"), 1),
        (DatasetError("no disk"), 1),
        (LockedError("in use"), 75),
        (StoppedError("interrupted", 2), 130),
        (StoppedError("interrupted", 15), 143),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_each_error_has_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception, code: int
) -> None:
    failing(monkeypatch, error)
    metrics = tmp_path / "m.prom"
    done = fvcli("extract", tmp_path, "-o", tmp_path / "f", "--metrics-file", metrics)
    assert (done.exit_code, done.stdout, done.stderr) == (code, "", f"fvcli: {error}\n")
    assert re.search(rf"^fvcli_last_run_exit_code\{{.*\}} {code}$", metrics.read_text(), re.MULTILINE)


def test_an_unexpected_error_is_one_line_that_says_how_to_see_more(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    failing(monkeypatch, ZeroDivisionError("division by zero \x1b[31m"))
    metrics = tmp_path / "m.prom"
    done = fvcli("extract", tmp_path, "-o", tmp_path / "f", "--metrics-file", metrics)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert re.fullmatch(r"fvcli: unexpected ZeroDivisionError: division by zero \\x1b.*FVCLI_DEBUG=1.*\n", done.stderr)
    assert "fvcli_last_run_exit_code" in metrics.read_text()
    assert re.search(r"^fvcli_last_run_exit_code\{.*\} 1$", metrics.read_text(), re.MULTILINE)
    assert "fvcli_last_finished" not in metrics.read_text()


def test_an_unexpected_error_in_the_log_is_an_event(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    failing(monkeypatch, ZeroDivisionError("division by zero"))
    done = fvcli("extract", tmp_path, "-o", tmp_path / "f", "--log-format", "json")
    (event,) = map(json.loads, done.stderr.splitlines())
    assert (event["event"], event["exit_code"], done.exit_code) == ("error", 1, 1)
    assert "unexpected ZeroDivisionError" in event["message"]


def test_debugging_shows_where_it_arose(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    failing(monkeypatch, ZeroDivisionError("division by zero"))
    done = fvcli("extract", tmp_path, "-o", tmp_path / "f", FVCLI_DEBUG="1")
    assert isinstance(done.exception, ZeroDivisionError)


def test_one_damaged_model_among_several_is_exit_code_4(monkeypatch: pytest.MonkeyPatch) -> None:
    def three(names: object) -> list[Checked]:
        return [
            Checked("a", Path("a"), None),
            Checked("b", Path("b"), "b: its checksum differs"),
            Checked("c", Path("c"), None),
        ]

    monkeypatch.setattr(overview, "verify_models", three)
    done = fvcli("models", "verify", "--json")
    assert done.exit_code == 4
    assert [each["problem"] is None for each in json.loads(done.stdout)] == [True, False, True]
    assert "damaged: b: its checksum differs" in done.stderr
    assert "a: sound" in done.stderr
    monkeypatch.setattr(overview, "verify_models", lambda names: three(names)[::2])
    assert fvcli("models", "verify").exit_code == 0


def test_a_failed_selftest_is_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    from fvcli import selftest

    sound = selftest.selftest("int8")
    assert sound.passed
    comparisons = tuple(replace(each, equal=False, cosine=0.5) for each in sound.comparisons)
    monkeypatch.setattr(selftest, "selftest", lambda engine: replace(sound, comparisons=comparisons))
    done = fvcli("selftest", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["passed"] is False
    assert "selftest failed" in done.stderr
    assert fvcli("selftest", "-q").exit_code == 1


def test_a_verdict_without_damage_is_exit_code_0_and_says_what_was_checked(sample_images: Path, tmp_path: Path) -> None:
    assert fvcli("extract", sample_images / "cat.jpg", "-o", tmp_path / "f").exit_code == 0
    done = fvcli("verify", tmp_path / "f")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "1 row in 1 shard, all as the manifest says" in done.stderr


def test_another_model_on_the_same_folder_is_refused_by_name(sample_images: Path, tmp_path: Path) -> None:
    assert fvcli("extract", sample_images / "cat.jpg", "-o", tmp_path / "f").exit_code == 0
    file = tmp_path / "f" / "manifest.json"
    manifest = json.loads(file.read_text())
    other = "0" * 64
    manifest["model"] |= {"name": "another", "identity": other}
    manifest["recipe"]["model"] = other
    file.write_text(json.dumps(manifest))
    done = fvcli("extract", sample_images / "cat.jpg", "-o", tmp_path / "f")
    assert done.exit_code == 1
    assert "made with model another; this command asks for model embedded." in done.stderr
    assert "00000000" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_remembered_while_a_run_works_and_no_longer(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    heard: list[int] = []
    monkeypatch.setattr(invocation.os, "_exit", lambda code: None)
    before = signal.signal(number, lambda *_: heard.append(number))
    try:
        with StopSignals() as signals:
            assert signals.number is None
            os.kill(os.getpid(), number)
            assert signals.number == number
        assert heard == []
        os.kill(os.getpid(), number)
        assert heard == [number]
    finally:
        signal.signal(number, before)


def test_the_engine_that_is_asked_for_is_the_one_that_is_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    from fvcli import selftest

    sound, asked = selftest.selftest("int8"), []

    def record(engine: str) -> Any:
        asked.append(engine)
        return replace(sound, engine=engine)

    monkeypatch.setattr(selftest, "selftest", record)
    done = fvcli("selftest", "--engine", "tensorflow")
    assert (done.exit_code, asked) == (0, ["tensorflow"])
    assert "passed with the tensorflow engine" in done.stderr
    assert "(required: cosine >= 0.999)" in done.stderr


def test_metrics_are_in_seconds_and_those_of_another_dataset_are_not_taken_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clock = iter([100.0, 102.5])
    monkeypatch.setattr(metrics.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(metrics.time, "time", lambda: 1_700_000_000.25)
    file = tmp_path / "m.prom"
    metrics.write_metrics(file, metrics.RunMetrics(str(tmp_path / "other"), 0, 1.0, 1.0, {"fvcli_rows": 99}))
    with metrics.recorded(str(file), str(tmp_path / "f")) as record:
        record.values = {"fvcli_inputs": 3}
    samples = dict(
        line.split(f'{{dataset="{tmp_path}/f"}} ') for line in file.read_text().splitlines() if line[0] != "#"
    )
    assert samples == {
        "fvcli_last_run_timestamp_seconds": "1700000000.25",
        "fvcli_last_run_duration_seconds": "2.5",
        "fvcli_last_run_exit_code": "0",
        "fvcli_last_finished_timestamp_seconds": "1700000000.25",
        "fvcli_inputs": "3",
    }


def ended(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    """The exit code of the installed command, with a standard error that is no terminal."""
    monkeypatch.setattr(invocation.sys, "argv", ["fvcli", *arguments])
    monkeypatch.setenv("TERM", "xterm")
    with pytest.raises(SystemExit) as end:
        invocation.run(app)
    return end.value.code


def test_wrong_usage_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert ended(monkeypatch, "extract", "--no-such-option") == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert said.err.startswith("fvcli: No such option: --no-such-option; ")
    assert said.err.endswith("fvcli extract --help shows how\n")
    assert ended(monkeypatch, "frobnicate") == 2
    assert capsys.readouterr().err.startswith("fvcli: No such command 'frobnicate'")
    assert ended(monkeypatch, "inspect", str(tmp_path)) == 1
    assert capsys.readouterr().err.startswith(f"fvcli: {tmp_path} is not a dataset")
    assert ended(monkeypatch, "formats", "-q") == 0
    assert ended(monkeypatch, "models") == 2
    said = capsys.readouterr()
    assert re.search(r"Usage: .*fvcli models", said.out + said.err)
    assert "fvcli: " not in said.err


def test_a_program_error_in_parsing_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invocation.sys, "argv", ["fvcli"])

    def broken(**_: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        invocation.run(broken)  # type: ignore[arg-type]


def test_a_reader_that_has_gone_ends_the_command_with_0_and_gets_nothing_more(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "out"
    with open(file, "w") as stream:
        monkeypatch.setattr(invocation.sys, "stdout", stream)
        with pytest.raises(typer.Exit) as end, invocation.reported():
            raise BrokenPipeError
        stream.write("what is printed at exit")
    assert end.value.exit_code == 0
    assert file.read_text() == ""


def test_a_second_signal_ends_the_process_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ends: list[int] = []
    monkeypatch.setattr(invocation.os, "_exit", ends.append)
    with StopSignals() as signals:
        os.kill(os.getpid(), signal.SIGINT)
        assert ends == []
        os.kill(os.getpid(), signal.SIGTERM)
        assert ends == [128 + signal.SIGTERM]
        assert signals.number == signal.SIGTERM


STREAMS = """
import os, sys
for number in (0, 1, 2):
    os.close(number)
sys.stdin = sys.stdout = sys.stderr = None
from fvcli.commands.invocation import open_standard_streams
open_standard_streams()
print("lost"); print("lost too", file=sys.stderr)
told = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
null = os.stat(os.devnull).st_rdev
os.write(told, repr((told, sys.stdin.read(), [os.fstat(number).st_rdev == null for number in range(3)])).encode())
"""


def test_closed_streams_are_the_null_device_so_that_no_file_takes_their_numbers(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", STREAMS, tmp_path / "told"], check=False)
    assert done.returncode == 0
    assert (tmp_path / "told").read_text() == "(3, '', [True, True, True])"


LEAN = """
import sys
from fvcli.commands.invocation import import_lean
import_lean()
import os, pyarrow
print("pandas" in sys.modules, pyarrow.default_memory_pool().backend_name, os.environ["OPENBLAS_NUM_THREADS"])
import pandas
"""


@pytest.mark.slow
def test_a_command_starts_without_pandas_and_without_pools_and_threads_of_its_own() -> None:
    pytest.importorskip("pandas")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OPENBLAS", "ARROW"))}
    done = subprocess.run([sys.executable, "-c", LEAN], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "system", "1"]
