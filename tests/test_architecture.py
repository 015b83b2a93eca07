"""The arrows between rooms point one way, and nothing heavy is loaded that a command does not use."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import fvcli

# From the ground up: a module may import its own room and the rooms before it in this list, except SEPARATE ones.
ROOMS = [
    {"errors", "text"},
    {"records"},
    {"machine", "files", "fsspec_bridge"},
    {"locations"},
    {"sources"},
    {"images", "models", "dataset"},
    {"declared"},
    {"options"},
    {"run"},
    {"explore"},
    {"report", "selftest"},
    {"api"},
    {"commands"},
    {"cli"},
    {"__main__"},
]
# Rooms that could see each other by their place in the list and must not.
SEPARATE = {"models": {"sources"}, "dataset": {"sources"}, "selftest": {"dataset", "explore"}}
FLOOR = {room: floor for floor, rooms in enumerate(ROOMS) for room in rooms}


def modules() -> list[Path]:
    package = Path(fvcli.__file__).parent
    return sorted(file for file in package.rglob("*.py") if file != package / "__init__.py")


def room_of(file: Path) -> str:
    return file.relative_to(Path(fvcli.__file__).parent).parts[0].removesuffix(".py")


@cache
def nodes_of(file: Path) -> tuple[ast.AST, ...]:
    """All of a module's syntax; each module is parsed once."""
    return tuple(ast.walk(ast.parse(file.read_text("utf-8"))))


def imported_rooms(file: Path) -> set[str]:
    rooms = set()
    for node in nodes_of(file):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import, whose room nothing here would see"
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "fvcli":
            parts = node.module.split(".")
            rooms |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            rooms |= {parts[1] for parts in names if parts[0] == "fvcli" and len(parts) > 1}
    return rooms - {"__version__"}


@pytest.mark.parametrize("file", modules(), ids=lambda file: "/".join(file.parts[-2:]))
def test_a_module_imports_only_its_own_room_and_those_below(file: Path) -> None:
    room = room_of(file)
    below = {other for other, floor in FLOOR.items() if floor < FLOOR[room]} - SEPARATE.get(room, set())
    assert imported_rooms(file) <= below | {room}


def name_of(file: Path) -> str:
    """The module's dotted name."""
    parts = file.relative_to(Path(fvcli.__file__).parents[1]).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(file: Path, known: set[str]) -> set[str]:
    """Modules of fvcli that a module imports, wherever in it; not those that are for the type checker alone."""
    found = set()
    for node in _running(nodes_of(file)[0]):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & known


def _running(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            continue
        yield child
        yield from _running(child)


def test_no_imports_go_round_in_a_circle() -> None:
    known = {name_of(file) for file in modules()}
    graph = {name_of(file): imported_modules(file, known) - {name_of(file)} for file in modules()}
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_no_two_public_classes_have_one_name() -> None:
    found = [
        node.name
        for file in modules()
        for node in nodes_of(file)
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]
    assert [name for name, count in Counter(found).items() if count > 1] == []


@pytest.mark.parametrize("file", modules(), ids=lambda file: "/".join(file.parts[-2:]))
def test_files_and_signatures_stay_small(file: Path) -> None:
    assert file.read_text("utf-8").count("\n") <= 320
    if room_of(file) in ("commands", "cli"):  # a command's parameters are its options
        return
    for node in nodes_of(file):
        if isinstance(node, ast.FunctionDef):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            own = [argument for argument in arguments if argument.arg not in ("self", "cls")]
            assert len(own) <= 8, node.name


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
