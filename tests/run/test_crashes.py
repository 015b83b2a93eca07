"""An input that brings the process down, for real, ends as a failure of stage "crash" while the rest goes on."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from fvcli.images.memory import DEFAULT_LIMITS
from fvcli.records import Failure, ImageRef, InputSpec, Preprocessing
from fvcli.run import crashes
from fvcli.run.crashes import Trial, crashing
from tests.helpers import commands, contents, pictures
from tests.helpers.processes import children, run_at_start

SITE = """
import ctypes, os, signal, time
import fvcli.images.loader as pipeline

decode = pipeline.decode

def brought_down(data, *arguments, **options):
    if data.endswith(b"segfault"):
        ctypes.string_at(0)
    if data.endswith(b"out of memory"):
        os.kill(os.getpid(), signal.SIGKILL)
    if data.endswith(b"stopped by hand"):
        os.kill(os.getpid(), signal.SIGTERM)
    if data.endswith(b"hangs"):
        time.sleep(600)
    return decode(data, *arguments, **options)

pipeline.decode = brought_down
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every Python process started from here has a decoder that dies of marked images."""
    run_at_start(monkeypatch, tmp_path / "site", SITE)


def extract(folder: Path, *options: str) -> commands.Outcome:
    return commands.run(
        "extract", folder / "photographs", "-o", folder / "features", "--shard-size", "10", "-b", "4", "-q", *options
    )


def until_it_ends(folder: Path, *options: str) -> tuple[commands.Outcome, int]:
    """Repeats the command as cron would; returns how it ended at last, and how many runs died."""
    for died in range(8):
        done = extract(folder, *options)
        if done.code >= 0:
            return done, died
    pytest.fail("the input brings down every run")


@pytest.mark.slow
@pytest.mark.usefixtures("site")
def test_inputs_that_crash_are_isolated_and_the_rest_goes_on(tmp_path: Path) -> None:
    photographs = pictures.make_folder(tmp_path / "photographs", range(35))
    for name, mark in (("0013-bad.png", b"segfault"), ("0021-worse.png", b"out of memory")):
        pictures.put(photographs, name, pictures.picture(50) + mark)

    done, died = until_it_ends(tmp_path)

    assert done.code == 3
    assert 1 <= died <= 2
    lines = {line["path"]: line for line in contents.failures(tmp_path / "features")}
    assert {name: (line["stage"], line["error"]) for name, line in lines.items()} == {
        "0013-bad.png": ("crash", "SIGSEGV"),
        "0021-worse.png": ("crash", "SIGKILL"),
    }
    assert len(contents.rows(tmp_path / "features")) == 35
    assert contents.counts(tmp_path / "features")["failed"] == 2
    assert commands.run("verify", tmp_path / "features").code == 0

    assert extract(tmp_path).code == 3, "left alone from now on"
    assert extract(tmp_path, "--retry-failed").code == 3, "tried by itself first, which costs no run its life"
    assert {line["stage"] for line in contents.failures(tmp_path / "features")} == {"crash"}

    pictures.put(photographs, "0013-bad.png", pictures.picture(50), pictures.SOME_TIME_NS + 1)
    pictures.put(photographs, "0021-worse.png", pictures.picture(51), pictures.SOME_TIME_NS + 1)
    assert extract(tmp_path).code == 0
    assert len(contents.rows(tmp_path / "features")) == 37


@pytest.mark.slow
@pytest.mark.usefixtures("site")
def test_an_update_is_kept_going_too(tmp_path: Path) -> None:
    photographs = pictures.make_folder(tmp_path / "photographs", range(12))
    assert extract(tmp_path).code == 0
    pictures.put(photographs, "0005.png", pictures.picture(50) + b"segfault")
    pictures.put(photographs, "0006-new.png", pictures.picture(51))
    done, died = until_it_ends(tmp_path)
    assert (done.code, died) == (3, 1)
    assert {line["path"] for line in contents.failures(tmp_path / "features")} == {"0005.png"}
    assert len(contents.rows(tmp_path / "features")) == 12


def trial(tmp_path: Path, mark: bytes, check: object = lambda: None) -> dict[ImageRef, object]:
    pictures.put(tmp_path, "image.png", pictures.picture(1) + mark)
    ref = ImageRef(str(tmp_path), "image.png")
    return dict(
        crashing([ref], Trial(InputSpec(8, 8, (0.0, 1.0)), Preprocessing(), DEFAULT_LIMITS, check))  # type: ignore[arg-type]
    )


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize(("mark", "name"), [(b"segfault", "SIGSEGV"), (b"out of memory", "SIGKILL")])
def test_an_input_that_ends_its_process_is_blamed(tmp_path: Path, mark: bytes, name: str) -> None:
    ((ref, failure),) = trial(tmp_path, mark).items()
    assert ref.path == "image.png"
    assert failure == Failure(
        "crash", name, f"loading it ended a process by {name}; the file is left alone until it changes"
    )


@pytest.mark.usefixtures("site")
def test_an_input_is_not_blamed_for_a_process_that_was_stopped(tmp_path: Path) -> None:
    assert trial(tmp_path, b"stopped by hand") == {}


@pytest.mark.usefixtures("site")
def test_an_input_that_hangs_is_blamed_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crashes, "TIMEOUT_SECONDS", 1.0)
    (failure,) = trial(tmp_path, b"hangs").values()
    assert (failure.stage, failure.error) == ("crash", "TimedOut")  # type: ignore[attr-defined]


@pytest.mark.usefixtures("site")
def test_a_signal_breaks_a_trial_off(tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    def check() -> None:
        raise StopError

    with pytest.raises(StopError):
        trial(tmp_path, b"hangs", check)


@pytest.mark.usefixtures("site")
def test_the_whole_ones_are_cleared(tmp_path: Path) -> None:
    assert trial(tmp_path, b"") == {}
    pictures.put(tmp_path, "image.png", b"no image at all")
    assert (
        crashing([ImageRef(str(tmp_path), "image.png")], Trial(InputSpec(8, 8), Preprocessing(), DEFAULT_LIMITS)) == {}
    )


@pytest.mark.slow
@pytest.mark.usefixtures("site")
def test_ctrl_c_at_the_terminal_blames_nobody(tmp_path: Path) -> None:
    """The terminal sends SIGINT to the whole process group, while an innocent suspect is being tried."""
    photographs = pictures.make_folder(tmp_path / "photographs", range(12))
    pictures.put(photographs, "0001-bad.png", pictures.picture(50) + b"segfault")
    assert extract(tmp_path).code == -signal.SIGSEGV
    in_work = tmp_path / "features" / ".fvcli" / "in-work"
    assert in_work.stat().st_size > 0
    child = subprocess.Popen(
        [commands.FVCLI, "extract", photographs, "-o", tmp_path / "features", "--shard-size", "10", "-b", "4"],
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    while child.poll() is None and not children(child.pid):
        pass
    os.killpg(child.pid, signal.SIGINT)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 130, said
    done, _ = until_it_ends(tmp_path)
    assert done.code == 3
    assert {line["path"] for line in contents.failures(tmp_path / "features")} == {"0001-bad.png"}
