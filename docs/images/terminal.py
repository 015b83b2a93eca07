"""The terminal in the README: ``python -m docs.images.terminal`` runs three commands and writes terminal.svg.

The commands run on a pseudo-terminal over a copy of sample_images, so the picture shows what a person sees.
"""

from __future__ import annotations

import html
import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
SAMPLES = HERE.parents[1] / "sample_images"
COMMANDS = (
    "fvcli extract photos",
    "fvcli neighbors features photos/cat.jpg -k 3 --unique",
    "fvcli report features",
)
COLUMNS = 84
_SIZE, _LINE, _LEFT, _TOP = 14, 20, 22, 62  # pixels
_CHARACTER = 8.43
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07")


def run(command: str, folder: Path) -> list[str]:
    """The lines that a command leaves on the screen."""
    ours, theirs = pty.openpty()
    scripts = str(Path(sys.executable).parent)
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "LINES": "40"}
    environment["PATH"] = f"{scripts}{os.pathsep}{environment.get('PATH', '')}"
    process = subprocess.Popen(
        command, shell=True, cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    shown = bytearray()
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part
    process.wait()
    os.close(ours)
    text = _CONTROL.sub("", shown.decode("utf-8", "replace")).replace("\r\n", "\n")
    # A bar draws over its line again and again: what stands after the last return is what is left of it.
    lines = [line.split("\r")[-1].rstrip() for line in text.split("\n")]
    return [line.replace(str(folder), "/home/you") for line in lines if line]


def drawn(screens: list[tuple[str, list[str]]]) -> str:
    """The commands with their lines as an SVG image."""
    body: list[str] = []
    height = _TOP

    def text(line: str, color: str, indent: float = 0) -> str:
        where = f'x="{_LEFT + indent:.1f}" y="{height}"'
        return f'<text {where} fill="{color}" xml:space="preserve">{html.escape(line)}</text>'

    for command, lines in screens:
        body += [text("$", "#5bc6b8"), text(command, "#f2f2ef", 2 * _CHARACTER)]
        height += _LINE
        for line in lines:
            for start in range(0, max(1, len(line)), COLUMNS):
                body.append(text(line[start : start + COLUMNS], "#a9adb0"))
                height += _LINE
        height += _LINE // 2
    width = round(2 * _LEFT + COLUMNS * _CHARACTER)
    font = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace"
    dots = "".join(
        f'<circle cx="{_LEFT + 20 * place}" cy="26" r="6" fill="{color}"/>'
        for place, color in enumerate(("#ec6a5e", "#f4bf4f", "#61c554"))
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
            f'font-family="{font}" font-size="{_SIZE}" role="img" aria-label="Three fvcli commands in a terminal">',
            f'<rect width="{width}" height="{height}" rx="10" fill="#1a1c1e"/>',
            dots,
            *body,
            "</svg>\n",
        ]
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        shutil.copytree(SAMPLES, folder / "photos")
        (HERE / "terminal.svg").write_text(drawn([(command, run(command, folder)) for command in COMMANDS]), "utf-8")


if __name__ == "__main__":
    main()
