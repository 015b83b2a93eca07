"""The invocation of a command: its streams and imports, the signals that stop it, its errors and its exit code."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from types import FrameType, ModuleType, TracebackType

import typer

from fvcli.commands.terminal import event, say
from fvcli.errors import FvcliError

EXIT_SOME_FAILED = 3


def open_standard_streams() -> None:
    """Gives a process that was started with a standard stream closed (``>&-``) the null device in its place.

    Otherwise the next file that is opened takes the stream's number, and what a library prints ends up in it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False))


def run(app: typer.Typer) -> None:
    """Runs the command line. Usage errors are a panel for a person, else one line that can be searched for."""
    if sys.stderr.isatty() and os.environ.get("TERM") not in (None, "", "dumb"):
        app()
        return
    try:
        code = app(standalone_mode=False)
    except Exception as error:
        said = getattr(error, "format_message", None)
        if said is None:
            raise
        if type(error).__name__ != "NoArgsIsHelpError":  # the help page has been printed
            context = getattr(error, "ctx", None)
            hint = f"; {context.command_path} --help shows how" if context is not None else ""
            complain(" ".join(said().split()).rstrip(".") + hint, 2)
        code = getattr(error, "exit_code", 2)
    sys.exit(code or 0)


def import_lean(*, images: bool = False, matrices: bool = False) -> None:
    """Imports numpy and pyarrow without the parts that most commands do not use.

    Where pandas is installed, pyarrow imports it with its first array, which takes longer than all else at start-up.
    Arrow takes memory from the C library, since a pool of its own keeps 25 MB more. numpy's BLAS starts one thread per
    core, and they spin for a while; a command that multiplies ``matrices`` needs them. Where ``images`` are decoded one
    after another, malloc keeps what is freed.
    Only for the command line: a program that uses fvcli as a library may want all of these.
    """
    from fvcli.machine import missing_instructions

    if lacking := missing_instructions():
        raise FvcliError(
            f"this CPU lacks {', '.join(lacking)}, which NumPy, pyarrow and LiteRT need; use a machine made after 2009"
        )
    if "pandas" in sys.modules or "pyarrow" in sys.modules:
        return
    from fvcli.machine import tune_malloc

    tune_malloc(keep=images)
    if not matrices:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    absence = _Absent()
    sys.meta_path.insert(0, absence)
    gc.disable()
    try:
        import pyarrow

        pyarrow.array([0])
    finally:
        sys.meta_path.remove(absence)
        gc.freeze()
        gc.enable()


class _Absent(MetaPathFinder):
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError("left out")


class StopSignals:
    """While entered, the first signal is remembered in ``number``; a second one ends the process at once."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._before: dict[int, signal._HANDLER] = {}

    def __enter__(self) -> StopSignals:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            os._exit(128 + number)
        self.number = number


@contextmanager
def reported(as_json: bool = False) -> Iterator[None]:
    """Turns what the library raises into one line on stderr, text or JSON, and an exit code."""
    try:
        yield
    except FvcliError as error:
        complain(str(error), error.exit_code, as_json)
        raise typer.Exit(error.exit_code) from None
    except BrokenPipeError:
        # The reader has closed the pipe: nothing more may be written, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:
        if os.environ.get("FVCLI_DEBUG"):
            raise
        from fvcli.machine import shortage

        unexpected = f"unexpected {type(error).__name__}: {error}; FVCLI_DEBUG=1 shows where: please report it"
        complain(shortage(error) or unexpected, 1, as_json)
        raise typer.Exit(1) from None


def complain(message: str, exit_code: int, as_json: bool = False) -> None:
    """An error as one line on stderr, text or JSON."""
    if as_json:
        event("error", message=message, exit_code=exit_code)
    else:
        say(f"fvcli: {message}")
