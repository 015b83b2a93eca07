"""Options as a Typer command has them: those that several commands share, those of a run, and their help.

The options of a run are declared in :mod:`fvcli.options`. What an option names to be written to is checked here, before
anything is done.
"""

from __future__ import annotations

import inspect
import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_origin

import typer
from typer.core import TyperCommand, TyperGroup

from fvcli.dataset.layout import RowFormat
from fvcli.declared import Declared, Group, declared
from fvcli.errors import UsageError
from fvcli.options import GROUPS, CommandOptions, RunOptions
from fvcli.text import printable

if TYPE_CHECKING:
    from fvcli.run.request import ExtractRequest


Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
DatasetModel = Annotated[
    str | None,
    typer.Option("--model", "-m", metavar="NAME", help="The dataset's model, if it is neither embedded nor cached."),
]
Dataset = Annotated[str, typer.Argument(metavar="DIR", help="The dataset's folder.", show_default=False)]

_VALUES = {"int": "N", "float": "F", "str": "TEXT"}
_PLAIN_WORDS = (
    (r"Value error, ", ""),
    (r"Input should be a valid integer.*", "must be a whole number"),
    (r"Input should be a valid number.*", "must be a number"),
    (r"Input should be greater than or equal to", "must be at least"),
    (r"Input should be less than or equal to", "must be at most"),
)
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}

CommandFunction = TypeVar("CommandFunction", bound=Callable[..., None])

_EXTRACT = tuple(declared(RunOptions, CommandOptions))
_PLAN = tuple(each for each in declared(CommandOptions, RunOptions) if each.option.group.plan)
_SOURCES = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="SOURCES",
        help="Folders, images, archives, globs in quotes, or addresses in an object store.",
        show_default=False,
    ),
]


def extract_options(command: CommandFunction) -> CommandFunction:
    """A decorator: the command takes ``sources`` and every option of a run, as keywords."""
    return _with(_EXTRACT, command)


def plan_options(command: CommandFunction) -> CommandFunction:
    """A decorator: the command takes ``sources`` and the options that decide what is made, as keywords."""
    return _with(_PLAN, command)


