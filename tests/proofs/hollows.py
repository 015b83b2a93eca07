"""Empties public functions one at a time, and reports which of them the tests of their module do not miss.

    python -m tests.proofs.hollows [--room dataset] [--each 1] [--seed 1] [--tests fast|near|folder] [--work FOLDER]

Of every module, ``--each`` public functions and methods are chosen at random. The body of each becomes ``pass`` in a
copy of the checkout, and the tests that belong to the module run until one fails; see :mod:`tests.proofs.mutants`.
Results go to FOLDER/hollows.jsonl as they come; functions that are there already are not tried again.
"""

from __future__ import annotations

import argparse
import ast
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.proofs.mutants import read_table
from tests.proofs.trials import REPOSITORY, Trials, in_copy, room_of


@dataclass(frozen=True, slots=True)
class Function:
    """A public function or method. first, last: the lines of its body, from 1; indent: spaces before them."""

    file: str
    name: str
    first: int
    last: int
    indent: int

    @property
    def room(self) -> str:
        return room_of(self.file)

    def emptied(self, text: str) -> str:
        """The module's text with ``pass`` as this body."""
        lines = text.splitlines(keepends=True)
        return "".join([*lines[: self.first - 1], " " * self.indent + "pass\n", *lines[self.last :]])


def functions(file: str, text: str) -> list[Function]:
    """The public functions of a module and the public methods of its public classes, if there is anything in them."""
    return list(_functions(file, ast.parse(text).body, ""))


def _functions(file: str, nodes: list[ast.stmt], prefix: str) -> Iterator[Function]:
    for node in nodes:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from _functions(file, node.body, f"{node.name}.")
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            body = [each for each in node.body if not _says_nothing(each)]
            if body and body[0].lineno > node.lineno:
                last = body[-1].end_lineno or body[-1].lineno
                yield Function(file, prefix + node.name, body[0].lineno, last, body[0].col_offset)


def _says_nothing(node: ast.stmt) -> bool:
    """A docstring, ``...`` or ``pass``."""
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def chosen(room: str | None, each: int, seed: int) -> list[Function]:
    """Functions of all modules, at most ``each`` of a module."""
    found: list[Function] = []
    for path in sorted((REPOSITORY / "fvcli").rglob("*.py")):
        file = path.relative_to(REPOSITORY).as_posix()
        there = [one for one in functions(file, path.read_text("utf-8")) if room in (None, one.room)]
        found += random.Random(f"{seed} {file}").sample(there, min(each, len(there)))
    return found


def try_all(given: argparse.Namespace, trials: Trials) -> None:
    """Tries what the options choose and prints how it went."""
    log: Path = given.work / "hollows.jsonl"
    named: dict[str, list[str]] = {}
    for fault in read_table():
        named.setdefault(fault.file, []).extend(fault.tests)
    results = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    known = {(result["file"], result["name"]) for result in results}
    for function in chosen(given.room, given.each, given.seed):
        if (function.file, function.name) in known:
            continue
        started = time.monotonic()
        text = function.emptied((REPOSITORY / function.file).read_text("utf-8"))
        lines = function.first - 1, function.last - 1
        notice = trials.notice(function.file, text, lines, named.get(function.file, ()), given.tests)
        results.append(
            {"room": function.room, "file": function.file, "name": function.name, "by": notice and notice.by}
        )
        with log.open("a") as sink:
            sink.write(json.dumps(results[-1]) + "\n")
        told = "missed" if notice else "NOT MISSED"
        print(f"{told} in {time.monotonic() - started:.1f} s: {function.file}: {function.name}", flush=True)
    tried, missed = Counter(each["room"] for each in results), Counter(each["room"] for each in results if each["by"])
    for room in sorted(tried):
        print(f"{room:12} {missed[room]:3} of {tried[room]:3}")
    print(f"{'all':12} {missed.total():3} of {tried.total():3}")
    print("\n".join(f"not missed: {each['file']}: {each['name']}" for each in results if not each["by"]))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--room")
    options.add_argument("--each", type=int, default=1)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--tests", choices=["fast", "near", "folder"], default="folder")
    options.add_argument("--work", type=Path, default=Path("/tmp/fvcli-hollows"))
    given = options.parse_args()
    given.work = given.work.resolve()
    in_copy(given.work, "tests.proofs.hollows", lambda trials: try_all(given, trials))


if __name__ == "__main__":
    main()
