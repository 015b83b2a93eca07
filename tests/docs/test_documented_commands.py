"""Commands on the pages exist with their options, and those of README run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.tables import commands

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "training" / "README.md"]
COMMANDS = dict(commands())


def documented(page: Path) -> Iterator[list[str]]:
    """The words of each fvcli command in the blocks of code of a page; a pipe or comment ends it."""
    text = page.read_text("utf-8").replace("\\\n", " ")
    blocks = re.findall(r"^```(?:sh|console)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()] + re.findall(r"^    (\S.*)$", text, re.MULTILINE)
    for line in lines:
        for part in re.split(r" \| | && | \|\| | > ", line):
            found = re.match(r"(?:\w+=\S+ )*(fvcli .*)", part.strip())
            if found:
                yield [word for word in shlex.split(found[1], comments=True) if word != "…"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_options_exist(page: Path) -> None:
    unknown = []
    for words in documented(page):
        name = " ".join(words[:3]) if words[1] == "models" else " ".join(words[:2])
        command = COMMANDS.get(name)
        options = (
            {option for each in command.params for option in (*each.opts, *each.secondary_opts)} if command else ()
        )
        given = [word.split("=")[0] for word in words if re.match(r"--\w", word)]
        unknown += [f"{name} {option}" for option in given if option not in options] if command else [name]
    assert not unknown


@pytest.mark.slow
def test_readmes_commands_run(sample_images: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("cat.jpg", "rocket.jpg", "coffee.jpg"):
        shutil.copy(sample_images / name, tmp_path / "photos")
    shutil.copy(sample_images / "cat.jpg", tmp_path / "photo.jpg")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    run = 0
    for words in documented(ROOT / "README.md"):
        if "--model" in words:  # the module is fetched from the network
            continue
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (words, done.stderr)
        run += 1
    assert run >= 8
    assert (tmp_path / "report.html").stat().st_size > 1000
