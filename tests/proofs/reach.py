"""The lines of the program that each fast test runs, so that a fault meets these tests first.

:func:`recorded` runs the fast tests once under coverage.py and keeps the result beside the copy of the checkout. Lines
are known by their text, so that the result still serves after edits elsewhere. Lines that run in child processes or
while a module is imported have no tests here.

As a plugin of pytest (``-p tests.proofs.reach``), the module leaves out the tests that the file in
``FVCLI_WITHOUT_TESTS`` names, or records what tests reach into the file that ``FVCLI_REACH`` names.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

_WITHOUT, _RECORD = "FVCLI_WITHOUT_TESTS", "FVCLI_REACH"
_MOST_SECONDS = 15.0
_BEGINNINGS = ("def ", "async def ", "class ", "@")


@dataclass(frozen=True, slots=True)
class Reach:
    """Tests by the lines that they run. tests: (name, seconds); lines: by file and text, numbers of tests."""

    tests: list[tuple[str, float]]
    lines: dict[str, dict[str, list[int]]]

    @property
    def known(self) -> set[str]:
        """Names of the tests of which it is known what they run."""
        return {name for name, _ in self.tests}

    def of(self, file: str, text: str, first: int, last: int, near: Collection[str] = ()) -> list[str]:
        """Names of the tests that run one of the lines ``first`` to ``last`` of the text, counted from 0.

        Those in the files ``near`` come first, then those that run most of these lines, the quickest before others;
        of the latter no more than take _MOST_SECONDS together, as recorded. Without any such test, the line above
        decides, up to the beginning of the function.
        """
        known, lines = self.lines.get(file, {}), [line.strip() for line in text.splitlines()]
        found = Counter(test for line in lines[first : last + 1] for test in known.get(line, ()))
        while not found and first > 0 and not lines[first].startswith(_BEGINNINGS):
            first -= 1
            found.update(known.get(lines[first], ()))
        told = [(*self.tests[test], count) for test, count in found.items()]
        told.sort(key=lambda each: (-each[2], each[1]))
        close = [name for name, *_ in told if name.split("::")[0] in near]
        others = [(name, seconds) for name, seconds, _ in told if name.split("::")[0] not in near]
        passed = accumulate(seconds for _, seconds in others)
        return close + [name for (name, _), until in zip(others, passed, strict=True) if until < _MOST_SECONDS]


def recorded(copy: Path, fast: Sequence[str]) -> Reach:
    """The lines that a checkout's fast tests reach. Runs them once; later calls read the file beside the checkout."""
    file = copy.with_name("reach.json")
    if not file.exists():
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.proofs.reach", *fast]
        environment = {**os.environ, "PYTHONPATH": str(copy), _RECORD: str(file)}
        subprocess.run(command, cwd=copy, env=environment, stdout=subprocess.DEVNULL, check=False)
    found = json.loads(file.read_text("utf-8"))
    return Reach([(name, seconds) for name, seconds in found["tests"]], found["lines"])


def without(file: Path, names: Collection[str]) -> dict[str, str]:
    """Environment in which pytest leaves these tests out. file: where their names are kept."""
    file.write_text(json.dumps(sorted(names)), "utf-8")
    return {_WITHOUT: str(file)}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if _WITHOUT in os.environ:
        left_out = set(json.loads(Path(os.environ[_WITHOUT]).read_text("utf-8")))
        items[:] = [item for item in items if item.nodeid not in left_out]


def pytest_configure(config: pytest.Config) -> None:
    if _RECORD in os.environ:
        config.pluginmanager.register(_Recorder(Path(os.environ.pop(_RECORD)), config.rootpath))


class _Recorder:
    """Notes the lines of each test, and the time that it takes."""

    def __init__(self, file: Path, top: Path) -> None:
        from coverage import Coverage

        self._file, self._top = file, top
        data = file.with_suffix(".coverage")
        self._coverage = Coverage(data_file=str(data), source=[str(top / "fvcli")], config_file=False)
        self._seconds: dict[str, float] = {}
        self._coverage.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[Any]:
        self._coverage.switch_context(item.nodeid)
        started = time.monotonic()
        try:
            return (yield)
        finally:
            self._seconds[item.nodeid] = time.monotonic() - started
            self._coverage.switch_context("")

    def pytest_sessionfinish(self) -> None:
        self._coverage.stop()
        self._coverage.save()
        data, numbers = self._coverage.get_data(), {name: number for number, name in enumerate(self._seconds)}
        lines: dict[str, dict[str, set[int]]] = {}
        for name in data.measured_files():
            texts = Path(name).read_text("utf-8").splitlines()
            known = lines.setdefault(Path(name).relative_to(self._top).as_posix(), defaultdict(set))
            for line, contexts in data.contexts_by_lineno(name).items():
                if 0 < line <= len(texts):
                    known[texts[line - 1].strip()].update(numbers[each] for each in contexts if each)
        told = {file: {text: sorted(tests) for text, tests in known.items() if tests} for file, known in lines.items()}
        draft = self._file.with_suffix(".draft")
        draft.write_text(json.dumps({"tests": list(self._seconds.items()), "lines": told}), "utf-8")
        draft.replace(self._file)
