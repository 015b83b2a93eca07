"""The messages of commands, whole: lines for a person, events and metrics for a program."""

from __future__ import annotations

import hashlib
import json
import re
import webbrowser
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fvcli as fvcli_package
from fvcli.explore.inspect import FailureKind
from fvcli.explore.status import RunningProcess, RunStatus, TaskStatus
from tests.helpers import contents, pictures
from tests.helpers.commands import here as fvcli

LATER_NS = pictures.SOME_TIME_NS + 10**9
BROKEN = "failed: photos/zz.png: the file ends in the middle of the image"


@pytest.fixture(autouse=True)
def photos(memory_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four pictures, a copy of one, one that is broken and a text, in "photos" of the working folder."""
    monkeypatch.chdir(memory_path)
    folder = pictures.make_folder(memory_path / "photos", range(4))
    pictures.put(folder, "copy.png", pictures.picture(1))
    pictures.put(folder, "zz.png", pictures.broken(7))
    (folder / "notes.txt").write_text("not a picture")
    return folder


def told(*arguments: str, code: int = 0) -> list[str]:
    """The lines of a command on stderr; times and rates are left out of them."""
    done = fvcli(*arguments)
    assert done.exit_code == code, done.stderr
    return [
        re.sub(r" in [\d.]+ s\b(, [\d,]+ images/s)?", lambda match: " in T" + (", R" if match[1] else ""), line)
        for line in done.stderr.splitlines()
    ]


def listing() -> str:
    """The place of the list of failures."""
    (file,) = Path("features/failures").iterdir()
    return file.as_posix()


def change(photos: Path) -> None:
    """One file is gone, one changed, one renamed, and one is new."""
    (photos / "0000.png").unlink()
    pictures.put(photos, "0002.png", pictures.picture(22), LATER_NS)
    (photos / "0003.png").rename(photos / "0004.png")
    pictures.put(photos, "new.png", pictures.picture(50))


def test_a_run_says_what_it_did_and_the_next_one_that_nothing_was_left(photos: Path) -> None:
    assert told("extract", "photos", code=3) == [
        "passed over: 1 .txt",
        BROKEN,
        "features: 5 rows (5 extracted, 1 failed) in T, R",
        f"1 failure listed in {listing()}",
    ]
    again = [
        "passed over: 1 .txt",
        "features: 5 rows (0 extracted, 5 reused, 1 failed) in T",
        f"1 failure listed in {listing()}",
        "1 input failed before and was skipped; --retry-failed retries it",
    ]
    assert told("extract", "photos", code=3) == again
    assert told("extract", "photos", "--retry-failed", code=3) == [again[0], BROKEN, *again[1:3]]
    (photos / "zz.png").unlink()
    (photos / "notes.txt").unlink()
    assert told("extract", "photos") == ["features: 5 rows (0 extracted, 5 reused, 0 failed) in T"]


def test_several_inputs_that_failed_before_are_they(photos: Path) -> None:
    pictures.put(photos, "zy.png", pictures.broken(8))
    told("extract", "photos", code=3)
    assert told("extract", "photos", code=3)[-1] == (
        "2 inputs failed before and were skipped; --retry-failed retries them"
    )


def test_rows_whose_files_are_gone_are_told_and_so_are_those_that_go(photos: Path) -> None:
    told("extract", "photos", code=3)
    change(photos)
    assert told("extract", "photos", code=3)[1] == (
        "features: 7 rows (2 extracted, 3 reused, 2 stale, 1 failed) in T, R"
    )
    assert told("extract", "photos", "--prune", code=3)[1] == (
        "features: 5 rows (0 extracted, 5 reused, 2 pruned, 1 failed) in T"
    )
    assert told("extract", "photos/new.png") == ["features: 5 rows (0 extracted, 1 reused, 4 elsewhere, 0 failed) in T"]


def test_of_many_failures_five_are_told_one_by_one(photos: Path) -> None:
    for number in range(10, 16):
        pictures.put(photos, f"b{number}.png", pictures.broken(number))
    lines = told("extract", "photos", code=3)
    assert [line.split(":")[1] for line in lines if line.startswith("failed: ph")] == [
        f" photos/b{number}.png" for number in range(10, 15)
    ]
    assert lines[6:] == [
        "failed: more inputs; all are listed in failures/",
        "features: 5 rows (5 extracted, 7 failed) in T, R",
        f"7 failures listed in {listing()}",
    ]


def test_a_dry_run_says_what_would_happen_to_what(photos: Path) -> None:
    done = fvcli("extract", "photos", "--dry-run")
    assert done.stdout.splitlines() == [f"new           photos/{name}" for name in sorted(_pictures(photos))]
    assert done.stderr.splitlines()[-1] == "features: 6 new, 0 unchanged; nothing was written"
    assert not Path("features").exists()
    told("extract", "photos", code=3)
    change(photos)
    done = fvcli("extract", "photos", "--dry-run")
    assert sorted(done.stdout.splitlines()) == [
        "changed       photos/0002.png",
        "failed before photos/zz.png",
        "gone          photos/0000.png",
        "gone          photos/0003.png",
        "new           photos/new.png",
        "renamed       photos/0004.png",
    ]
    assert done.stderr.splitlines()[-1] == (
        "features: 1 new, 1 changed, 1 renamed, 2 gone, 1 failed before, 2 unchanged; nothing was written"
    )
    assert fvcli("extract", "photos", "--dry-run", "-q").output == ""


def _pictures(photos: Path) -> list[str]:
    return [file.name for file in photos.iterdir() if file.suffix == ".png"]


# --- events and metrics -----------------------------------------------------------------------------------------


def events(*arguments: str, code: int = 0) -> list[dict[str, Any]]:
    """The events of a run, checked to have a time, which is left out."""
    done = fvcli(*arguments, "--log-format", "json")
    assert done.exit_code == code, done.stderr
    found = [json.loads(line) for line in done.stderr.splitlines()]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", event.pop("time")) for event in found)
    return found


def test_each_event_has_all_of_its_fields() -> None:
    looked, planned, failure, finished = events("extract", "photos", code=3)
    assert looked == {"event": "passed_over", "counts": {".txt": 1}}
    assert planned == {"event": "planned", "total": 6, "done": 0}
    assert (failure["event"], failure["root"], failure["path"]) == ("failure", "photos", "zz.png")
    assert (failure["stage"], failure["error"]) == ("decode", "Truncated")
    assert failure["message"] == "the file ends in the middle of the image"
    wanted = {"event": "finished", "discovered": 6, "extracted": 5, "reused": 0, "failed": 1, "stale": 0, "rows": 5}
    wanted |= {"elsewhere": 0, "pruned": 0, "passed_over": {".txt": 1}, "zero_vectors": 0, "output": "features"}
    assert {name: finished[name] for name in wanted} == wanted
    assert finished["model"] == "embedded"
    assert events("extract", "nowhere", code=2)[0] | {"message": ""} == {
        "event": "error", "message": "", "exit_code": 2,
    }  # fmt: skip
    (frozen,) = (each for each in events("plan", "photos", "-o", "p", "--shard-size", "4") if each["event"] == "frozen")
    assert frozen == {"event": "frozen", "output": "p", "shards": 2, "done": 0, "inputs": 6}
    assert events("extract", "photos/copy.png", "-o", "rows.npy")[-1]["extracted"] == 1
    assert events("extract", "photos/copy.png", "-o", "other", "-q") == []


def metrics() -> dict[str, float]:
    """The samples of m.prom by name; each must follow the help and the type of its metric, and name the dataset."""
    lines = Path("m.prom").read_text("utf-8").splitlines()
    found = {}
    for described, typed, sample in zip(lines[::3], lines[1::3], lines[2::3], strict=True):
        match = re.fullmatch(r'(\w+)\{dataset="(.*)"\} ([0-9.e+]+)', sample)
        assert match is not None, sample
        assert match[2] == str(Path("features").resolve())
        assert described.startswith(f"# HELP {match[1]} ")
        assert typed == f"# TYPE {match[1]} gauge"
        found[match[1]] = float(match[3])
    return found


def test_the_metrics_are_those_of_the_last_run_and_stay_after_one_that_ends_badly(photos: Path) -> None:
    told("extract", "photos", "--metrics-file", "m.prom", code=3)
    change(photos)
    told("extract", "photos", "--metrics-file", "m.prom", code=3)
    after = metrics()
    assert {name: after[f"fvcli_{name}"] for name in ("inputs", "failed_inputs", "rows", "stale_rows")} == {
        "inputs": 6, "failed_inputs": 1, "rows": 7, "stale_rows": 2,
    }  # fmt: skip
    assert (after["fvcli_elsewhere_rows"], after["fvcli_pruned_rows"]) == (0, 0)
    assert (after["fvcli_last_run_extracted_images"], after["fvcli_last_run_exit_code"]) == (2, 3)
    assert after["fvcli_last_finished_timestamp_seconds"] == after["fvcli_last_run_timestamp_seconds"]
    told("extract", "nowhere", "--metrics-file", "m.prom", code=2)
    ended = metrics()
    assert ended.pop("fvcli_last_run_exit_code") == 2
    assert ended.pop("fvcli_last_run_timestamp_seconds") > after["fvcli_last_run_timestamp_seconds"]
    ended.pop("fvcli_last_run_duration_seconds")
    assert ended == {name: after[name] for name in ended}
    assert len(ended) == 8
    told("extract", "photos/new.png", "--prune", "--metrics-file", "m.prom")
    found = metrics()
    assert (found["fvcli_elsewhere_rows"], found["fvcli_inputs"], found["fvcli_last_run_exit_code"]) == (6, 1, 0)
    assert found["fvcli_pruned_rows"] == 0
    told("extract", "photos", "--prune", "--metrics-file", "m.prom", code=3)
    found = metrics()
    assert (found["fvcli_elsewhere_rows"], found["fvcli_pruned_rows"], found["fvcli_rows"]) == (0, 2, 5)


def test_the_metrics_of_a_stream_are_its_counts() -> None:
    told("extract", "photos", "-o", "rows.npy", "--metrics-file", "m.prom", code=3)
    text = Path("m.prom").read_text("utf-8").replace("rows.npy", "features")
    Path("m.prom").write_text(text)
    found = metrics()
    assert (found["fvcli_inputs"], found["fvcli_failed_inputs"], found["fvcli_last_run_extracted_images"]) == (6, 1, 5)
    assert found["fvcli_last_run_exit_code"] == 3
    assert "fvcli_rows" not in found


# --- other commands ---------------------------------------------------------------------------------------------


def test_a_stream_names_failures_and_counts_rows() -> None:
    lines = told("extract", "photos", "-o", "rows.jsonl", code=3)
    assert lines == [BROKEN, "passed over: 1 .txt", "rows.jsonl: 5 rows (1 failed) in T"]
    assert [json.loads(line)["path"] for line in Path("rows.jsonl").read_text().splitlines()] == [
        "0000.png", "0001.png", "0002.png", "0003.png", "copy.png",
    ]  # fmt: skip
    Path("none").mkdir()
    assert told("extract", "none", "-o", "none.jsonl") == [
        "none.jsonl: 0 rows (0 failed) in T",
        "no images found; check the sources and --include/--exclude",
    ]
    failure, passed_over = map(json.loads, told("extract", "photos", "-o", "-", "--format", "jsonl", code=3))
    assert (failure["path"], failure["error"], passed_over) == ("zz.png", "Truncated", {"passed_over": {".txt": 1}})


def test_a_plan_its_tasks_and_its_end() -> None:
    assert told("plan", "photos", "-o", "p", "--shard-size", "3")[-1] == (
        "p: 6 inputs to read in 2 shards; then fvcli extract -o p --task I/N"
    )
    assert fvcli("inspect", "p").stdout.split(None, 1) == ["run", "planned: 6 images in 2 shards, not begun\n"]
    assert told("finalize", "p", code=1) == [
        "fvcli: p: 2 of 2 shards are missing; no task has begun: fvcli extract -o p --task 1/N"
    ]
    assert told("extract", "-o", "p", "--task", "1/2") == ["task 1/2: 1 shard, 3 rows, 0 failed, in T"]
    done = fvcli("finalize", "p", "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (1, {"missing_shards": [1], "missing_tasks": ["2/2"]})
    assert told("plan", "photos", "-o", "p", "--shard-size", "3")[-1] == (
        "p: 6 inputs to read in 2 shards, 1 of them done; then fvcli extract -o p --task I/N"
    )
    assert told("extract", "-o", "p", "--task", "2/2", code=3) == [
        BROKEN,
        "task 2/2: 1 shard, 2 rows, 1 failed, in T",
    ]
    assert told("finalize", "p", code=3)[0] == "p: 5 rows (5 extracted, 1 failed) in T"
    assert fvcli("finalize", "p", "-q").output == ""


def test_verify_and_repair_name_what_is_damaged() -> None:
    told("extract", "photos", "--shard-size", "3", code=3)
    assert told("verify", "features", "--recompute", "9") == [
        "features: 5 rows in 2 shards, all as the manifest says",
        "recomputed 5 rows: 5 equal bit for bit",
    ]
    assert told("verify", "features", "-q") == []
    assert told("repair", "features") == ["features: no damaged file; nothing was dropped"]
    shard = sorted(Path("features/data").iterdir())[1]
    shard.write_bytes(b"x")
    Path("features/data/part-00009.parquet").write_bytes(b"")
    foreign, damaged, *advice = told("verify", "features", code=4)
    foreign, damaged = sorted((foreign, damaged), key=lambda line: "(its rows" in line)
    assert foreign.startswith("damaged: features/data/part-00009.parquet: ")
    assert damaged.startswith(f"damaged: {shard}: it has 1 bytes instead of ")
    assert damaged.endswith("(its rows: 2, from photos/0003.png to photos/copy.png)")
    assert advice == [
        "fvcli repair features drops what is damaged; the next extract computes only that again",
        "fvcli does not touch files that it did not write: move them away yourself",
    ]
    recomputed = told("verify", "features", "--recompute", "9", code=4)
    assert sorted(recomputed) == sorted([foreign, damaged, *advice]), "what is damaged is not recomputed"
    assert {foreign, damaged} <= set(told("verify", "features", "-q", code=4))
    *dropped, summary = told("repair", "features")
    assert [line.split(":")[1] for line in dropped if "(its rows" in line] == [f" {shard}"]
    assert summary == "features: dropped 1 damaged file; fvcli extract computes the rows again"
    assert contents.counts(Path("features"))["rows"] == 3


def test_rows_that_differ_when_computed_anew_are_damage_and_named(photos: Path) -> None:
    told("extract", "photos", code=3)
    (file,) = Path("features/data").iterdir()
    table = pq.read_table(file)
    vectors = table["embedding"].to_pylist()
    vectors[3] = [value + 0.125 for value in vectors[3]]
    column = table.schema.get_field_index("embedding")
    table = table.set_column(column, table.schema.field(column), pa.array(vectors, table.schema.field(column).type))
    _rewritten(file, table)
    done = fvcli("verify", "features", "--recompute", "9", "--json")
    assert done.exit_code == 4
    recomputed = json.loads(done.stdout)["recomputed"]
    assert (recomputed["compared"], recomputed["equal"]) == (5, 4)
    lines = told("verify", "features", "--recompute", "9", code=4)
    assert lines[1] == "recomputed 5 rows: 4 equal bit for bit"
    assert re.fullmatch(
        r"with the same library versions and CPU: max difference 0\.125, lowest cosine 0\.9\d*: photos/0003\.png",
        lines[2],
    )
    for picture in _pictures(photos):
        (photos / picture).unlink()
    assert told("verify", "features", "--recompute", "9", code=1)[-1].startswith("fvcli: recomputed nothing: of 5 rows")


def _rewritten(file: Path, table: Any) -> None:
    """The shard with other rows, and a manifest that vouches for it."""
    metadata = pq.read_schema(file).metadata
    pq.write_table(table.replace_schema_metadata(metadata), file)
    place = Path("features/manifest.json")
    manifest = json.loads(place.read_bytes())
    (shard,) = manifest["shards"]
    data = file.read_bytes()
    shard["bytes"], shard["sha256"] = len(data), hashlib.sha256(data).hexdigest()
    place.write_text(json.dumps(manifest))


def test_duplicates_are_rows_of_a_table_or_names() -> None:
    told("extract", "photos", code=3)
    size = str(len(pictures.picture(1)))
    done = fvcli("duplicates", "features", "--exact")
    assert [line.split("\t") for line in done.stdout.splitlines()] == [
        ["1", "keep", "1.0000", "32", "32", size, "photos/0001.png"],
        ["1", "same file", "1.0000", "32", "32", size, "photos/copy.png"],
    ]
    assert done.stderr == f"1 group, 2 images, {size} B could be freed\n"
    for wanted, names in (("keep", "photos/0001.png\n"), ("others", "photos/copy.png\n"), ("smaller", "")):
        assert fvcli("duplicates", "features", "--exact", "--print", wanted, "-q").output == names
    assert fvcli("duplicates", "features", "--exact", "--print", "same-file", "-0").stdout == "photos/copy.png\0"
    pictures.put(Path("photos"), "line\nbreak.png", pictures.picture(1))
    told("extract", "photos", code=3)
    broken = fvcli("duplicates", "features", "--exact", "--print", "others")
    assert (broken.exit_code, "has a line break in its name; add -0" in broken.stderr) == (2, True)
    names = fvcli("duplicates", "features", "--exact", "--print", "others", "-0").stdout.split("\0")
    assert names == ["photos/copy.png", "photos/line\nbreak.png", ""]
    Path("photos/line\nbreak.png").unlink()
    told("extract", "photos", "--prune", code=3)
    values = json.loads(fvcli("duplicates", "features", "--exact", "--json").stdout)
    assert (values["rows"], values["threshold"], values["images"], values["saving_bytes"]) == (5, None, 2, int(size))
    for threshold, images in (("0.5", 5), ("0.999", 2)):
        values = json.loads(fvcli("duplicates", "features", "--threshold", threshold, "--json").stdout)
        assert (values["threshold"], values["images"]) == (float(threshold), images)


def test_neighbors_are_rows_of_a_table_with_their_query() -> None:
    told("extract", "photos", code=3)
    Path("names").write_bytes(b"photos/0002.png\0")
    done = fvcli("neighbors", "features", "0001.png", "--files-from", "names", "-0", "-k", "2", "--unique")
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == ["0001.png", "0001.png", "photos/0002.png", "photos/0002.png"]
    assert [(row[1], row[2]) for row in rows[::2]] == [("1.0000", "photos/0001.png"), ("1.0000", "photos/0002.png")]
    assert "photos/copy.png" not in done.stdout
    found = json.loads(fvcli("neighbors", "features", "0001.png", "-k", "2", "--json").stdout)
    assert [(row["query"], row["path"]) for row in found] == [("0001.png", "0001.png"), ("0001.png", "copy.png")]
    Path("query.png").write_bytes(pictures.picture(3))
    assert fvcli("neighbors", "features", "query.png", "-k", "1").stdout == "query.png\t1.0000\tphotos/0003.png\n"
    both = fvcli("neighbors", "features", "query.png", "0001.png", "-k", "1").stdout.splitlines()
    assert [line.split("\t")[::2] for line in both] == [
        ["query.png", "photos/0003.png"], ["0001.png", "photos/0001.png"],
    ]  # fmt: skip
    assert "no-such-model" in told("neighbors", "features", "query.png", "--model", "no-such-model", code=1)[0]


def test_a_dataset_on_one_screen() -> None:
    told("extract", "photos", "--shard-size", "3", "--dtype", "float16", "--normalize", code=3)
    told("extract", "photos", "--shard-size", "3", "--dtype", "float16", "--normalize", code=3)
    lines = fvcli("inspect", "features").stdout.splitlines()
    shown = {line[:14].strip(): line[14:] for line in reversed(lines)}
    assert shown["dataset"] == "features"
    assert shown["rows"] == "5"
    assert shown["vectors"] == "1024 x float16"
    size = sum(file.stat().st_size for file in Path("features/data").iterdir())
    assert shown["files"] == f"2 parquet shards, {size / 1000:.3g} kB, {size / 5:,.0f} bytes per row"
    assert shown["from"] == "photos"
    assert shown["inputs"] == "6, 1 of them without a vector"
    failed = "      1  decode: Truncated, e.g. photos/zz.png: the file ends in the middle of the image"
    assert failed in [line[14:] for line in lines]
    assert "engine int8" in shown["recipe"]
    assert "normalize True" in shown["recipe"]
    assert "numpy" in shown["made with"]
    assert re.search(r"T\S+ +0 extracted +1 failed +\d+\.\d s", shown["last runs"])
    assert re.search(r"T\S+ +5 extracted +1 failed +\d+\.\d s", lines[-1])
    Path("photos/0000.png").unlink()
    told("extract", "photos", "--shard-size", "3", "--dtype", "float16", "--normalize", code=3)
    assert "\nrows          5, 1 of them stale (their files are gone)\n" in fvcli("inspect", "features").stdout


def test_a_report_and_an_export_name_what_they_wrote(photos: Path) -> None:
    told("extract", "photos", code=3)
    (photos / "0000.png").unlink()
    done = fvcli("report", "features", "-o", "page.html")
    assert (done.exit_code, done.stdout) == (0, f"{Path('page.html').resolve().as_uri()}\n")
    size = Path("page.html").stat().st_size
    *steps, wrote, gone = done.stderr.splitlines()
    assert "reading 5 pictures ..." in steps
    assert wrote.startswith("page.html: 5 rows, ")
    assert f"{size / 1000:.0f} kB" in wrote
    assert gone.startswith("no picture for 1 of 5 images: their files are not there")
    assert fvcli("report", "features", "-o", "page.html", "-q").output == ""
    assert told("export", "features", "--as", "projector") == [
        "5 rows: projector/tensors.tsv, projector/metadata.tsv, projector/projector_config.pbtxt"
    ]


def test_seed_and_pictures_of_a_report_are_those_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from fvcli.report import gather

    told("extract", "photos", code=3)
    asked: list[Any] = []
    real = gather.gather

    def record(dataset: Any, name: str, options: Any, observer: Any) -> Any:
        asked.append(options)
        return real(dataset, name, options, observer)

    monkeypatch.setattr(gather, "gather", record)
    told("report", "features", "--seed", "7", "--threshold", "0.8", "--no-pictures")
    told("report", "features")
    assert [(each.seed, each.threshold, each.with_pictures) for each in asked] == [(7, 0.8, False), (0, 0.9, True)]


def test_inspect_watches_until_no_run_is_unfinished(monkeypatch: pytest.MonkeyPatch) -> None:
    told("plan", "photos", "-o", "p")
    waits: list[float] = []

    def meanwhile(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            told("extract", "photos", "-o", "p", code=3)

    monkeypatch.setattr("fvcli.commands.inspect.time.sleep", meanwhile)
    screens = fvcli("inspect", "p", "--watch").stdout.strip().split("\n\n")
    assert waits == [2.0, 2.0]
    assert [screen.split()[0] for screen in screens] == ["run", "run", "dataset"]


RUN = RunStatus("f", "running", 1200, 5000, 3, 2, 9, 412.7, 3725.0, (), (), False)
HOST = RunningProcess(None, "host", 42, "2026-01-01T00:00:00+00:00")


@pytest.mark.parametrize(
    ("status", "lines"),
    [
        (
            replace(RUN, workers=(HOST,)),
            [
                "in progress: 1,200 of 5,000 images, 2 of 9 shards, 413 images/s, 1:02:05 left",
                "3 failed",
                "process 42 on host, since 2026-01-01T00:00:00+00:00",
            ],
        ),
        (
            replace(RUN, failed=0, images_per_second=None, seconds_left=None, done=0, total=1, shards_done=0, shards=1),
            ["in progress: 0 of 1 image, 0 of 1 shard"],
        ),
        (replace(RUN, failed=0, total=0, done=0, shards=0), ["in progress: looking for inputs"]),
        (
            replace(RUN, state="interrupted", failed=0),
            ["interrupted: 1,200 of 5,000 images, 2 of 9 shards; run the same command to resume"],
        ),
        (replace(RUN, state="planned", failed=0), ["planned: 5,000 images in 9 shards, not begun"]),
        (
            replace(
                RUN,
                state="interrupted",
                failed=0,
                workers=(replace(HOST, task="1/3", pid=None, since=None),),
                tasks=(
                    TaskStatus("1/3", "one", "10:00", None),
                    TaskStatus("2/3", "two", "11:00", "12:00"),
                    TaskStatus("3/3", "three", "13:00", None),
                ),
            ),
            [
                "interrupted: 1,200 of 5,000 images, 2 of 9 shards; run the missing tasks, then fvcli finalize",
                "task 1/3: process ? on host, since ?",
                "task 2/3: began 11:00 on two, ended 12:00",
                "task 3/3: began 13:00 on three, interrupted",
            ],
        ),
        (
            replace(RUN, failed=0, images_per_second=None, seconds_left=None, workers=(HOST,) * 11),
            [
                "in progress: 1,200 of 5,000 images, 2 of 9 shards",
                *[f"process 42 on host, since {HOST.since}"] * 8,
                "and 3 more",
            ],
        ),
    ],
    ids=lambda value: value.state if isinstance(value, RunStatus) else "",
)
def test_a_run_and_those_who_work_on_it(status: RunStatus, lines: list[str]) -> None:
    from fvcli.commands import inspect

    fields = list(inspect._status_lines(status))
    assert [text for _, text in fields] == lines
    assert [name for name, _ in fields] == ["run", *[""] * (len(lines) - 1)]
    assert list(inspect._status_lines(None)) == []
    assert status.to_json()["state"] == status.state


def test_a_dataset_with_many_kinds_of_failures_and_many_folders_is_cut_short_and_says_so(photos: Path) -> None:
    from fvcli.commands import inspect

    told("extract", "photos", code=3)
    for number in range(4):
        pictures.put(photos.parent, f"folder-{number}/a.png", pictures.picture(60 + number))
    told("extract", *(f"folder-{number}" for number in range(4)))
    found = inspect._inspection("features", None)
    assert found is not None
    kind = FailureKind("decode", "Truncated", 1, "a.png", "it ends")
    lines = dict(reversed(list(inspect._lines(replace(found, failures=(kind,) * 9)))))
    assert lines["from"] == "folder-0, folder-1, folder-2 and 2 more"
    texts = [text for _, text in inspect._lines(replace(found, failures=(kind,) * 10, zero_vectors=3))]
    assert sum("Truncated" in text for text in texts) == 8
    assert "and 2 more kinds; all are in features/failures" in texts
    assert "1024 x float32, 3 of them all zeros" in texts
    assert not any("more kinds" in text for _, text in inspect._lines(replace(found, failures=(kind,) * 8)))


def test_a_task_holds_its_limit_of_failures() -> None:
    told("plan", "photos", "-o", "p", "--shard-size", "6")
    assert "stopped: 1 of 6 inputs failed, more than --max-failures allows" in told(
        "extract", "-o", "p", "--task", "1/1", "--max-failures", "0", code=1
    )[-1]  # fmt: skip


def test_a_stream_takes_the_first_names_and_those_that_are_wanted(photos: Path) -> None:
    Path("names").write_text("".join(f"photos/{name}\n" for name in sorted(_pictures(photos))))

    def paths(*options: str) -> list[str]:
        done = fvcli("extract", "--files-from", "names", "-o", "-", "--format", "jsonl", *options)
        assert done.exit_code == 0
        return [json.loads(line)["path"] for line in done.stdout.splitlines()]

    assert paths("--limit", "2") == ["photos/0000.png", "photos/0001.png"]
    assert paths("--include", "copy*") == ["photos/copy.png"]
    assert paths("--exclude", "0*", "--exclude", "zz*") == ["photos/copy.png"]


def test_a_variable_of_the_environment_is_no_option_that_was_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FVCLI_EXTRACT_SHARD_SIZE", "5")
    assert told("extract", "photos/copy.png", "-o", "rows.npy")[-1].startswith("rows.npy: 1 row")
    assert told("extract", "photos/copy.png", "-o", "ROWS.NPY", "--shard-size", "5", code=2)[0].startswith(
        "fvcli: --shard-size concerns a dataset's folder"
    )
    assert told("extract", "photos/copy.png", "-o", "ROWS.NPY")[-1].startswith("ROWS.NPY: 1 row")
    assert Path("ROWS.NPY").is_file()


def test_the_page_is_opened_where_there_is_a_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    told("extract", "photos", code=3)
    address = Path("page.html").resolve().as_uri()
    asked: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: asked.append(url) is None)
    assert "browser" not in told("report", "features", "-o", "page.html", "--open")[-1]
    assert asked == [address]
    monkeypatch.setattr(webbrowser, "open", lambda url: False)
    assert told("report", "features", "-o", "page.html", "--open")[-1] == (
        f"no browser could be started; open {address}"
    )

    def broken(url: str) -> bool:
        raise webbrowser.Error

    monkeypatch.setattr(webbrowser, "open", broken)
    assert told("report", "features", "-o", "page.html", "--open")[-1].startswith("no browser could be started")


def test_the_version_and_lists_that_are_not_there() -> None:
    assert fvcli("--version").output == f"fvcli {fvcli_package.__version__}\n"
    for output in (("-o", "f"), ("-o", "-", "--format", "jsonl")):
        (said,) = told("extract", "--files-from", "nowhere", *output, code=2)
        assert said.startswith("fvcli: cannot read the list of files 'nowhere': No such file")


def test_models_are_listed_shown_and_verified() -> None:
    heading, embedded, *catalog = fvcli("models", "list").stdout.splitlines()
    assert heading.split() == ["NAME", "SIZE", "MULTIPLIER", "TOP-1", "WHERE"]
    assert embedded.split() == ["embedded", "160", "1.0", "-", "embedded"]
    assert catalog[0].split() == ["mobilenet_v1_1.0_224", "224", "1.0", "70.9", "not", "here"]
    shown = dict(line.split(None, 1) for line in fvcli("models", "show", "embedded").stdout.splitlines())
    assert shown["network"] == "MobileNet V1 1.0, quantops"
    assert shown["input"] == "160 x 160 RGB"
    assert shown["output"] == "1,024 numbers; 1,001 classes for --labels"
    assert shown["engines"] == "int8, tensorflow"
    assert shown["int8"] == "10,944 of 10,944 channels keep their numbers exactly"
    assert shown["where"] == "in the package"
    assert shown["license"] == "Apache-2.0"
    assert told("models", "verify", "embedded") == ["embedded: sound"]
    catalog_entry = fvcli("models", "show", "mobilenet_v1_1.0_224").stdout
    assert "top-1 70.9 %" in catalog_entry
    assert "not here; fetch it with `fvcli models pull mobilenet_v1_1.0_224`" in catalog_entry
    assert fvcli("models", "list", "-q").output == ""


def test_the_selftest_names_each_image_and_what_is_demanded() -> None:
    *images, passed = told("selftest")
    assert images == [
        "cat.jpg: equal bit for bit",
        "coffee-exif-3.jpg: equal bit for bit",
        "camera-16-bit.png: equal bit for bit",
        "cat-alpha.png: equal bit for bit",
    ]
    assert re.fullmatch(r"passed with the int8 engine, model embedded [0-9a-f]{12} \(required: equal bytes\)", passed)
    assert told("selftest", "-q") == []
