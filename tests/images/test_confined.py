"""Large and rare images are decoded in processes with limits, which the run survives and can stop."""

from __future__ import annotations

import gc
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fvcli.errors import ImageError
from fvcli.images import confined
from fvcli.images.confined import AbandonedError, DecodingProcesses
from fvcli.images.loader import ImageLoader
from fvcli.images.memory import Budget, Limits
from fvcli.records import ImageFile, InputSpec, Preprocessing
from tests.helpers.commands import FVCLI
from tests.helpers.processes import children, dying_decoder, run_at_start
from tests.helpers.samples import picture, samples, saved

SPEC = InputSpec(32, 32)
MEMORY = 64 * 1024**2


def slow_jpeg(scans: int = 112) -> bytes:
    """A progressive JPEG of one color, 8000 x 4000 pixels, with its last scan many times: minutes of work."""
    data = saved("JPEG", picture().resize((8, 8)).resize((8000, 4000), 0), progressive=True, quality=10)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * scans + data[-2:]


@pytest.fixture(scope="module")
def slow() -> bytes:
    return slow_jpeg()


def never() -> bool:
    return False


def processes(seconds: int = 20) -> DecodingProcesses:
    return DecodingProcesses(SPEC, Preprocessing(), Limits(), seconds)


QOI = saved("QOI")


def test_one_process_serves_many_images_and_ends_with_its_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def start(module: str, stdout: int) -> subprocess.Popen[bytes]:
        started.append(original(module, stdout))
        return started[-1]

    original = confined.start_module
    monkeypatch.setattr(confined, "start_module", start)
    owner = processes()
    for _ in range(5):
        image = owner.decode(QOI, MEMORY, never)
        assert (image.width, image.height, image.format) == (120, 80, "QOI")
    with pytest.raises(ImageError):
        owner.decode(QOI[:300], MEMORY, never)
    assert len(started) == 1
    del owner
    gc.collect()
    assert started[0].wait(60) is not None


