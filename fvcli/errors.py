"""Everything fvcli raises on purpose.

Each room translates the exceptions of the libraries it uses into these, in one place; the command line
prints the message on one line and exits with :attr:`FvcliError.exit_code`.
"""

from __future__ import annotations

from typing import Literal

Stage = Literal["read", "decode", "fit", "infer", "crash"]


def first_line(error: BaseException) -> str:
    """The first line of a foreign exception's message, or its representation where it has none."""
    return (str(error).strip() or repr(error)).splitlines()[0]


class FvcliError(Exception):
    """Base of all errors; the message says what happened and what the user can do."""

    exit_code: int = 1


class UsageError(FvcliError):
    """Invalid arguments."""

    exit_code = 2


class SourceError(FvcliError):
    """A source that was named cannot be read at all."""


class ModelError(FvcliError):
    """A model cannot be found, read, compiled or run."""


class DatasetError(FvcliError):
    """The output folder cannot be read or written, or does not fit the request."""


class DamagedError(DatasetError):
    """A file of the dataset no longer has the bytes that were written; repairing the dataset drops it."""

    exit_code = 4


class LockedError(DatasetError):
    """Another run holds the dataset; trying again later is enough (EX_TEMPFAIL)."""

    exit_code = 75


class ImageError(FvcliError):
    """One input gave no vector. It becomes a line in ``failures/`` and never stops a run.

    ``kind`` is a short class name for grouping ("Truncated", "NotAnImage", ...).
    """

    def __init__(self, stage: Stage, kind: str, message: str) -> None:
        super().__init__(message)
        self.stage: Stage = stage
        self.kind = kind


class StoppedError(FvcliError):
    """A signal ended the run in good order; what was committed stays and the next run resumes."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number
