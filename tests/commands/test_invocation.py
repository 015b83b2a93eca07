"""Errors as one line and an exit code, expected or not, and what a monitor is told of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from fvcli.cli import app
from fvcli.dataset.verify import Verdict
from fvcli.errors import DatasetError, LockedError, ModelError, StoppedError, UsageError
from fvcli.models import overview
from fvcli.models.overview import Checked
from fvcli.run import extract as run


def fvcli(*arguments: str | Path, **environment: str) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)), env=environment, prog_name="fvcli")


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
    from dataclasses import replace

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
    assert Verdict(1, 1, ()).damages == ()


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
