"""The guide's tables of options are what the commands declare."""

from __future__ import annotations

from docs.tables import GUIDE, commands, written


def test_the_tables_are_written_by_their_program() -> None:
    page = GUIDE.read_text("utf-8")
    assert written(page) == page, "run: make docs"


def test_every_command_with_options_of_its_own_has_a_table() -> None:
    page = GUIDE.read_text("utf-8")
    for name, command in commands():
        own = [each for each in command.params if each.name not in ("as_json", "json", "quiet")]
        if any(each.param_type_name == "option" for each in own):
            assert f"<!-- options of {name}" in page
