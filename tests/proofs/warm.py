"""pytest with the fast tests collected once: forks run some of them, each with a fault in one module.

A fork takes a tenth of a second; to start pytest and to collect a few files takes two. The functions of the loaded
module get the code of the faulty text. What else a module has (constants, classes, defaults of arguments) may be in
use elsewhere, so a fault in that needs a new process.
"""

from __future__ import annotations

import gc
import os
import shutil
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import _pytest.main
import pytest

_PASSED = "passed"


class Warm:
    """A plugin of pytest. work: called in place of the tests, when they are collected. folder: for what tests write."""

    def __init__(self, work: Callable[[Warm], None], folder: Path) -> None:
        self._work = work
        self._folder = folder
        self._sound: dict[str, bool] = {}  # whether a test passes here without any fault

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            raise session.Interrupted("a test cannot be collected; no fork would run any")
        self._session = session
        self._items = {item.nodeid: item for item in session.items}
        sys.dont_write_bytecode = True
        self._functions = loaded_functions()
        gc.collect()
        gc.freeze()  # so that no fork copies what the garbage collector looks at
        self._work(self)
        return True

    def others(self, files: Collection[str], known: Collection[str]) -> list[str]:
        """The tests in these files that are not among the known ones."""
        return [name for name in self._items if name.split("::")[0] in files and name not in known]

    def first_failure(self, file: Path, sound: str, text: str, names: Sequence[str]) -> str:
        """The first of the tests that fails with ``text`` in place of ``sound`` as the module's; "" where none does."""
        loaded = self._functions.get(str(file), [])
        while failed := self._run(names, lambda: replace_code(loaded, file, text)):
            if failed not in self._sound:
                file.write_text(sound, "utf-8")  # for a module that is loaded only now, or in another process
                self._sound[failed] = not self._run([failed], lambda: None)
                file.write_text(text, "utf-8")
            if self._sound[failed]:
                return failed
            names = names[names.index(failed) + 1 :]
        return ""

    def _run(self, names: Sequence[str], change: Callable[[], object]) -> str:
        chosen = [self._items[name] for name in names if name in self._items and self._sound.get(name, True)]
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                change()
                self._in_fork(chosen, theirs)
            finally:
                os._exit(0)
        os.close(theirs)
        with open(ours, encoding="utf-8") as answer:
            told = answer.read().splitlines()
        os.waitpid(child, 0)
        shutil.rmtree(self._folder, ignore_errors=True)
        return "" if not told or told[-1] == _PASSED else told[-1]

    def _in_fork(self, chosen: list[pytest.Item], answer: int) -> None:
        null = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(null, number)
        session = self._session
        config: Any = session.config
        config.option.maxfail = 1
        config._tmp_path_factory._basetemp = None
        config._tmp_path_factory._given_basetemp = self._folder
        session.items[:] = chosen
        config.pluginmanager.register(_Teller(answer))
        with suppress(session.Failed, session.Interrupted):
            _pytest.main.pytest_runtestloop(session)
        with suppress(Exception):
            session._setupstate.teardown_exact(None)


class _Teller:
    """Writes into a pipe which test has begun, and that it has passed: the last line is that of one that failed.

    A test that ends the process, by a signal or since it takes too long, fails in this way, too.
    """

    def __init__(self, answer: int) -> None:
        self._answer = answer
        self._failed = False

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        if not self._failed:
            os.write(self._answer, f"{nodeid}\n".encode())

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._failed = self._failed or report.failed

    def pytest_runtest_logfinish(self) -> None:
        if not self._failed:
            os.write(self._answer, f"{_PASSED}\n".encode())


def only_functions_differ(before: str, after: str) -> bool:
    """Whether two texts of a module differ in nothing but the bodies of functions."""
    return _outside(compile(before, "", "exec")) == _outside(compile(after, "", "exec"))


def _outside(code: CodeType) -> tuple[object, ...]:
    """The code of a module or class body, without the bodies of its functions, and without line numbers."""
    inner = [each for each in code.co_consts if isinstance(each, CodeType)]
    rest = [repr(each) for each in code.co_consts if not isinstance(each, CodeType)]
    signatures = [(each.co_qualname, each.co_varnames[: each.co_argcount], each.co_freevars) for each in inner]
    classes = [_outside(each) for each in inner if not _is_function(each)]
    return code.co_code, code.co_names, rest, signatures, classes


def _is_function(code: CodeType) -> bool:
    return bool(code.co_flags & 0x02)  # CO_NEWLOCALS together with CO_OPTIMIZED; class bodies have neither


def loaded_functions() -> dict[str, list[FunctionType]]:
    """All functions of Python that there are, by the file that they are from."""
    found: dict[str, list[FunctionType]] = {}
    for each in gc.get_objects():
        if type(each) is FunctionType:
            found.setdefault(each.__code__.co_filename, []).append(each)
    return found


def replace_code(loaded: Sequence[FunctionType], file: Path, text: str) -> None:
    """Gives the functions of a loaded module the code of ``text``. A module that is not loaded reads it itself."""
    wanted = _grouped(_functions(compile(text, str(file), "exec")), lambda code: code)
    for name, functions in _grouped(loaded, lambda function: function.__code__).items():
        codes = wanted.get(name, [])
        if len(codes) == len(functions):
            for function, code in zip(functions, codes, strict=True):
                with suppress(ValueError):  # other variables of functions around it
                    function.__code__ = code


def _functions(code: CodeType) -> Iterator[CodeType]:
    for each in code.co_consts:
        if isinstance(each, CodeType):
            if _is_function(each):
                yield each
            yield from _functions(each)


def _grouped(items: Any, code_of: Callable[[Any], CodeType]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for item in sorted(items, key=lambda item: code_of(item).co_firstlineno):
        found.setdefault(code_of(item).co_qualname, []).append(item)
    return found
