"""All commands, walked: help, guide, exit codes, what --json prints, and terminals and pipes of every sort."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
from typer.testing import CliRunner, Result

from fvcli.cli import app
from fvcli.dataset import lock
from fvcli.dataset.store import open_store

FVCLI = str(Path(sys.executable).with_name("fvcli"))
GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide.md"
# The samples hold one file that is broken on purpose, so extract says 3.
SOME_FAILED = 3


def fvcli(*arguments: str | Path, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [FVCLI, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )


def in_process(*arguments: str | Path, cwd: Path) -> Result:
    """A command in the test's own process: starting one takes most of a short command's time."""
    with contextlib.chdir(cwd):
        return CliRunner().invoke(app, list(map(str, arguments)), env={"COLUMNS": "200"}, prog_name="fvcli")


def walk(command: Any, name: str = "fvcli") -> Iterator[tuple[str, Any]]:
    """Every command that does something, by the words it is called with."""
    if hasattr(command, "commands"):
        for word, inner in command.commands.items():
            yield from walk(inner, f"{name} {word}")
    else:
        yield name, command


COMMANDS = dict(walk(typer.main.get_command(app)))


@pytest.fixture(scope="module")
def features(sample_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of the samples, whose root is "photos"; the working folder for its commands is the one above."""
    place = tmp_path_factory.mktemp("user")
    shutil.copytree(sample_images, place / "photos")
    assert in_process("extract", "photos", "-o", "features", cwd=place).exit_code == SOME_FAILED
    return place / "features"


# --- help and guide ---------------------------------------------------------------------------------------------


def test_the_walk_finds_the_commands() -> None:
    assert {"fvcli extract", "fvcli neighbors", "fvcli models export"} <= COMMANDS.keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, tmp_path: Path) -> None:
    done = in_process(*name.split()[1:], "--help", cwd=tmp_path)
    assert (done.exit_code, done.stderr) == (0, "")
    assert "Usage: fvcli" in done.stdout
    assert COMMANDS[name].help
    for parameter in COMMANDS[name].params:
        if parameter.param_type_name == "option":
            assert parameter.help, f"{name} {parameter.name}"


def test_the_guide_has_no_command_that_does_not_exist() -> None:
    named = set(re.findall(r"^##+ (fvcli .+)$", GUIDE.read_text("utf-8"), re.MULTILINE))
    assert named - {"fvcli models"} == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_guide_has_every_option(name: str) -> None:
    text = GUIDE.read_text("utf-8")
    match = re.search(rf"^##+ {name}\n(.*?)(?=^##+ fvcli |\Z)", text, re.DOTALL | re.MULTILINE)
    assert match is not None
    for parameter in COMMANDS[name].params:
        for option in (*parameter.opts, *parameter.secondary_opts):
            if option.startswith("--") and option != "--help":
                assert re.search(rf"`[^`]*{option}\b", match[1]), option


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_be_quiet(name: str) -> None:
    assert any("--quiet" in parameter.opts and "-q" in parameter.opts for parameter in COMMANDS[name].params)