def test_a_process_that_decodes_has_limits_of_memory_and_cpu_time(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    found: list[subprocess.Popen[bytes]] = []
    original = confined.start_module

    def start(module: str, stdout: int) -> subprocess.Popen[bytes]:
        found.append(original(module, stdout))
        return found[-1]

    monkeypatch.setattr(confined, "start_module", start)
    owner = processes(seconds=20)
    limits = []
    for memory in (MEMORY, 3 * MEMORY):
        owner.decode(QOI, memory, never)
        limits.append(resource.prlimit(found[0].pid, resource.RLIMIT_AS)[0])
    assert limits[1] - limits[0] > MEMORY, "as much as each image may take, beside what the process has"
    assert 20 < resource.prlimit(found[0].pid, resource.RLIMIT_CPU)[0] < 60


@pytest.mark.slow
def test_an_image_that_takes_too_long_is_a_failure(slow: bytes) -> None:
    owner = processes(seconds=0)
    with pytest.raises(ImageError, match="more time") as caught:
        owner.decode(slow, 10 * MEMORY, never)
    assert caught.value.kind == "TimedOut"
    assert owner.decode(QOI, MEMORY, never).format == "QOI"


def test_a_run_that_stops_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_at_start(monkeypatch, tmp_path / "site", dying_decoder("fvcli.images.decode"))
    asked = iter([False, True])
    with pytest.raises(AbandonedError):
        processes(seconds=1000).decode(QOI + b"hangs", MEMORY, lambda: next(asked))


def test_an_image_that_ends_the_process_is_a_failure_and_the_next_one_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_at_start(monkeypatch, tmp_path / "site", dying_decoder("fvcli.images.decode"))
    owner = processes()
    with pytest.raises(ImageError, match="SIGSEGV") as caught:
        owner.decode(QOI + b"segfault", MEMORY, never)
    assert (caught.value.stage, caught.value.kind) == ("crash", "SIGSEGV")
    assert owner.decode(QOI, MEMORY, never).format == "QOI"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs RLIMIT_AS and /proc")
def test_memory_beyond_the_estimate_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture of 130 million pixels against a limit that allows for a few."""
    from tests.helpers.bombs import black_png

    data = black_png(13_000, 10_000)
    with pytest.raises(ImageError) as caught:
        processes().decode(data, 1, never)
    assert caught.value.kind == "OutOfMemory"


@pytest.mark.parametrize(
    "preprocessing",
    [Preprocessing(), Preprocessing("exact"), Preprocessing("exact", "crop", 0.5, "bicubic"), Preprocessing(fit="pad")],
    ids=str,
)
def test_a_picture_has_the_same_pixels_in_either_place(
    monkeypatch: pytest.MonkeyPatch, preprocessing: Preprocessing
) -> None:
    monkeypatch.setattr(confined, "_limit", lambda memory, seconds: None)  # of this process, here
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    data = saved("JPEG", picture().resize((400, 300)), quality=90)
    out = np.zeros((32, 32, 3), np.uint8)
    info = ImageLoader(SPEC, preprocessing).prepare(ImageFile(data, "", len(data), 0), out)
    request = DecodingProcesses(SPEC, preprocessing, Limits())._settings | {"memory": 0}
    answer, pixels = confined._answer(request, data)
    assert pixels == out.tobytes()
    assert answer == {"width": 400, "height": 300, "format": "JPEG"}
    assert (info.width, info.height, info.format) == (400, 300, "JPEG")
    with pytest.raises(ImageError, match="more than the limit of 119,999"):
        ImageLoader(SPEC, preprocessing, Limits(119_999)).prepare(ImageFile(data, "", len(data), 0), out)
    refused, nothing = confined._answer(request | {"max_pixels": 119_999}, data)
    assert (refused["error"][:2], nothing) == (["decode", "TooManyPixels"], b"")


@pytest.mark.slow
def test_the_budget_is_given_back_whatever_becomes_of_the_image() -> None:
    budget = Budget(1 << 30)
    loader = ImageLoader(SPEC, Preprocessing(), budget=budget)
    out = np.zeros((32, 32, 3), np.uint8)
    for name in ("a.qoi", "a.heic", "a.tga"):
        data = samples()[name].data
        loader.prepare(ImageFile(data, "", len(data), 0), out)
        assert budget.used == 0
        with pytest.raises(ImageError):
            loader.prepare(ImageFile(data[: len(data) // 2], "", len(data), 0), out)
        assert budget.used == 0


def test_the_budget_holds_what_an_image_in_a_process_of_its_own_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    budget, used = Budget(1 << 30), []
    original = DecodingProcesses.decode

    def decode(owner: DecodingProcesses, data: bytes, memory: int, stopped: Callable[[], bool]) -> object:
        used.append((budget.used, memory))
        return original(owner, data, memory, stopped)

    monkeypatch.setattr(DecodingProcesses, "decode", decode)
    out = np.zeros((32, 32, 3), np.uint8)
    ImageLoader(SPEC, Preprocessing(), budget=budget).prepare(ImageFile(QOI, "", len(QOI), 0), out)
    assert used == [(120 * 80 * 16, 120 * 80 * 16)]
    assert budget.used == 0


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_are_heard_while_an_image_takes_long(tmp_path: Path, slow: bytes, number: signal.Signals) -> None:
    for index in range(3):
        (tmp_path / f"{index}.jpg").write_bytes(slow)
    run = subprocess.Popen(
        [FVCLI, "extract", tmp_path, "-o", tmp_path / "f", "-j", "2", "-q"], stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not children(run.pid):
        time.sleep(0.05)
    time.sleep(0.5)
    run.send_signal(number)
    assert run.wait(60) == 128 + number


NOISY = """
import os
import fvcli.images.decode as module
decode = module.decode
def noisy(*arguments, **options):
    os.write(1, b"what a library prints")
    return decode(*arguments, **options)
module.decode = noisy
"""


def test_what_a_library_prints_is_no_part_of_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_at_start(monkeypatch, tmp_path / "site", NOISY)
    image = processes().decode(QOI, MEMORY, never)
    assert (image.width, image.height) == (120, 80)


def test_no_answer_means_that_the_process_ended() -> None:
    assert confined._ended(-signal.SIGXCPU).kind == "TimedOut"
    assert confined._ended(-signal.SIGKILL).kind == "OutOfMemory"
    assert confined._ended(1).stage == "crash"
