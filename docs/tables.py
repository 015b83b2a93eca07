"""Writes the tables of options in docs/guide.md from the commands themselves: ``python -m docs.tables``.

A table stands between ``<!-- options of COMMAND -->`` and ``<!-- end -->``. tests/docs/test_guide.py holds the page
equal to what this program writes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import typer

from fvcli.cli import app
from fvcli.declared import declared
from fvcli.options import CommandOptions, RunOptions

GUIDE = Path(__file__).with_name("guide.md")
_BLOCK = re.compile(r"(<!-- options of (fvcli [\w ]+?)(, named)? -->\n).*?(<!-- end -->)", re.DOTALL)
_MORE = {each.name: each.option.more for each in declared(RunOptions, CommandOptions)}


def commands(command: Any = None, name: str = "fvcli") -> Iterator[tuple[str, Any]]:
    """Every command that does something, with the words it is called by: ("fvcli models list", ...)."""
    command = typer.main.get_command(app) if command is None else command
    if hasattr(command, "commands"):
        for word, inner in command.commands.items():
            yield from commands(inner, f"{name} {word}")
    else:
        yield name, command


def written(page: str) -> str:
    """The page with all its tables as they should be."""
    known = dict(commands())

    def block(found: re.Match[str]) -> str:
        options = [option for option in known[found[2]].params if option.param_type_name == "option"]
        made = _names(options) if found[3] else _tables(options, more=found[2] == "fvcli extract")
        return f"{found[1]}{made}{found[4]}"

    return _BLOCK.sub(block, page)


def _names(options: Iterable[Any]) -> str:
    return ", ".join(f"`{option.opts[0]}`" for option in options) + "\n"


def _tables(options: Iterable[Any], more: bool) -> str:
    tables = []
    for heading, members in groupby(options, key=lambda option: option.rich_help_panel):
        rows = [_row(option, _MORE.get(option.name, "") if more else "") for option in members]
        tables.append(f"| {heading or 'option'} | |\n|---|---|\n" + "".join(rows))
    return "\n".join(tables)


def _row(option: Any, more: str) -> str:
    value = "" if option.is_flag else f" {option.display_type_rich(ctx=None)}"
    flags = [*option.opts, *option.secondary_opts]
    spelled = ", ".join(f"`{flag}`" for flag in (flags[0] + value, *flags[1:]))
    default = "" if option.default in (None, False, True, "") else f" (default `{_number(option.default)}`)"
    text = f"{option.help.removesuffix('.')}{default}. {more}".strip()
    cells = (cell.replace("|", "\\|") for cell in (spelled, text))
    return f"| {' | '.join(cells)} |\n"


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    GUIDE.write_text(written(GUIDE.read_text("utf-8")), "utf-8")
