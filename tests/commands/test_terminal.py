"""Text on the terminal: nothing that a terminal obeys, numbers with the right word, and lines that fit."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest

from fvcli.commands import progress, terminal
from fvcli.commands.invocation import StopSignals
from fvcli.commands.progress import JsonLog, Progress, Rate
from fvcli.commands.terminal import as_json, counted, duration, print_fields, print_row, stderr_width
from fvcli.dataset.existing import FailureLine
from fvcli.dataset.manifest import Counts
from fvcli.records import Failure, ImageRef
from fvcli.run.extract import RunSummary
from fvcli.text import printable
from tests.helpers.commands import here as run

FVCLI = str(Path(sys.executable).with_name("fvcli"))
HOSTILE = "x\x1b]0;owned\x07\x1b[31m\r\n\x9b\u202egpj.jpg"
#: ESC, BEL, C1 and what reverses the direction of text.
OBEYED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.mark.parametrize("text", ["plain", "grüße 猫.jpg", HOSTILE, "\udcff.jpg", "a\tb", "\x7f"], ids=ascii)
def test_printable_text_is_one_line_that_no_terminal_obeys(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert (shown == text) is text.isprintable()
    assert json.loads(as_json(text)) == text
    assert as_json(text).isascii()
    assert not OBEYED.search(as_json(text))


def test_numbers_have_the_right_word() -> None:
    assert [counted(n, "image") for n in (0, 1, 2, 12_000)] == ["0 images", "1 image", "2 images", "12,000 images"]
    assert counted(2, "match", "matches") == "2 matches"
    assert [duration(seconds) for seconds in (0.4, 59.6, 3599, 3600)] == ["0:00", "1:00", "59:59", "1:00:00"]


def test_the_rate_is_that_of_the_last_minute() -> None:
    rate = Rate()
    assert float(rate) == 0
    for second in range(100):
        rate.add(second, 10 * second)
    assert float(rate) == pytest.approx(10)
    for second in range(100, 130):  # ten times as fast for half a minute
        rate.add(second, 1000 + 100 * (second - 100))
    assert 40 < float(rate) < 70
    for second in range(130, 200):
        rate.add(second, 4000 + 100 * (second - 130))
    assert float(rate) == pytest.approx(100)


@pytest.mark.parametrize(("width", "limit"), [(40, 36), (100, 96)])
def test_the_numbers_before_the_bar_fit(monkeypatch: pytest.MonkeyPatch, width: int, limit: int) -> None:
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with StopSignals() as signals, Progress(signals, quiet=True) as told:
        told.planned(1_234_567, 200_000)
        told._quiet = False
        now[0] += 40
        told.advanced(34_567, [])
        told._failed = 7
        shown = told._numbers(width)
    assert len(shown) <= limit
    assert shown.startswith("234,567")
    assert "7 failed" in shown


def on_a_terminal(size: tuple[int, int], *arguments: str | Path, cwd: Path, **environment: str) -> tuple[int, str]:
    """Exit code and everything shown, on a terminal of (rows, columns); (0, 0) is one that does not know its size."""
    primary, replica = pty.openpty()
    if size != (0, 0):
        subprocess.run(["stty", "rows", str(size[0]), "cols", str(size[1])], stdin=replica, check=True)
    child = subprocess.Popen(
        [FVCLI, *map(str, arguments)],
        stdin=replica,
        stdout=replica,
        stderr=replica,
        cwd=cwd,
        env={**{k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}, **environment},
        start_new_session=True,
    )
    os.close(replica)
    shown = b""
    while True:
        try:
            block = os.read(primary, 1 << 16)
        except OSError:
            break
        if not block:
            break
        shown += block
    os.close(primary)
    return child.wait(), shown.decode(errors="replace")


@pytest.fixture
def many(sample_images: Path, tmp_path: Path) -> Path:
    """A folder with enough images for a bar to move, and one that fails."""
    folder = tmp_path / "photos"
    folder.mkdir()
    data = (sample_images / "rocket.jpg").read_bytes()
    for number in range(150):
        (folder / f"{number}.jpg").write_bytes(data + bytes([number]))  # no two alike
    (folder / "empty.jpg").write_bytes(b"")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("columns", [40, 100])
def test_the_bar_fits_the_terminal(many: Path, tmp_path: Path, columns: int) -> None:
    code, shown = on_a_terminal((24, columns), "extract", many, "-o", "f", cwd=tmp_path, TERM="xterm")
    assert code == 3
    drawn = [line for line in re.split(r"[\r\n]+", re.sub(r"\x1b\[\w", "", shown)) if "█" in line or "/s" in line]
    bars = [line for line in drawn if "rows" not in line]
    assert len(bars) > 2
    assert all(len(line) <= columns for line in bars)
    assert all(re.match(r"\d+ (\d+%|of 151 images, )", line) for line in bars)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "environment"),
    [((0, 0), {"TERM": "xterm"}), ((24, 80), {"TERM": "dumb"}), ((24, 80), {"TERM": ""})],
    ids=str,
)
def test_a_terminal_that_cannot_draw_gets_lines(
    many: Path, tmp_path: Path, size: tuple[int, int], environment: dict[str, str]
) -> None:
    code, shown = on_a_terminal(size, "extract", many, "-o", "f", cwd=tmp_path, **environment)
    assert code == 3
    assert "\x1b" not in shown
    assert not re.search(r"\r(?!\n)", shown)
    assert "failed: " in shown
    assert "1 failure listed in " in shown


def test_lines_come_every_ten_seconds(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with StopSignals() as signals, Progress(signals, quiet=False) as told:
        told.planned(1000, 100)
        for _ in range(45):
            now[0] += 1
            told.advanced(10, [])
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "resuming: 100 of 1,000 images already done"
    assert lines[1] == "200 of 1,000 images, 10 images/s, 0 failed, 1:20 left"
    assert len(lines) == 5


def test_the_log_tells_progress_of_what_this_run_did(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    line = FailureLine(ImageRef("r", "a.jpg"), Failure("read", "NotFound", "it is gone"))
    with StopSignals() as signals, JsonLog(signals, quiet=False) as told:
        told.planned(1000, 100)
        for number in range(12):
            now[0] += 1
            told.advanced(10, [line] if number == 3 else [])
    planned, failure, event = map(json.loads, capsys.readouterr().err.splitlines())
    assert (planned["event"], planned["total"], planned["done"]) == ("planned", 1000, 100)
    assert (failure["event"], failure["path"], failure["message"]) == ("failure", "a.jpg", "it is gone")
    del event["time"]
    assert event == {
        "event": "progress", "done": 200, "total": 1000, "failed": 1, "images_per_second": 10.0, "seconds_left": 80.0,
    }  # fmt: skip


def test_a_long_search_says_every_ten_seconds_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with StopSignals() as signals, Progress(signals, quiet=False) as told:
        for second in range(25):
            told.discovered(1000 * second)
            now[0] += 1
    assert capsys.readouterr().err.splitlines() == ["looking: 11,000 inputs so far", "looking: 21,000 inputs so far"]


def test_a_quiet_run_tells_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    line = FailureLine(ImageRef("r", "a.jpg"), Failure("read", "NotFound", "it is gone"))
    for kind in (Progress, JsonLog):
        with StopSignals() as signals, kind(signals, quiet=True) as told:
            told.discovered(5)
            told.noted("something")
            told.planned(10, 5)
            told.advanced(1, [line])
            told.passed_over({".txt": 1})
    assert capsys.readouterr() == ("", "")


def test_names_are_escaped_beside_a_bar_too() -> None:
    class Bar:
        lines: ClassVar[list[str]] = []

        def write(self, line: str, file: object) -> None:
            self.lines.append(line)

        def close(self) -> None: ...

    with StopSignals() as signals, Progress(signals, quiet=False) as told:
        told._bar = Bar()
        told.noted(HOSTILE)
    assert Bar.lines == [printable(HOSTILE)]
    assert not OBEYED.search(Bar.lines[0])


def test_all_that_a_summary_has_to_say(capsys: pytest.CaptureFixture[str]) -> None:
    counts = Counts(discovered=12, extracted=5, reused=4, failed=3, stale=2, elsewhere=1, pruned=6)
    progress.tell(
        RunSummary(counts, 5, 2.0, "f", "m", "0" * 64, "f/failures/x.jsonl", {}, zero_vectors=1, remembered=2)
    )
    assert capsys.readouterr().err.splitlines() == [
        "f: 12 rows (5 extracted, 4 reused, 2 stale, 1 elsewhere, 6 pruned, 3 failed) in 2.0 s, 2 images/s",
        "1 vector of all zeros: they have no direction to compare",
        "3 failures listed in f/failures/x.jsonl",
        "2 inputs failed before and were skipped; --retry-failed retries them",
    ]
    progress.tell(RunSummary(Counts(1, reused=1), 0, 2.0, "f", "m", "0" * 64, None, {}))
    assert capsys.readouterr().err == "f: 1 row (0 extracted, 1 reused, 0 failed) in 2.0 s\n"


@pytest.mark.parametrize(("term", "width"), [("xterm", 77), ("dumb", 0), ("", 0), (None, 0)])
def test_a_bar_is_drawn_where_the_terminal_can_and_has_a_size(
    monkeypatch: pytest.MonkeyPatch, term: str | None, width: int
) -> None:
    if term is None:
        monkeypatch.delenv("TERM", raising=False)
    else:
        monkeypatch.setenv("TERM", term)
    primary, replica = pty.openpty()
    subprocess.run(["stty", "rows", "24", "cols", "77"], stdin=replica, check=True)
    with open(replica, "w") as shown, open(primary, "rb"):
        monkeypatch.setattr(sys, "stderr", shown)
        assert stderr_width() == width
    monkeypatch.setattr(sys, "stderr", shown)  # closed
    assert stderr_width() == 0


def test_values_for_a_program_have_no_tab_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    print_row((1, "a\tb\nc", 0.5))
    assert capsys.readouterr().out == "1\ta\\tb\\nc\t0.5\n"


def test_fields_are_wrapped_on_a_terminal_and_an_empty_name_continues(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fields = [("rows", "twelve of them"), ("", "and more")]
    print_fields(fields)
    assert capsys.readouterr().out == "rows          twelve of them\n              and more\n"
    monkeypatch.setattr(terminal, "_width", lambda stream: 30)
    print_fields([("rows", "twelve of them and more")])
    assert capsys.readouterr().out == "rows          twelve of them\n              and more\n"


@pytest.mark.slow
def test_arrow_is_not_written_to_a_terminal(sample_images: Path, tmp_path: Path) -> None:
    arguments = ("extract", sample_images / "cat.jpg", "-o", "-", "--format")
    code, shown = on_a_terminal((24, 80), *arguments, "arrow", cwd=tmp_path, TERM="dumb")
    assert code == 2
    assert "binary" in shown
    assert len(shown) < 300
    assert on_a_terminal((24, 80), *arguments, "jsonl", cwd=tmp_path, TERM="dumb")[0] == 0


@pytest.mark.slow
def test_usage_errors_are_one_line_without_a_person_and_a_panel_for_one(tmp_path: Path) -> None:
    arguments = ("extract", "--no-such-option")
    done = subprocess.run([FVCLI, *arguments], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("fvcli: No such option: --no-such-option")
    assert done.stderr.endswith("fvcli extract --help shows how\n")
    assert done.stderr.count("\n") == 1
    code, shown = on_a_terminal((24, 80), *arguments, cwd=tmp_path, TERM="dumb")
    assert (code, shown.count("\n")) == (2, 1)
    code, shown = on_a_terminal((24, 80), *arguments, cwd=tmp_path, TERM="xterm")
    assert code == 2
    assert "╭─ Error" in re.sub(r"\x1b\[[0-9;]*m", "", shown)


def test_an_option_can_be_set_in_the_environment(
    sample_images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("extract", sample_images / "cat.jpg", FVCLI_EXTRACT_OUTPUT="there", FVCLI_EXTRACT_JSON="1")
    assert json.loads(done.stdout)["output"] == "there"
    assert "recipe" in run("inspect", "there").stdout
    assert json.loads(run("inspect", "there", FVCLI_INSPECT_JSON="1").stdout)["folder"] == "there"
    assert run("models", "list", FVCLI_MODELS_LIST_QUIET="1").stdout == ""
    typed = run("extract", sample_images / "cat.jpg", "-o", "typed", FVCLI_EXTRACT_OUTPUT="there")
    assert typed.exit_code == 0
    assert (tmp_path / "typed" / "manifest.json").exists()
    done = run("extract", sample_images / "cat.jpg", FVCLI_EXTRACT_WORKERS="many")
    assert "FVCLI_EXTRACT_WORKERS" in done.stderr
    done = run("extract", sample_images / "cat.jpg", FVCLI_EXTRACT_FIT="stretch")
    assert (done.exit_code, "'stretch'" in done.stderr) == (2, True)
    other = run("extract", sample_images / "cat.jpg", "-o", "m", FVCLI_MODEL="no-such-model")
    assert "no-such-model" in other.stderr


def test_help_names_values_and_no_types() -> None:
    for command in ("extract", "plan", "verify", "neighbors", "report", "models export"):
        done = run(*command.split(), "--help")
        assert "Usage" in done.stdout
        assert not re.search(r"<[a-z]|int range|list\[", done.stdout), command


@pytest.fixture
def hostile(sample_images: Path, tmp_path: Path) -> Path:
    """A folder whose names are commands to a terminal, one of a file that fails."""
    folder = tmp_path / HOSTILE.replace("\n", "")
    folder.mkdir()
    (folder / HOSTILE).write_bytes((sample_images / "cat.jpg").read_bytes())
    (folder / f"copy {HOSTILE}").write_bytes((sample_images / "cat.jpg").read_bytes())
    (folder / f"broken {HOSTILE}").write_bytes(b"\xff\xd8\xff")
    return folder


def test_names_are_escaped_wherever_they_are_printed(
    hostile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    features = tmp_path / f"features {hostile.name} d"
    for arguments in (
        ("extract", hostile, "-o", features),
        ("extract", hostile, "-o", tmp_path / "log", "--log-format", "json"),
        ("extract", tmp_path / f"missing{HOSTILE}", "-o", features),
        ("inspect", features),
        ("neighbors", features, HOSTILE),
        ("neighbors", features, f"no such {HOSTILE}"),
        ("neighbors", features, "--duplicates"),
        ("verify", features, "--recompute", "3"),
        ("extract", hostile, "-o", features, "--fit", "crop"),
        ("plan", hostile, "-o", tmp_path / "planned"),
        ("verify", tmp_path / f"nothing{HOSTILE}"),
    ):
        done = run(*arguments)
        for text in (done.stdout, done.stderr):
            assert not OBEYED.search(text), (arguments, text)
            assert "\r" not in text
    shard = next((features / "data").iterdir())
    shard.write_bytes(b"damaged")
    (features / "data" / f"foreign{HOSTILE}.parquet").write_bytes(b"")
    for arguments in (("verify", features), ("repair", features), ("inspect", features)):
        assert not OBEYED.search(run(*arguments).output), arguments


def test_a_manifest_from_elsewhere_is_escaped(sample_images: Path, tmp_path: Path) -> None:
    features = tmp_path / "f"
    assert run("extract", sample_images / "cat.jpg", "-o", features).exit_code == 0
    manifest = json.loads((features / "manifest.json").read_text())
    manifest["model"]["name"] = HOSTILE
    manifest["environment"] = dict.fromkeys(manifest["environment"], HOSTILE)
    for past in manifest["runs"]:
        past["host"] = HOSTILE
    (features / "manifest.json").write_text(json.dumps(manifest))
    for arguments in (("inspect", features), ("verify", features), ("neighbors", features, "cat.jpg")):
        assert not OBEYED.search(run(*arguments).output), arguments


def test_nothing_is_printed_past_the_escape(repository: Path) -> None:
    """Only commands/terminal.py writes to the standard streams."""
    writing = re.compile(r"typer\.(echo|secho)\(|\bprint\(|std(err|out)\.write\(")
    files = (repository / "fvcli" / "commands").glob("*.py")
    assert [file.name for file in files if writing.search(file.read_text("utf-8"))] == ["terminal.py"]
