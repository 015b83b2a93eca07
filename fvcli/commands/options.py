"""The declared options of a run as parameters of a Typer command."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_origin

import typer

from fvcli.declared import Declared, Group, declared
from fvcli.errors import UsageError
from fvcli.options import GROUPS, CommandOptions, ExtractOptions

if TYPE_CHECKING:
    from fvcli.run.request import ExtractRequest

Command = TypeVar("Command", bound=Callable[..., None])

_EXTRACT = tuple(declared(ExtractOptions, CommandOptions))
_PLAN = tuple(each for each in declared(CommandOptions, ExtractOptions) if each.option.group.plan)
_SOURCES = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="SOURCES", help="Folders (walked), images, archives, or globs in quotes.", show_default=False
    ),
]


def extract_options(command: Command) -> Command:
    """A decorator: the command takes ``sources`` and every option of a run, as keywords."""
    return _with(_EXTRACT, command)


def plan_options(command: Command) -> Command:
    """A decorator: the command takes ``sources`` and the options that decide what is made, as keywords."""
    return _with(_PLAN, command)


def _with(options: Iterable[Declared], command: Command) -> Command:
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
    from fvcli import api
    from fvcli.run.request import RayOptions

    options: Any = {each.name: values[each.name] for each in declared(ExtractOptions) if each.name in values}
    options["format"] = values["format"] or "parquet"
    if values.get("on") == "ray":
        options["ray"] = RayOptions(values["ray_address"], values["ray_workers"], values["ray_cpus_per_worker"])
    return api.request(values["sources"] or (), values["output"], **options)