def _with(options: Iterable[Declared], command: CommandFunction) -> CommandFunction:
    """Writes the options into the signature, from which Typer makes the parser and the help page."""
    ordered = sorted(options, key=lambda each: GROUPS.index(each.option.group))
    named = [
        parameter
        for parameter in inspect.signature(command, eval_str=True).parameters.values()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    sources = inspect.Parameter("sources", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_SOURCES)
    command.__signature__ = inspect.Signature([*named, sources, *map(_parameter, ordered)])  # type: ignore[attr-defined]
    return command


def _parameter(each: Declared) -> inspect.Parameter:
    option = each.option
    info = typer.Option(
        *each.flags,
        help=option.help,
        metavar=option.metavar or None,
        envvar=option.variable or None,
        show_envvar=False,
        min=option.least,
        max=option.most,
        rich_help_panel=option.group.heading,
    )
    kind: Any = _on_the_command_line(each)
    return inspect.Parameter(
        each.name, inspect.Parameter.KEYWORD_ONLY, default=option.default, annotation=Annotated[kind, info]
    )


def _on_the_command_line(each: Declared) -> Any:
    """The type that Typer parses: words for what may also be a number, a list for any sequence."""
    if each.choices:
        kind: Any = Literal[each.choices]
    elif get_origin(each.kind) is Sequence:
        kind = list[str]
    else:
        kind = each.kind if isinstance(each.kind, type) else str
    return kind | None if each.optional else kind


def given(context: typer.Context) -> list[Declared]:
    """The options of a run that the user typed, in the order of their declaration."""
    return [each for each in _EXTRACT if _typed(context, each.name)]


def _typed(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def refuse(context: typer.Context, meant: Callable[[Group], bool], reason: str) -> None:
    """Raises UsageError for a typed option whose group has no meaning here."""
    for each in given(context):
        if not meant(each.option.group):
            raise UsageError(f"{each.flags[0]} {reason}")


def request(values: Mapping[str, Any]) -> ExtractRequest:
    """The request that a command with these values of its options makes. Raises UsageError."""
    from fvcli.run.request import RayOptions, make_request

    options: Any = {each.name: values[each.name] for each in declared(RunOptions) if each.name in values}
    options["format"] = values["format"] or "parquet"
    if values.get("on") == "ray":
        options["ray"] = RayOptions(values["ray_address"], values["ray_workers"], values["ray_cpus_per_worker"])
    return make_request(values["sources"] or (), values["output"], **options)


class CommandGroup(TyperGroup):
    """Commands under one name, with a help page like that of :class:`Command`."""

    def get_params(self, context: Any) -> list[Any]:
        """The options, those for shell completion and help included."""
        parameters = super().get_params(context)
        for parameter in parameters:
            _show_no_type(parameter)
        return parameters


class Command(TyperCommand):
    """A command whose help page shows values ("N", "squash|crop|pad") and no names of types ("<bool>")."""

    def __init__(self, *args: Any, **values: Any) -> None:
        super().__init__(*args, **values)
        for parameter in self.params:
            _show_no_type(parameter)

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """The context to run in; each option can also be set by FVCLI_<COMMAND>_<OPTION> in the environment."""
        path = f"{parent.command_path if parent is not None else 'fvcli'} {info_name}"
        parameter: Any
        for parameter in self.params:
            if parameter.param_type_name == "option" and not isinstance(parameter.envvar, list):
                own = f"{path} {parameter.opts[0].lstrip('-')}".upper().replace(" ", "_").replace("-", "_")
                parameter.envvar = [own, parameter.envvar] if parameter.envvar else [own]
                parameter.show_envvar = False
        try:
            return super().make_context(info_name, args, parent, **extra)
        except typer.BadParameter as error:
            error.message = _plain(error.message)
            error.param_hint = error.param_hint or _variable(error)
            raise

    def get_help_option(self, context: Any) -> Any:
        """The --help option, without a type either."""
        option = super().get_help_option(context)
        if option is not None:
            _show_no_type(option)
        return option


def _variable(error: Any) -> str | None:
    """The variable of the environment that holds the value that is refused; None where it is not from there."""
    source = error.ctx.get_parameter_source(error.param.name) if error.ctx and error.param else None
    if source is None or source.name != "ENVIRONMENT":
        return None
    return next((name for name in error.param.envvar if os.environ.get(name)), None)


def _plain(message: str) -> str:
    """Typer's message on a value, in plainer words."""
    for pattern, words in _PLAIN_WORDS:
        message = re.sub(pattern, words, message)
    return message


def _show_no_type(parameter: Any) -> None:
    if parameter.param_type_name == "argument" or parameter.is_flag:
        shown = ""  # an argument's name comes before it
    else:
        kind = parameter.display_type(None).strip("<>")
        shown = parameter.metavar or _VALUES.get(kind.split()[0], kind)
    parameter.display_type_rich = lambda ctx: shown


_FILES: dict[str, RowFormat] = {".parquet": "parquet", ".npy": "npy", ".jsonl": "jsonl", ".arrow": "arrow"}

_OF_FILES = frozenset(
    (".bin", ".csv", ".db", ".feather", ".h5", ".hdf5", ".jpeg", ".jpg", ".json", ".npz", ".pkl", ".png", ".pt", ".tsv")
)
"""Suffixes that a user means for one file, so that no folder is made under such a name."""


def file_to_write(name: str, option: str) -> Path:
    """The path of a file that may be created or replaced.

    Raises UsageError for a device, a pipe, a folder or a symbolic link, none of which is opened, and where the folder
    does not exist.
    """
    path = Path(name)
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        if not path.parent.is_dir():
            folder = printable(str(path.parent))
            raise UsageError(f"{option} {printable(name)}: the folder {folder} does not exist") from None
        return path
    except (OSError, ValueError) as error:
        raise UsageError(f"{option} {printable(name)}: {getattr(error, 'strerror', None) or error}") from None
    if stat.S_ISLNK(mode):
        aim = printable(os.readlink(path))
        raise UsageError(f"{option} {printable(name)} is a symbolic link to {aim}: name that file, or remove the link")
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "no regular file")
        raise UsageError(f"{option} {printable(name)} is {kind}, not a file that can be replaced")
    return path


def folder_to_write(name: str, option: str) -> str:
    """``name``, where it is a folder, a link to one, an address in a bucket, or not there yet. Raises UsageError."""
    from fvcli.locations import is_remote, local_path

    if is_remote(name):
        return name
    path = local_path(name)
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        if (suffix := os.path.splitext(name)[1].lower()) in _OF_FILES:
            raise UsageError(
                f"{option} {printable(name)}: {suffix} files are not written. One file may be {', '.join(_FILES)}; for "
                "a dataset, name a folder"
            ) from None
        if os.path.islink(path):
            aim = printable(os.readlink(path))
            raise UsageError(f"{option} {printable(name)} is a symbolic link to {aim}, which does not exist") from None
        return name
    except (OSError, ValueError):  # the store says what is wrong
        return name
    if not stat.S_ISDIR(mode):
        raise UsageError(f"{option} {printable(name)} is {_KINDS.get(stat.S_IFMT(mode), 'a file')}, not a folder")
    return name


def file_format(output: str) -> RowFormat | None:
    """The format of the one file that ``-o`` names by its suffix; None where it names a folder or stdout."""
    format = _FILES.get(os.path.splitext(output)[1].lower())
    return None if os.path.isdir(output) else format
