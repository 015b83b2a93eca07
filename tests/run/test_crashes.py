"""An input that brings the process down, for real, ends as a failure of stage "crash" while the rest goes on."""

from __future__ import annotations

import io
import os
import signal
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from fvcli.errors import StoppedError
from fvcli.images.memory import DEFAULT_LIMITS, Limits
from fvcli.records import Failure, ImageRef, InputSpec, Preprocessing, UInt8Array
from fvcli.run import crashes
from fvcli.run.crashes import Trial, crashing
from tests.helpers import commands, contents, pictures
from tests.helpers.in_process import Bench
from tests.helpers.processes import children, dying_decoder, run_at_start


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every Python process started from here has a decoder that dies of marked images."""
    run_at_start(monkeypatch, tmp_path / "site", dying_decoder("fvcli.images.loader"))


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


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        (None, Failure("crash", "TimedOut", "loading it took more than 120 s, in a process of its own")),
        (
            -signal.SIGSEGV,
            Failure(
                "crash", "SIGSEGV", "loading it ended a process by SIGSEGV; the file is left alone until it changes"
            ),
        ),
        (-signal.SIGTERM, None),
        (-signal.SIGINT, None),
        (-signal.SIGHUP, None),
        (-signal.SIGQUIT, None),
        (0, None),
        (1, None),
    ],
    ids=str,
)
def test_the_end_of_its_process_tells_whether_an_input_is_to_blame(
    monkeypatch: pytest.MonkeyPatch, code: int | None, failure: Failure | None
) -> None:
    monkeypatch.setattr(crashes, "_exit_code", lambda request, check: code)
    ref = ImageRef("r", "a.png")
    found = crashing([ref], Trial(InputSpec(8, 8), Preprocessing(), DEFAULT_LIMITS))
    assert found == ({} if failure is None else {ref: failure})


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize(
    ("mark", "name"), [(b"segfault", "SIGSEGV"), pytest.param(b"out of memory", "SIGKILL", marks=pytest.mark.slow)]
)
def test_an_input_that_ends_its_process_is_blamed(tmp_path: Path, mark: bytes, name: str) -> None:
    ((ref, failure),) = trial(tmp_path, mark).items()
    assert ref.path == "image.png"
    assert failure == Failure(
        "crash", name, f"loading it ended a process by {name}; the file is left alone until it changes"
    )


@pytest.mark.slow
@pytest.mark.usefixtures("site")
def test_an_input_is_not_blamed_for_a_process_that_was_stopped(tmp_path: Path) -> None:
    assert trial(tmp_path, b"stopped by hand") == {}


@pytest.mark.slow
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


@pytest.mark.slow
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


# --- what a dead run has noted ----------------------------------------------------------------------------------

Tried = list[list[str]]


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> Tried:
    """The paths of the suspects, call by call, of which those that begin with "bad" crash."""
    calls: Tried = []

    def crashing(suspects: Sequence[ImageRef], trial: Trial) -> dict[ImageRef, Failure]:
        calls.extend([[ref.path for ref in suspects]] if suspects else [])
        return {ref: Failure("crash", "SIGSEGV", "it crashes") for ref in suspects if ref.path.startswith("bad")}

    monkeypatch.setattr(crashes, "crashing", crashing)
    return calls


def died(bench: Bench, *slots: tuple[int, int], file: str = ".fvcli/in-work") -> None:
    """Leaves notes as a run does that died; the last one is cut."""
    place = bench.features / file
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(b"".join(struct.pack("<qq", *slot) for slot in slots) + b"\x00\x00\x00")


def stopped(bench: Bench) -> None:
    """A run that is stopped after its first shard of ten."""
    with pytest.raises(StoppedError):
        bench.extract(meanwhile=lambda done: signal.SIGINT if done >= 12 else None, workers=1)
    assert len(contents.data_files(bench.features)) == 1


def test_what_was_in_hand_when_a_run_died_is_tried_and_nothing_else(bench: Bench, tried: Tried) -> None:
    pictures.make_folder(bench.photographs, range(30))
    stopped(bench)
    died(bench, (2, 9), (-1, -1), (1, 3), (2, 9), (1, 10), (3, 0))
    died(bench, (1, 0), file=".fvcli/tasks/00001-of-00002.in-work")
    with pytest.raises(StoppedError):
        bench.extract(meanwhile=lambda done: signal.SIGINT, workers=1)
    assert tried == [["0010.png", "0013.png", "0029.png"]]
    assert not list((bench.features / ".fvcli" / "tasks").iterdir()), "nobody tries them again"
    bench.extract()
    assert tried == [["0010.png", "0013.png", "0029.png"]]
    assert not (bench.features / ".fvcli" / "in-work").exists()
    assert not list((bench.features / ".fvcli" / "tasks").iterdir())


def test_an_input_that_crashes_is_a_failure_and_no_other_run_tries_it_again(bench: Bench, tried: Tried) -> None:
    def interrupted() -> None:
        with pytest.raises(StoppedError):
            bench.extract(meanwhile=lambda done: signal.SIGINT, workers=1, batch_size=1)

    pictures.make_folder(bench.photographs, range(8))
    pictures.put(bench.photographs, "bad.png", pictures.picture(100))
    interrupted()
    died(bench, (0, 8))
    interrupted()
    assert tried == [["bad.png"]]
    assert bench.extract() == 8, "the list of those that crash is kept until the run ends"
    assert bench.failed() == {"bad.png": "crash"}
    assert not (bench.features / ".fvcli" / "crashed.jsonl").exists()
    assert bench.extract() == 0
    assert tried == [["bad.png"]]
    assert bench.extract(retry_failed=True) == 0
    assert tried == [["bad.png"], ["bad.png"]]
    assert bench.failed() == {"bad.png": "crash"}
    (bench.photographs / "bad.png").rename(bench.photographs / "better.png")
    assert bench.extract() == 1
    assert bench.failed() == {}


def test_a_trial_loads_the_input_as_the_run_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requests: list[bytes] = []
    loaded: list[object] = []
    written: list[str] = []

    class Loader:
        def __init__(self, *settings: object) -> None:
            loaded.extend(settings)

        def load(self, ref: ImageRef, out: UInt8Array) -> None:
            loaded.extend([ref, out.shape])

    spec = InputSpec(6, 9, channel_ranges=None, value_range=(-1.0, 1.0))
    trial = Trial(spec, Preprocessing("exact", "crop", 0.5, "lanczos"), Limits(1234))
    ref = ImageRef("root", "odd\\xff.jpg", b"odd\xff.jpg", base_folder=str(tmp_path))
    monkeypatch.setattr(crashes, "_exit_code", lambda request, check: requests.append(request) or 0)
    assert crashes.crashing([ref], trial) == {}
    monkeypatch.setattr(crashes, "ImageLoader", Loader)
    monkeypatch.setattr(crashes.Path, "write_text", lambda path, text: written.append(f"{path} {text}"))
    monkeypatch.setattr(crashes.sys, "stdin", io.TextIOWrapper(io.BytesIO(requests[0])))
    crashes._main()
    assert loaded == [spec, trial.preprocessing, trial.limits, ref, (6, 9, 3)]
    assert isinstance(loaded[3], ImageRef)
    assert (loaded[3].path_bytes, loaded[3].base_folder) == (b"odd\xff.jpg", str(tmp_path))
    assert written == ["/proc/self/oom_score_adj 1000"], "if memory runs out, the kernel kills this process"
