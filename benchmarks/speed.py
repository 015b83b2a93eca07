"""fvcli against the limit of the machine and against the usual TensorFlow Hub script; ``make bench``.

    python -m benchmarks.speed [FOLDER] [--part PART] [--quick] [--rounds N] [--network NAME] [--scratch DIR]

The limit is what the machine gives when each half of the work has all cores to itself: reading, hashing, decoding
and resizing on the one hand, int8 inference on the other, each in one process per core, so that not even a shared
interpreter stands in the way. Decoding is measured with fvcli's own loader and with the same two libraries bare; the
faster one counts. In every round each contestant runs in turn, the halves before and after fvcli; ratios are taken
within a round, and the median over the rounds is told. fvcli is the whole command, from process start to exit, into
a fresh folder; the script's start (imports, hub.load, a first pass) is not counted. What a longer run comes to is told
by the ratio "without start-up": the time of a run over one image is subtracted.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import pictures
from benchmarks.contest import Contestant, Pass, extract
from fvcli.machine import environment, usable_cpus

PHOTOGRAPHS = Path(__file__).resolve().parents[2] / "shared" / "data" / "photos"


@dataclass(frozen=True, slots=True)
class Effort:
    """The extent of a measurement. passes: per turn of a contestant, since one takes only half a second."""

    rounds: int
    passes: int
    small: int  # images for fvcli
    large: int
    large_distinct: int
    formats: int


FULL = Effort(rounds=3, passes=3, small=20_000, large=1_200, large_distinct=16, formats=200)
QUICK = Effort(rounds=1, passes=1, small=3_500, large=120, large_distinct=8, formats=40)


@dataclass(frozen=True, slots=True)
class Setting:
    """``files`` are the halves' images, the first ``hub`` of them the script's, ``linked`` is fvcli's folder."""

    files: Sequence[Path]
    linked: Path
    hub: int


@dataclass(slots=True)
class Scores:
    """All passes of a setting, by contestant; the i-th of each belongs to round i."""

    passes: dict[str, list[Pass]] = field(default_factory=dict)

    def add(self, name: str, one: Pass) -> None:
        self.passes.setdefault(name, []).append(one)

    def median(self, name: str, value: Callable[[Pass], float]) -> float:
        return statistics.median(value(each) for each in self.passes[name])

    def limit(self) -> list[float]:
        """Images/s of each round: 1 / (1/decode + 1/infer), with the faster decoder."""
        best = max(("decode", "bare"), key=lambda name: self.median(name, lambda each: each.rate))
        halves = zip(self.passes[best], self.passes["infer"], strict=True)
        return [1 / (1 / decode.rate + 1 / infer.rate) for decode, infer in halves]

    def without_start_up(self) -> list[float]:
        """fvcli's rates without what a run over one image takes."""
        rounds = zip(self.passes["fvcli"], self.passes["start"], strict=True)
        return [(each.images - 1) / (each.seconds - start.seconds) for each, start in rounds]

    def rates(self, name: str) -> list[float]:
        """Images/s of each round."""
        return [each.rate for each in self.passes[name]]

    def beyond(self, *names: str) -> list[float]:
        """The share of fvcli's CPU time, round by round, that the others together do not account for."""
        rounds = zip(self.passes["fvcli"], *(self.passes[name] for name in names), strict=True)
        return [1 - sum(part.cpu for part in parts) / whole.cpu for whole, *parts in rounds]


def average(first: Pass, second: Pass) -> Pass:
    """Two passes as one."""
    return Pass(
        first.images + second.images,
        first.seconds + second.seconds,
        first.cpu_seconds + second.cpu_seconds,
        max(first.peak_mb, second.peak_mb),
    )


def ratios(ours: Sequence[float], others: Sequence[float]) -> list[float]:
    """Round by round."""
    return [one / other for one, other in zip(ours, others, strict=True)]


def several(contestant: Contestant, passes: int) -> Pass:
    return functools.reduce(average, (contestant.go() for _ in range(passes)))


def measure(setting: Setting, module: str, effort: Effort, scratch: Path) -> Scores:
    """Every contestant in turn, ``effort.rounds`` times. module: folder of the script's network."""
    cpus, files = usable_cpus(), setting.files
    halves = [
        Contestant("decode", files, cpus),
        Contestant("infer", files[:512], cpus),
        Contestant("both", files, cpus),
        Contestant("bare", files, cpus),
    ]
    script = Contestant("tf-hub", files[: setting.hub], 1, module)
    scores = Scores()
    try:
        extract(setting.linked, scratch)
        for number in range(effort.rounds):
            before = [several(each, effort.passes) for each in halves]
            scores.add("fvcli", extract(setting.linked, scratch))
            after = [several(each, effort.passes) for each in reversed(halves)][::-1]
            for each, first, second in zip(halves, before, after, strict=True):
                scores.add(each.name, average(first, second))
            scores.add("start", extract(files[0], scratch))
            scores.add(script.name, several(script, effort.passes))
            if cpus > 1:
                scores.add("fvcli -j 1", extract(setting.linked, scratch, "-j", "1"))
            last = scores.passes["fvcli"][-1].rate
            print(f"  round {number + 1} of {effort.rounds}: fvcli {last:,.1f} images/s", file=sys.stderr, flush=True)
    finally:
        for each in [*halves, script]:
            each.close()
    return scores