@pytest.mark.slow
def test_the_guides_examples_run(features: Path, tmp_path: Path) -> None:
    shutil.copytree(features.parent / "photos", tmp_path / "photos")
    environment = {**os.environ, "PATH": f"{Path(FVCLI).parent}:{os.environ['PATH']}"}
    blocks = re.findall(r"^```sh\n(.*?)^```$", GUIDE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 8
    for block in blocks:
        for line in block.splitlines():
            if line.startswith("fvcli ") and "|" not in line:
                result = in_process(*shlex.split(line)[1:], cwd=tmp_path)
                code, said = result.exit_code, result.stderr
            else:
                done = subprocess.run(
                    ["bash", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
                )
                code, said = done.returncode, done.stderr
            # Of the two tasks of a plan only one has the broken sample.
            failing = re.search(r"fvcli (extract .*-o features|extract .*--task|finalize)", line)
            assert code in ((0, SOME_FAILED) if failing else (0,)), (line, said)


@pytest.mark.slow
def test_the_shell_completes_commands_options_and_values() -> None:
    for words, expected in (
        ("fvcli ins", "inspect"),
        ("fvcli extract --fi", "--files-from"),
        ("fvcli models sh", "show"),
    ):
        environment = {"_FVCLI_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        assert expected in fvcli(**environment).stdout.split()


# --- what --json prints -----------------------------------------------------------------------------------------

SCHEMAS = json.loads(resources.files("fvcli.commands").joinpath("output.schema.json").read_text("utf-8"))

#: Arguments, the schema's name where the first words of the command are not, and the exit code.
JSON_OUTPUTS: list[tuple[list[str], str, int]] = [
    (["extract", "photos"], "extract", SOME_FAILED),
    (["extract", "photos", "--dry-run"], "extract --dry-run", 0),
    (["extract", "photos/cat.jpg", "-o", "rows.npy"], "extract -o FILE", 0),
    (["verify", "features"], "verify", 0),
    (["verify", "features", "--recompute", "2"], "verify", 0),
    (["inspect", "features"], "inspect", 0),
    (["formats"], "formats", 0),
    (["neighbors", "features", "cat.jpg"], "neighbors", 0),
    (["neighbors", "features", "photos/coffee-animated.webp", "-k", "30"], "neighbors", 0),
    (["neighbors", "features", "cat.jpg", "coffee.jpg", "--unique"], "neighbors", 0),
    (["duplicates", "features", "--threshold", "0.5"], "duplicates", 0),
    (["duplicates", "features", "--exact"], "duplicates", 0),
    (["models", "list"], "models list", 0),
    (["models", "show", "embedded"], "models show", 0),
    (["models", "verify", "embedded"], "models verify", 0),
    (["selftest"], "selftest", 0),
]


def check(value: Any, name: str) -> None:
    """Holds the output of a command against the schema that ships with the package."""
    jsonschema.validate(value, {**SCHEMAS, "$ref": f"#/$defs/{name.replace(' ', '%20')}"})


def test_the_schemas_are_schemas() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMAS)
    with pytest.raises(jsonschema.ValidationError):
        check({"rows": 1}, "extract")


@pytest.mark.parametrize(
    ("arguments", "schema", "code"), JSON_OUTPUTS, ids=[" ".join(case[0]) for case in JSON_OUTPUTS]
)
def test_json_is_one_value_of_a_known_shape(features: Path, arguments: list[str], schema: str, code: int) -> None:
    done = in_process(*arguments, "--json", "--quiet", cwd=features.parent)
    assert done.exit_code == code, done.stderr
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1
    value = json.loads(done.stdout)
    assert value
    check(value, schema)


def test_damage_in_json(features: Path, tmp_path: Path) -> None:
    shutil.copytree(features, tmp_path / "damaged")
    next((tmp_path / "damaged" / "data").iterdir()).write_bytes(b"")
    done = in_process("verify", "damaged", "--json", "--quiet", cwd=tmp_path)
    assert done.exit_code == 4
    assert json.loads(done.stdout)["damages"]
    check(json.loads(done.stdout), "verify")


@pytest.mark.slow
def test_plan_task_and_finalize_in_json(features: Path, tmp_path: Path) -> None:
    """In order, since each needs the one before."""
    photos, output = features.parent / "photos", tmp_path / "f"
    steps: list[tuple[list[str | Path], str, int]] = [
        (["plan", photos, "-o", output, "--shard-size", "12"], "plan", 0),
        (["extract", "-o", output, "--task", "1/2"], "extract --task", SOME_FAILED),
        (["finalize", output], "finalize", 1),
        (["extract", "-o", output, "--task", "2/2"], "extract --task", 0),
        (["finalize", output], "finalize", SOME_FAILED),
    ]
    for arguments, schema, code in steps:
        done = in_process(*arguments, "--json", cwd=tmp_path)
        assert done.exit_code == code, done.stderr
        check(json.loads(done.stdout), schema)


def test_json_options_are_all_tried() -> None:
    """A command that learns --json must be added to one of the two tests above."""
    able = {name for name, command in COMMANDS.items() if any("--json" in option.opts for option in command.params)}
    tried = {"fvcli plan", "fvcli finalize"}
    for arguments, _, _ in JSON_OUTPUTS:
        tried.add(" ".join(["fvcli", *arguments[: 2 if arguments[0] == "models" else 1]]))
    assert able == tried


# --- exit codes and errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["extract"], 2, "name a folder"),
        (["extract", "nowhere"], 2, "no such file or folder"),
        (["extract", "photos", "--fit", "stretch"], 2, "stretch"),
        (["extract", "photos", "--max-failures", "many"], 2, "--max-failures"),
        (["extract", "photos", "--model", "no-such-model"], 1, "no-such-model"),
        (["extract", "photos", "--fit", "crop"], 1, "--overwrite"),
        (["extract", "photos", "-o", "photos/cat.jpg"], 2, "photos/cat.jpg"),
        (["extract", "photos", "-o", "rows.csv"], 2, ".parquet"),
        (["extract", "photos", "-o", "other", "--max-failures", "0"], 1, "--max-failures"),
        (["inspect", "photos"], 1, "photos is not a dataset"),
        (["inspect", "nowhere"], 1, "nowhere"),
        (["neighbors", "features"], 2, "--files-from"),
        (["neighbors", "features", "cat.jpg", "-0"], 2, "--files-from"),
        (["duplicates", "features", "-0"], 2, "--print"),
        (["duplicates", "features", "--json", "--print", "keep"], 2, "--print"),
        (["neighbors", "features", "dog.jpg"], 2, "neither a row"),
        (["neighbors", "features", "photos/broken-on-purpose.jpg"], 1, "photos/broken-on-purpose.jpg"),
        (["neighbors", "features", "cat.jpg", "-k", "0"], 2, "-k"),
        (["export", "features"], 2, "--as"),
        (["export", "features", "--as", "projector", "-o", "photos/cat.jpg"], 1, "photos/cat.jpg"),
        (["export", "photos", "--as", "projector"], 1, "not a dataset"),
        (["report", "photos"], 1, "not a dataset"),
        (["verify", "photos"], 1, "manifest"),
        (["repair", "photos"], 1, "manifest"),
        (["finalize", "photos"], 1, "plan"),
        (["models", "show", "no-such-model"], 1, "no-such-model"),
        (["models", "verify", "no-such-model"], 1, "no-such-model"),
        (["frobnicate"], 2, "frobnicate"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_errors_say_what_is_wrong(features: Path, arguments: list[str], code: int, said: str) -> None:
    done = in_process(*arguments, cwd=features.parent)
    assert done.exit_code == code, done.stderr
    assert done.stdout == ""
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "a bug" not in done.stderr
    own = [line for line in done.stderr.splitlines() if line.startswith("fvcli: ")]
    if own:  # usage errors that Typer finds are its own to tell
        assert len(own) == 1
        assert said in own[0]


@pytest.mark.slow
def test_another_run_holds_the_dataset(features: Path) -> None:
    with lock.hold(open_store(features)):
        done = fvcli("extract", "photos", "-o", features, cwd=features.parent)
        assert done.returncode == 75
        assert f"process {os.getpid()}" in done.stderr
        assert in_process("inspect", features, cwd=features.parent).exit_code == 0


def test_verify_names_damage(features: Path, tmp_path: Path) -> None:
    shutil.copytree(features, tmp_path / "damaged")
    file = next((tmp_path / "damaged" / "data").iterdir())
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    done = in_process("verify", tmp_path / "damaged", cwd=tmp_path)
    assert done.exit_code == 4
    assert file.name in done.stderr


# --- terminals, pipes and streams -------------------------------------------------------------------------------


def on_a_terminal(arguments: list[str], cwd: Path, **environment: str) -> tuple[int, str]:
    """Exit code and everything shown, of a command with a terminal for all three streams."""
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(cwd)
        os.execve(FVCLI, [FVCLI, *arguments], {**os.environ, **environment})
    shown = b""
    while True:
        try:
            block = os.read(terminal, 1 << 16)
        except OSError:  # the other end is closed
            break
        if not block:
            break
        shown += block
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), shown.decode(errors="replace")


TERMINALS = [
    {"TERM": "dumb"},
    {"TERM": "xterm-256color", "COLUMNS": "40", "LINES": "10"},
    {"TERM": "xterm-256color", "NO_COLOR": "1"},
    {"TERM": "", "LC_ALL": "C"},
]
COLOR = re.compile(r"\x1b\[[0-9;]*\b(3[0-7]|4[0-7]|9[0-7]|10[0-7]|38;|48;)[0-9;]*m")


@pytest.mark.slow
@pytest.mark.parametrize("environment", TERMINALS, ids=str)
def test_any_terminal_will_do(features: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    photos = str(features.parent / "photos")
    code, shown = on_a_terminal(["extract", photos, "-o", str(tmp_path / "f")], tmp_path, **environment)
    assert code == SOME_FAILED
    assert "Traceback" not in shown
    assert "23 rows" in shown
    code, help_shown = on_a_terminal(["extract", "--help"], tmp_path, **environment)
    assert code == 0
    assert "--files-from" in re.sub(r"\x1b\[[0-9;]*m", "", help_shown)
    if "NO_COLOR" in environment or environment["TERM"] == "dumb":
        assert not COLOR.search(shown + help_shown)


@pytest.mark.slow
def test_without_a_terminal_there_are_no_control_characters(features: Path, tmp_path: Path) -> None:
    done = fvcli("extract", features.parent / "photos", "-o", tmp_path / "f")
    assert done.returncode == SOME_FAILED
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", done.stdout + done.stderr)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "sink"),
    [
        ("fvcli extract photos -o f --json", "| true"),
        ("fvcli extract photos -o f", "2>&1 | true"),
        ("fvcli extract photos -o f --json", ">&- 2>&-"),
        ("fvcli extract photos -o f", "<&- >&-"),
        ("fvcli duplicates features --threshold 0.5", "| true"),
        ("fvcli neighbors features cat.jpg", "2>&1 | true"),
        ("fvcli inspect features", ">&-"),
        ("fvcli --help", "| true"),
    ],
)
def test_closed_pipes_and_streams_do_no_harm(features: Path, tmp_path: Path, command: str, sink: str) -> None:
    for name in ("photos", "features"):
        (tmp_path / name).symlink_to(features.parent / name)
    environment = {**os.environ, "PATH": f"{Path(FVCLI).parent}:{os.environ['PATH']}"}
    line = f'{command} {sink}; echo "code ${{PIPESTATUS[0]}}"'
    done = subprocess.run(
        ["bash", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    code = int(done.stdout.rsplit("code ", 1)[1])
    # Help is printed by Typer, for whom a closed pipe is 1.
    usual = {"extract": (0, SOME_FAILED), "--help": (0, 1)}.get(command.split()[1], (0,))
    assert code in usual, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    if "extract" in command:
        assert in_process("verify", tmp_path / "f", cwd=tmp_path).exit_code == 0
