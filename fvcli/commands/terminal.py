"""Text on the terminal: results on stdout, messages on stderr, and nothing in them that a terminal obeys.

Every command prints through here, so that a name from a file, a manifest, a lock or a server is always escaped.
"""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import TextIO

import typer

from fvcli.text import printable

_FIELD = 14  # columns of a field's name


def print_line(line: str = "") -> None:
    """Prints a line of the result. Raises BrokenPipeError where its reader has gone."""
    typer.echo(printable(line))


def print_row(values: Iterable[object]) -> None:
    """Prints a line of the result for a program: values separated by tabs, none of them with a tab of its own."""
    typer.echo("\t".join(printable(str(value)) for value in values))


def print_json(value: object) -> None:
    """Prints the result as one line of JSON. Raises BrokenPipeError where its reader has gone."""
    typer.echo(as_json(value))


def print_json_list(values: dict[str, object], name: str, items: Iterable[object]) -> None:
    """Prints ``values``, and items under ``name``, as one line of JSON, of which only one item is in memory.

    Raises BrokenPipeError where its reader has gone.
    """
    typer.echo(f"{as_json(values)[:-1]}, {as_json(name)}: [", nl=False)
    for number, item in enumerate(items):
        typer.echo(f"{', ' if number else ''}{as_json(item)}", nl=False)
    typer.echo("]}")


def print_fields(fields: Iterable[tuple[str, str]]) -> None:
    """Prints names and texts in two columns; on a terminal the second is wrapped. An empty name continues the field."""
    width = _width(sys.stdout) - _FIELD
    for name, text in fields:
        lines = textwrap.wrap(printable(text), width, break_on_hyphens=False) if width >= _FIELD else []
        for number, line in enumerate(lines or [text]):
            print_line(f"{'' if number else name:{_FIELD}}{line}")


def clear_screen() -> None:
    """Clears the page on a terminal that can; elsewhere prints a blank line."""
    typer.echo("\x1b[H\x1b[2J" if _width(sys.stdout) else "", nl=not _width(sys.stdout))


def say(line: str) -> None:
    """Prints a message, or nothing where the stream is closed."""
    _write(printable(line))


def say_json(value: object) -> None:
    """Prints a message as one line of JSON."""
    _write(as_json(value))


def event(name: str, **values: object) -> None:
    """Prints an event of a run as one line of JSON, with its time (ISO 8601, UTC)."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    say_json({"time": now, "event": name, **values})


def _write(line: str) -> None:
    with suppress(OSError):
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


def as_json(value: object) -> str:
    """JSON on one line, of printable ASCII."""
    return json.dumps(value).replace("\x7f", "\\u007f")


def counted(number: int, word: str, plural: str = "") -> str:
    """ "1 image", "2,000 images"; plural: where an s does not make it."""
    return f"{number:,} {word if number == 1 else plural or word + 's'}"


def duration(seconds: float) -> str:
    """ "0:07", "12:30" or "3:04:05"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def stderr_width() -> int:
    """Columns of the terminal that a bar can be drawn on; 0 where stderr is none, has no size or is dumb."""
    return _width(sys.stderr)


def _width(stream: TextIO) -> int:
    if os.environ.get("TERM") in (None, "", "dumb"):
        return 0
    try:
        return os.get_terminal_size(stream.fileno()).columns if stream.isatty() else 0
    except (OSError, ValueError):  # closed, or none of the system's
        return 0