def table(title: str, scores: Scores) -> list[str]:
    """The scores in Markdown."""
    ours = scores.median("fvcli", lambda each: each.rate)
    lines = [f"### {title}", "", "| | images/s | of fvcli | CPU ms/image | peak MB |", "|---|---:|---:|---:|---:|"]
    names = {
        "decode": "decode only: read, SHA-256, decode, resize",
        "bare": "the same without any checks",
        "infer": "infer only: int8",
        "both": "both in turns in each process, and nothing else",
        "tf-hub": "TensorFlow Hub script",
        "fvcli": "**fvcli extract**",
        "fvcli -j 1": "fvcli extract -j 1",
    }
    limit = statistics.median(scores.limit())
    for name, told in names.items():
        if name in scores.passes:
            rate, cpu = scores.median(name, lambda each: each.rate), scores.median(name, lambda each: each.cpu)
            peak = scores.median(name, lambda each: each.peak_mb)
            lines.append(f"| {told} | {rate:,.1f} | {rate / ours:.2f} | {cpu * 1000:.3f} | {peak:,.0f} |")
        if name == "infer":
            lines.append(f"| limit: 1 / (1/decode + 1/infer) | {limit:,.1f} | {limit / ours:.2f} | | |")
    bars = {
        "fvcli / limit": ratios(scores.rates("fvcli"), scores.limit()),
        "without start-up": ratios(scores.without_start_up(), scores.limit()),
        "fvcli / TensorFlow Hub script": ratios(scores.rates("fvcli"), scores.rates("tf-hub")),
    }
    if "fvcli -j 1" in scores.passes:
        bars["all workers / one worker"] = ratios(scores.rates("fvcli"), scores.rates("fvcli -j 1"))
    bars["CPU beyond the two halves"] = scores.beyond("decode", "infer")
    bars["CPU beyond both in turns"] = scores.beyond("both")
    lines += ["", "| ratio within a round | median | least | most |", "|---|---:|---:|---:|"]
    for name, values in bars.items():
        lines.append(f"| {name} | {statistics.median(values):.3f} | {min(values):.3f} | {max(values):.3f} |")
    return [*lines, ""]


def formats_table(files: Sequence[Path], scratch: Path, effort: Effort) -> list[str]:
    """Decoding of each format, at the photographs' own size, on all cores."""
    folders = {"JPEG": list(files[: effort.formats]), **pictures.formats(files, scratch / "formats", effort.formats)}
    contestants = {name: Contestant("decode", made, usable_cpus()) for name, made in folders.items()}
    results: dict[str, list[Pass]] = {name: [] for name in contestants}
    for _ in range(effort.rounds):
        for name, contestant in contestants.items():
            results[name].append(contestant.go())
    for contestant in contestants.values():
        contestant.close()
    lines = ["### Decode only, by format", "", "| | images/s | CPU ms/image | KB/file |", "|---|---:|---:|---:|"]
    for name, passes in results.items():
        rate = statistics.median(each.rate for each in passes)
        cpu = statistics.median(each.cpu for each in passes)
        size = statistics.mean(path.stat().st_size for path in folders[name]) / 1024
        lines.append(f"| {name} | {rate:,.0f} | {cpu * 1000:.2f} | {size:,.0f} |")
    return [*lines, ""]


def heading(module: str, arguments: Sequence[str]) -> list[str]:
    """The heading of a table: command, time, machine."""
    values = environment()
    versions = ", ".join(f"{name} {value}" for name, value in values.items() if name not in ("cpu", "platform"))
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    command = " ".join([f"python -m {module}", *arguments])
    return [f"`{command}`, {when}; {usable_cpus()} CPUs: {values['cpu']}; {versions}.", ""]


def hub_module(network: str, scratch: Path) -> str:
    folder = scratch / "hub"
    module = folder / "module"
    if not module.exists():
        command = [sys.executable, "-m", "benchmarks.hub_module", network, str(folder)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return str(module)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=PHOTOGRAPHS, help="photographs (JPEG)")
    parser.add_argument("--quick", action="store_true", help="a minute's worth")
    parser.add_argument("--rounds", type=int, help="how often each contestant runs")
    parser.add_argument("--part", choices=["small", "large", "formats"], help="only this part")
    parser.add_argument("--network", default="embedded", help="the quantops network of the TensorFlow Hub script")
    parser.add_argument("--scratch", type=Path, default=Path("build/bench"), help="where images and outputs go")
    given = parser.parse_args()
    effort = QUICK if given.quick else FULL
    effort = replace(effort, rounds=given.rounds or effort.rounds)
    scratch: Path = given.scratch
    scratch.mkdir(parents=True, exist_ok=True)
    files = pictures.photographs(given.folder)
    if len(files) < 16:
        sys.exit(f"{given.folder}: at least 16 JPEGs are needed")
    module = hub_module(given.network, scratch)
    tell(heading("benchmarks.speed", sys.argv[1:]))
    if given.part in (None, "small"):
        print("photographs", file=sys.stderr)
        linked = pictures.repeat(files, scratch / f"small-{effort.small}", effort.small)
        title = f"The photographs ({effort.small:,} links to {len(files)} files)"
        tell(table(title, measure(Setting(files, linked, 706), module, effort, scratch)))
    if given.part in (None, "large"):
        print("12 megapixels", file=sys.stderr)
        big = pictures.made_apart(files, scratch / "large", effort.large_distinct)
        linked = pictures.repeat(big, scratch / f"large-{effort.large}", effort.large)
        size = statistics.mean(path.stat().st_size for path in big) / 2**20
        title = f"12-megapixel JPEGs ({effort.large:,} links to {len(big)} files of {size:.1f} MB)"
        tell(table(title, measure(Setting(big * 2, linked, 24), module, effort, scratch)))
    if given.part in (None, "formats"):
        print("formats", file=sys.stderr)
        tell(formats_table(files, scratch, effort))


def tell(lines: Sequence[str]) -> None:
    print("\n".join(lines), flush=True)


if __name__ == "__main__":
    main()
