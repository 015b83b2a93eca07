"""Puts faults into the code one at a time, and reports which of them the tests notice.

    python -m tests.proofs.mutants [--room dataset] [--only TEXT] [--tests fast|near|folder] [--work FOLDER]

``mutants.toml`` lists the faults: small, realistic mistakes that would hurt. Each is applied to a copy of the checkout,
the tests that belong to the file run until one fails, and the copy is restored. Printed are the survivors and the
noticed faults by room. A fault of which the table says that it changes nothing is not tried and does not count.

First come the fast tests, which ``make check`` runs, that reach the changed lines (see :mod:`tests.proofs.reach`).
Then come the file's own tests (``tests/ROOM/test_NAME.py``), those that the fault names, and its room's folder unless
``near`` is asked for; of each the fast ones before those marked slow, ray or browser. ``fast`` leaves these out.
Results go to FOLDER/results.jsonl as they come. Noticed faults that are there already are not tried again, survivors
only after a commit or with more tests.
"""

from __future__ import annotations

import argparse
import json
import time
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.proofs.trials import REPOSITORY, Trials, in_copy, room_of

TABLE = Path(__file__).with_name("mutants.toml")


@dataclass(frozen=True, slots=True)
class Fault:
    """One mistake: ``old``, which stands in ``file`` exactly once, becomes ``new``.

    what: the mistake in words. tests: files or folders that would notice it, besides the file's own.
    equivalent: why it changes nothing that matters, "" for a fault that must be noticed.
    """

    file: str
    what: str
    old: str
    new: str
    tests: tuple[str, ...] = ()
    equivalent: str = ""

    @property
    def room(self) -> str:
        return room_of(self.file)

    def applied(self, text: str) -> str:
        """The file's text with the fault. Raises ValueError where the table no longer fits the code."""
        found = text.count(self.old)
        if found != 1:
            raise ValueError(f"{self.file}: {self.what}: the text stands {found} times, not once: {self.old!r}")
        return text.replace(self.old, self.new)

    def lines(self, text: str) -> tuple[int, int]:
        """The first and the last line of the file's text that the fault changes, counted from 0."""
        begin = text.index(self.old) + len(self.old) - len(self.old.lstrip("\n"))
        end = text.index(self.old) + len(self.old.rstrip("\n"))
        return text.count("\n", 0, begin), text.count("\n", 0, end)


def read_table(path: Path = TABLE) -> list[Fault]:
    """The faults, in the order of the table."""
    entries = tomllib.loads(path.read_text("utf-8"))["fault"]
    return [Fault(**{**entry, "tests": tuple(entry.get("tests", ()))}) for entry in entries]


def report(results: list[dict[str, object]]) -> str:
    """Noticed of tried by room, how many of these by fast tests, then the survivors and the faults that do no harm."""
    tried = Counter(str(result["room"]) for result in results)
    killed = Counter(str(result["room"]) for result in results if result["by"])
    soon = Counter(str(result["room"]) for result in results if result["by"] and result["fast"])
    lines = [f"{room:12} {killed[room]:3} of {tried[room]:3}, {soon[room]:3} by fast tests" for room in sorted(tried)]
    lines.append(f"{'all':12} {killed.total():3} of {tried.total():3}, {soon.total():3} by fast tests")
    lines += [f"survived: {each['file']}: {each['what']}" for each in results if not each["by"]]
    return "\n".join(
        [*lines, *(f"changes nothing: {each.what}: {each.equivalent}" for each in read_table() if each.equivalent)]
    )


def try_all(given: argparse.Namespace, trials: Trials) -> None:
    """Tries what the options choose and prints how it went."""
    log: Path = given.work / "results.jsonl"
    table = read_table()
    rooms = given.room.split(",") if given.room else sorted({fault.room for fault in table})
    faults = sorted((fault for fault in table if fault.room in rooms), key=lambda fault: rooms.index(fault.room))
    faults = [fault for fault in faults if given.only in fault.file + fault.what and not fault.equivalent]
    lines = map(json.loads, log.read_text().splitlines() if log.exists() else ())
    known = {(fault.file, fault.what) for fault in table}
    results = {(line["file"], line["what"]): line for line in lines if (line["file"], line["what"]) in known}
    for number, fault in enumerate(faults, 1):
        before = results.get((fault.file, fault.what))
        if before and (before["by"] or (before["commit"], before["tests"]) == (trials.commit, given.tests)):
            continue
        started = time.monotonic()
        text = (REPOSITORY / fault.file).read_text("utf-8")
        notice = trials.notice(fault.file, fault.applied(text), fault.lines(text), fault.tests, given.tests)
        result = {
            "room": fault.room,
            "file": fault.file,
            "what": fault.what,
            "by": notice and notice.by,
            "fast": notice is not None and notice.fast,
            "commit": trials.commit,
            "tests": given.tests,
        }
        results[fault.file, fault.what] = result
        with log.open("a") as sink:
            sink.write(json.dumps(result) + "\n")
        told = "SURVIVED" if notice is None else "noticed" if notice.fast else "noticed by a slow test"
        seconds = time.monotonic() - started
        print(f"{number}/{len(faults)} {told} in {seconds:.1f} s: {fault.file}: {fault.what}", flush=True)
    print(report(list(results.values())))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--room", help="one, or several with commas, in this order")
    options.add_argument("--only", default="", help="faults whose file or description holds this text")
    options.add_argument("--tests", choices=["fast", "near", "folder"], default="folder")
    options.add_argument("--work", type=Path, default=Path("/tmp/fvcli-mutants"))
    given = options.parse_args()
    given.work = given.work.resolve()
    in_copy(given.work, "tests.proofs.mutants", lambda trials: try_all(given, trials))


if __name__ == "__main__":
    main()
