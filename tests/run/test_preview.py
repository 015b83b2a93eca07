"""``extract --dry-run`` and ``--limit``: what would be done, and a part of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from fvcli.errors import DatasetError, SourceError, StoppedError, UsageError
from fvcli.records import Limit
from fvcli.run import preview as previews
from fvcli.run.preview import Difference, Preview
from fvcli.run.request import ExtractRequest, Silent, make_request
from fvcli.sources.discover import Sources
from tests.helpers import contents, pictures
from tests.helpers.in_process import Bench

FVCLI = str(Path(sys.executable).with_name("fvcli"))


@pytest.fixture(autouse=True)
def _the_benchs_model(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(previews, "load_model", lambda name, engine: bench.model)


def preview(bench: Bench, **options: object) -> tuple[Preview, dict[str, str]]:
    """The counts and, by path, what differs. Nothing in the dataset may change."""
    before = state(bench.features)
    found: dict[str, str] = {}

    def note(difference: Difference, ref: object) -> None:
        found[ref.path] = difference  # type: ignore[attr-defined]

    sources = options.pop("sources", Sources((str(bench.photographs),)))
    request = ExtractRequest(sources, str(bench.features), shard_size=10, **options)  # type: ignore[arg-type]
    counts = previews.preview(request, note, Silent())
    assert state(bench.features) == before
    return counts, found


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {str(file): (file.stat().st_mtime_ns, file.read_bytes()) for file in folder.rglob("*") if file.is_file()}


def fill(bench: Bench, numbers: range) -> None:
    for number in numbers:
        pictures.put(bench.photographs, f"{number:02d}.png", pictures.picture(number))


def test_of_a_first_run_everything_is_new_and_no_folder_is_made(bench: Bench) -> None:
    fill(bench, range(5))
    (bench.photographs / "notes.txt").write_text("no image")
    counts, found = preview(bench)
    assert not bench.features.exists()
    assert (counts.new, counts.same, counts.passed_over) == (5, 0, {".txt": 1})
    assert set(found.values()) == {"new"}


def test_every_kind_of_difference_is_what_the_run_then_does(bench: Bench) -> None:
    fill(bench, range(20))
    (bench.photographs / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (bench.photographs / "healed.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    bench.extract()
    (bench.photographs / "03.png").unlink()
    (bench.photographs / "04.png").rename(bench.photographs / "renamed.png")
    pictures.put(bench.photographs, "05.png", pictures.picture(105))
    pictures.put(bench.photographs, "added.png", pictures.picture(106))
    pictures.put(bench.photographs, "healed.png", pictures.picture(107))
    counts, found = preview(bench)
    assert found == {
        "03.png": "gone",
        "04.png": "gone",
        "05.png": "changed",
        "added.png": "new",
        "broken.png": "failed before",
        "healed.png": "retried",
        "renamed.png": "renamed",
    }
    assert (counts.same, counts.new, counts.changed, counts.renamed) == (17, 1, 1, 1)
    assert (counts.gone, counts.retried, counts.failed_before) == (2, 1, 1)
    extracted = bench.extract()
    assert extracted == counts.new + counts.changed + counts.retried
    after, nothing = preview(bench)
    assert (after.same, after.gone, after.failed_before) == (21, 2, 1)
    assert set(nothing.values()) == {"gone", "failed before"}


def test_retry_failed_and_overwrite_say_so(bench: Bench) -> None:
    fill(bench, range(3))
    (bench.photographs / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    bench.extract()
    assert preview(bench, retry_failed=True)[1] == {"broken.png": "retried"}
    assert Counter(preview(bench, overwrite=True)[1].values()) == {"new": 4}


def test_what_the_run_would_refuse_is_refused(bench: Bench) -> None:
    fill(bench, range(10))
    bench.extract()
    for number in range(8):
        (bench.photographs / f"{number:02d}.png").unlink()
    assert preview(bench)[0].gone == 8
    with pytest.raises(SourceError, match="--prune would drop 8"):
        preview(bench, prune=True, prune_limit=Limit.parse("50%", "--prune-limit"))
    with pytest.raises(DatasetError, match="dtype float32"):
        preview(bench, dtype="float16")


def test_rows_from_elsewhere_are_neither_gone_nor_listed(bench: Bench) -> None:
    fill(bench, range(4))
    bench.extract()
    other = bench.photographs.parent / "other"
    other.mkdir()
    pictures.put(other, "x.png", pictures.picture(50))
    counts, found = preview(bench, sources=Sources((str(other),)))
    assert (counts.elsewhere, counts.gone, found) == (4, 0, {"x.png": "new"})


# --- limit ------------------------------------------------------------------------------------------------------


def test_a_limit_takes_the_first_inputs_in_order_and_the_next_run_more(bench: Bench) -> None:
    fill(bench, range(12))
    sources = Sources((str(bench.photographs),), limit=5)
    assert bench.extract(sources=sources) == 5
    assert sorted(bench.rows()) == [f"{number:02d}.png" for number in range(5)]
    assert bench.extract(sources=Sources((str(bench.photographs),), limit=7)) == 2
    assert bench.extract() == 5
    assert len(bench.rows()) == 12


def test_rows_beyond_a_limit_stay_and_are_not_gone(bench: Bench) -> None:
    fill(bench, range(12))
    bench.extract()
    (bench.photographs / "11.png").unlink()
    (bench.photographs / "02.png").unlink()
    bench.extract(sources=Sources((str(bench.photographs),), limit=5))
    counts = contents.counts(bench.features)
    # 00 to 05 without 02 were found; 02 was looked for; what comes after 05 was not.
    assert (counts["rows"], counts["reused"], counts["stale"], counts["elsewhere"]) == (12, 5, 1, 6)


def test_a_limit_ends_before_a_second_root(bench: Bench) -> None:
    fill(bench, range(3))
    other = bench.photographs.parent / "zebra"
    other.mkdir()
    pictures.put(other, "x.png", pictures.picture(50))
    assert bench.extract(sources=Sources((str(bench.photographs), str(other)), limit=2)) == 2


def test_a_limit_goes_without_prune() -> None:
    with pytest.raises(UsageError, match="--limit and --prune"):
        make_request(["photos"], limit=3, prune=True)
    with pytest.raises(UsageError, match="limit is at least 1"):
        make_request(["photos"], limit=0)


# --- the command ------------------------------------------------------------------------------------------------


def fvcli(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([FVCLI, *map(str, arguments)], capture_output=True, text=True, cwd=cwd, check=False)


@pytest.mark.slow
def test_the_command_prints_and_writes_nothing(sample_images: Path, tmp_path: Path) -> None:
    done = fvcli("extract", sample_images, "-o", "f", "--dry-run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 24
    assert done.stdout.startswith("new ")
    assert "f: 24 new, 0 unchanged; nothing was written" in done.stderr
    assert os.listdir(tmp_path) == []
    printed = fvcli("extract", sample_images, "-o", "f", "--dry-run", "--json", "-q", cwd=tmp_path)
    assert json.loads(printed.stdout)["new"] == 24
    assert printed.stderr == ""
    for arguments in (["-o", "-", "--format", "jsonl"], ["-o", "rows.npy"], ["--task", "1/2"]):
        sources = [] if "--task" in arguments else [sample_images]
        refused = fvcli("extract", *sources, *arguments, "--dry-run", cwd=tmp_path)
        assert refused.returncode == 2
        assert "--dry-run" in refused.stderr


@pytest.mark.slow
def test_a_stream_can_be_limited(sample_images: Path, tmp_path: Path) -> None:
    names = tmp_path / "names"
    names.write_text(f"{sample_images}/cat.jpg\n" * 30)
    for arguments in ([sample_images], ["--files-from", names], [sample_images / "cat.jpg", "--files-from", names]):
        done = fvcli("extract", *arguments, "-o", "-", "--format", "jsonl", "--limit", "7", "-b", "3", cwd=tmp_path)
        assert done.returncode in (0, 3), done.stderr
        failed = done.stderr.count('"stage"')
        assert done.stdout.count("\n") + failed == 7


def test_files_that_get_another_root_are_renamed(bench: Bench) -> None:
    fill(bench, range(8))
    inner = pictures.make_folder(bench.photographs / "inner", range(20, 23))
    bench.extract(sources=Sources((str(inner),)))
    counts, found = preview(bench)
    assert (counts.new, counts.renamed, counts.gone, counts.elsewhere) == (8, 3, 0, 0)
    assert {path for path, kind in found.items() if kind == "renamed"} == {f"inner/{n:04d}.png" for n in range(20, 23)}


def test_a_folder_without_images_is_refused(bench: Bench) -> None:
    (bench.photographs / "notes.txt").write_text("no image")
    with pytest.raises(SourceError, match="no images found in"):
        preview(bench)


def test_an_interrupted_run_is_told(bench: Bench) -> None:
    fill(bench, range(30))
    with pytest.raises(StoppedError):
        bench.extract(meanwhile=lambda done: 2 if done >= 12 else None)
    assert preview(bench)[0].unfinished == 3
    bench.extract()
    assert preview(bench)[0].unfinished == 0
