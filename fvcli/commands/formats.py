"""``fvcli formats``: the image formats that this installation reads."""

from __future__ import annotations

from fvcli.commands.invocation import reported
from fvcli.commands.options import AsJson, Quiet
from fvcli.commands.terminal import print_json, print_line
from fvcli.sources.formats import FORMATS, Format


def formats(as_json: AsJson = False, quiet: Quiet = False) -> None:
    """List the image formats: extensions, whether this installation reads them, and what to do if not."""
    with reported():
        if as_json:
            print_json([_as_json(each) for each in FORMATS])
        if as_json or quiet:
            return
        width = max(len(each.name) for each in FORMATS)
        for each in FORMATS:
            state = "read" if each.available else "missing" if each.readable else "not read"
            names = " ".join(each.extensions)
            print_line(f"{each.name:{width}}  {state:8}  {names}{f'  ({_note(each)})' if _note(each) else ''}")


def _note(each: Format) -> str:
    return each.note if each.available else each.remedy


def _as_json(each: Format) -> dict[str, object]:
    return {
        "name": each.name,
        "extensions": list(each.extensions),
        "read": each.available,
        "reader": each.reader,
        "extra": each.extra,
        "note": _note(each),
    }
