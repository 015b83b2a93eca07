"""The guide's tables of options are what the commands declare."""

from __future__ import annotations

import re

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


def test_every_option_is_in_the_section_of_its_command() -> None:
    parts = re.split(r"^##+ (fvcli [\w ]+)$", GUIDE.read_text("utf-8"), flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    missing = [
        f"{name} {option}"
        for name, command in commands()
        for each in command.params
        for option in (*each.opts, *each.secondary_opts)
        if option.startswith("--") and f"`{option}" not in sections[name]
    ]
    assert not missing
