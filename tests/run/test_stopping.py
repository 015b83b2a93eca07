"""SIGINT, SIGTERM and --max-failures: a run that ends early ends in good order, and the next one goes on."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from fvcli.errors import FvcliError, LockedError, StoppedError
from fvcli.records import Limit
from fvcli.run.request import TooManyFailuresError
from tests.helpers import commands, contents, pictures
from tests.helpers.in_process import Bench, Observed
from tests.helpers.processes import PATIENCE_SECONDS


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More photographs than are done in a few seconds: hard links of a few larger ones."""
    return pictures.linked(tmp_path_factory.mktemp("many") / "photographs", 1000)


def start(photographs: Path, features: Path) -> subprocess.Popen[str]:
    """A run that has just committed a shard."""
    before = len(list((features / "data").glob("*.parquet")))
    child = subprocess.Popen(
        [commands.FVCLI, "extract", photographs, "-o", features, "--shard-size", "50"],
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(list((features / "data").glob("*.parquet"))) == before:
        assert child.poll() is None, child.stderr
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return child


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_in_good_order(many: Path, memory_path: Path, number: int, code: int) -> None:
    features = memory_path / "features"
    child = start(many, features)
    child.send_signal(number)
    _, said = child.communicate(timeout=PATIENCE_SECONDS)
    assert child.returncode == code
    told = re.search(
        r"interrupted: saved ([\d,]+) of 8,008(; [\d,]+ more were read and will be again)?; run the same command", said
    )
    assert told is not None
    assert "Traceback" not in said
    assert contents.check_moment(features) == "first run"
    done = len(contents.data_files(features))
    assert done >= 1
    assert told[1] == f"{50 * done:,}"
    assert not list((features / ".fvcli" / "staging").iterdir()), "the shard in work is dropped whole"
    assert not (features / ".fvcli" / "in-work").exists(), "nobody is to blame"

    child = start(many, features)
    child.send_signal(number)
    _, said = child.communicate(timeout=PATIENCE_SECONDS)
    assert f"resuming: {50 * done:,} of 8,008 images already done" in said


@pytest.mark.slow
def test_a_second_signal_ends_it_at_once(bench: Bench) -> None:
    """The first one waits for a batch that never ends."""
    pictures.make_folder(bench.photographs, range(8))
    script = """
import os, sys, time
opening = os.open
def stuck(path, *arguments, **options):
    if os.fsencode(path).endswith(b".png"):
        os.write(1, b"in hand\\n")
        time.sleep(600)
    return opening(path, *arguments, **options)
os.open = stuck
sys.argv = ["fvcli", "extract", sys.argv[1], "-o", sys.argv[2]]
from fvcli.cli import main
main()
"""
    child = subprocess.Popen(
        [commands.FVCLI.with_name("python"), "-c", script, bench.photographs, bench.features], stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"in hand\n"
    child.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(timeout=0.5)
    child.send_signal(signal.SIGTERM)
    assert child.wait(timeout=PATIENCE_SECONDS) == 143
    child.stdout.close()
    assert commands.run("extract", bench.photographs, "-o", bench.features).code == 0


@pytest.mark.slow
@pytest.mark.parametrize("options", [["-o", "features"], ["-o", "-", "--format", "jsonl"]], ids=["dataset", "stream"])
def test_a_signal_is_heard_in_the_middle_of_a_batch(bench: Bench, options: list[str]) -> None:
    """Half a minute of reading is left in the batches that are in hand."""
    pictures.put(bench.photographs, "0.png", pictures.picture(0))
    for number in range(1, 1200):
        os.link(bench.photographs / "0.png", bench.photographs / f"{number}.png")
    script = """
import os, sys, time
opening = os.open
opened = 0
def slow(path, *arguments, **options):
    global opened
    if os.fsencode(path).endswith(b".png"):
        opened += 1
        if opened > 200:
            if opened == 201:
                os.write(2, b"in hand\\n")
            time.sleep(1)
    return opening(path, *arguments, **options)
os.open = slow
sys.argv = ["fvcli", "extract", *sys.argv[1:]]
from fvcli.cli import main
try:
    main()
finally:
    os.write(2, b"opened %d" % opened)
"""
    child = subprocess.Popen(
        [commands.FVCLI.with_name("python"), "-c", script, bench.photographs, "-j", "2", *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=bench.features.parent,
    )
    assert child.stderr is not None
    assert any(b"in hand" in line for line in child.stderr)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=PATIENCE_SECONDS)
    assert child.returncode == 130
    assert b"Traceback" not in said
    assert int(said.rpartition(b"opened ")[2]) < 220, "two batches of thirty would be some sixty more"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_command_starts_is_no_traceback(tmp_path: Path, number: int) -> None:
    photographs = pictures.make_folder(tmp_path / "photographs", range(3))
    codes = {signal.SIGINT: (130, -signal.SIGINT), signal.SIGTERM: (143, -signal.SIGTERM)}[signal.Signals(number)]
    for delay in (0.15, 0.4, 0.8):
        child = subprocess.Popen(
            [commands.FVCLI, "extract", photographs, "-o", tmp_path / "features"], stderr=subprocess.PIPE, text=True
        )
        time.sleep(delay)
        child.send_signal(number)
        _, said = child.communicate(timeout=PATIENCE_SECONDS)
        assert child.returncode in (0, *codes), (delay, child.returncode, said)


def test_a_signal_during_an_update_leaves_the_old_dataset(bench: Bench) -> None:
    pictures.make_folder(bench.photographs, range(30))
    bench.extract()
    before = contents.state(bench.features)
    pictures.make_folder(bench.photographs, range(100, 130))
    with pytest.raises(StoppedError) as stopped:
        bench.extract(meanwhile=lambda done: signal.SIGINT if done > 12 else None)
    assert stopped.value.exit_code == 130
    assert contents.state(bench.features) == before
    assert not list((bench.features / ".fvcli" / "staging").glob("*.tmp")), "the shard in work is dropped whole"
    assert bench.extract() < 30
    assert len(bench.rows()) == 60


def broken_ones(bench: Bench) -> None:
    """Forty photographs, every fourth broken."""
    for number in range(40):
        data = pictures.broken(number) if number % 4 == 0 else pictures.picture(number)
        pictures.put(bench.photographs, f"{number:04d}.png", data)


@pytest.mark.parametrize("limit", ["5", "12.5%"])
def test_too_many_failures_end_the_run_and_what_is_done_stays(bench: Bench, limit: str) -> None:
    broken_ones(bench)
    with pytest.raises(TooManyFailuresError, match="stopped: 6 of 40 inputs failed") as given_up:
        bench.extract(max_failures=Limit.parse(limit, "--max-failures"), batch_size=1)
    assert given_up.value.exit_code == 1
    assert len(contents.data_files(bench.features)) == 2
    assert not (bench.features / "manifest.json").exists()
    assert not (bench.features / ".fvcli" / "in-work").exists()


def test_the_same_limit_holds_for_the_run_that_goes_on(bench: Bench) -> None:
    """Otherwise a command repeated by cron would creep past it, a few failures at a time."""
    broken_ones(bench)
    for _ in range(3):
        with pytest.raises(TooManyFailuresError):
            bench.extract(max_failures=Limit.parse("5", "--max-failures"))
    assert len(contents.data_files(bench.features)) == 2
    assert bench.extract(max_failures=Limit.parse("10", "--max-failures")) == 15
    assert bench.counts()["failed"] == 10


@pytest.mark.parametrize("limit", ["10", "25%"])
def test_as_many_failures_as_allowed_are_no_reason_to_stop(bench: Bench, limit: str) -> None:
    broken_ones(bench)
    bench.extract(max_failures=Limit.parse(limit, "--max-failures"))
    assert bench.counts()["failed"] == 10


@pytest.mark.parametrize("text", ["", "-1", "101%", "many", "2.5", "nan%", "inf%", "%"])
def test_a_limit_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(FvcliError) as refusal:
        Limit.parse(text, "--max-failures")
    assert refusal.value.exit_code == 2


@pytest.mark.slow
def test_the_command_says_why_it_gave_up(tmp_path: Path) -> None:
    photographs = tmp_path / "photographs"
    for number in range(4):
        pictures.put(photographs, f"{number}.png", pictures.broken(number))
    done = commands.run("extract", photographs, "-o", tmp_path / "features", "--max-failures", "2", "-b", "1")
    assert done.code == 1
    assert "stopped: 3 of 4 inputs failed, more than --max-failures allows" in done.said


def test_a_holder_that_was_suspended_for_too_long_changes_nothing_afterwards(bench: Bench) -> None:
    """Another host, whose kernel does not know of this one's lock, has found it stale, and runs."""
    pictures.make_folder(bench.photographs, range(40))
    other = json.dumps({"host": "another-host", "pid": 1, "since": "2026-01-01T00:00:00+00:00"}).encode()
    left: dict[str, bytes] = {}

    def files() -> dict[str, bytes]:
        return {
            str(file): file.read_bytes()
            for file in bench.features.rglob("*")
            if file.is_file() and file.parent.name != "staging"
        }

    def meanwhile(done: int) -> None:
        if done >= 15 and not left:
            (bench.features / ".fvcli" / "lock").write_bytes(other)
            (bench.features / ".fvcli" / "in-work").unlink()
            (bench.features / ".fvcli" / "in-work").write_bytes(b"the other's")
            left.update(files())

    with pytest.raises(LockedError, match="another run has taken over"):
        bench.extract(meanwhile=meanwhile)
    assert files() == left
    assert not list((bench.features / ".fvcli" / "staging").iterdir())


def test_a_plan_is_not_written_over_anothers(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures.make_folder(bench.photographs, range(5))

    def looking(observer: object, inputs: int) -> None:
        (bench.features / ".fvcli" / "lock").write_bytes(b"{}")

    monkeypatch.setattr(Observed, "discovered", looking)
    with pytest.raises(LockedError, match="another run has taken over"):
        bench.extract()
    assert not (bench.features / ".fvcli" / "plan.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("source", ["stdin", "pipe", "/dev/zero"])
def test_a_list_that_does_not_end_hears_a_signal(tmp_path: Path, source: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    names = {"stdin": "-", "pipe": str(tmp_path / "pipe")}.get(source, source)
    child = subprocess.Popen(
        [commands.FVCLI, "extract", "--files-from", names, "-0", "-o", tmp_path / "features"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    held, deadline = tmp_path / "features" / ".fvcli" / "lock", time.monotonic() + 60
    while not (held.exists() and held.read_bytes()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.2)
    child.send_signal(signal.SIGTERM)
    code = child.wait(timeout=PATIENCE_SECONDS)
    _, said = child.communicate()
    assert (code, said) == (143, "fvcli: interrupted; run the same command to resume\n")
