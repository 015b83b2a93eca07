"""The arrows between rooms point one way, and nothing heavy is loaded that a command does not use."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

# Each room may import the rooms to its right, itself, and what stands beside them at the top of the package.
ALLOWED = {
    "images": {"records", "remote", "errors"},
    "models": {"records", "errors"},
    "dataset": {"records", "remote", "errors"},
    "report": {"dataset", "images", "records", "errors"},
    "run": {"dataset", "models", "images", "records", "remote", "errors"},
}
GROUND = {"records": {"errors"}, "remote": {"errors"}, "errors": set()}


def imported_rooms(file: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "fvcli":
            parts = node.module.split(".")
            rooms |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            rooms |= {parts[1] for parts in names if parts[0] == "fvcli" and len(parts) > 1}
    return rooms - {"__version__"}


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_a_room_knows_only_the_rooms_below_it(repository: Path, room: str) -> None:
    for file in (repository / "fvcli" / room).rglob("*.py"):
        assert imported_rooms(file) <= ALLOWED[room] | {room}, file


@pytest.mark.parametrize("module", sorted(GROUND))
def test_the_ground_floor_stands_on_nothing(repository: Path, module: str) -> None:
    assert imported_rooms(repository / "fvcli" / f"{module}.py") <= GROUND[module]


def loaded_by(*arguments: str) -> set[str]:
    program = (
        "import sys\n"
        "sys.argv = ['fvcli', *sys.argv[1:]]\n"
        "from fvcli.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "sys.stderr.write('\\nMODULES ' + ' '.join(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    return set(done.stderr.rsplit("\nMODULES ", 1)[1].split())


def test_help_loads_nothing_heavy() -> None:
    loaded = loaded_by("--help")
    assert not loaded & {"tensorflow", "numpy", "pyarrow", "PIL", "ai_edge_litert", "tensorflow_hub"}


def test_extract_does_not_load_tensorflow(sample_images: Path, tmp_path: Path) -> None:
    loaded = loaded_by("extract", str(sample_images), "-o", str(tmp_path / "f"), "--quiet")
    assert (tmp_path / "f" / "manifest.json").exists()
    assert not loaded & {"tensorflow", "tensorflow_hub", "keras", "pandas", "ray"}
