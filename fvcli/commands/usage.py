"""Help pages and usage errors, where Typer's own do not fit."""

from __future__ import annotations

import os
import sys
from typing import Any

import typer
from typer.core import TyperCommand

from fvcli.commands.reporting import complain

_VALUES = {"int": "N", "float": "F", "str": "TEXT"}


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
        return super().make_context(info_name, args, parent, **extra)

    def get_help_option(self, context: Any) -> Any:
        """The --help option, without a type either."""
        option = super().get_help_option(context)
        if option is not None:
            _show_no_type(option)
        return option


def _show_no_type(parameter: Any) -> None:
    if parameter.param_type_name == "argument" or parameter.is_flag:
        shown = ""  # an argument's name comes before it
    else:
        kind = parameter.display_type(None).strip("<>")
        shown = parameter.metavar or _VALUES.get(kind.split()[0], kind)
    parameter.display_type_rich = lambda ctx: shown


def run(app: typer.Typer) -> None:
    """Runs the command line. Usage errors are a panel for a person, else one line that can be searched for."""
    if sys.stderr.isatty() and os.environ.get("TERM") not in (None, "", "dumb"):
        app()
        return
    try:
        code = app(standalone_mode=False)
    except Exception as error:
        said = getattr(error, "format_message", None)
        if said is None:
            raise
        if type(error).__name__ != "NoArgsIsHelpError":  # the help page has been printed
            context = getattr(error, "ctx", None)
            hint = f"; {context.command_path} --help shows how" if context is not None else ""
            complain(" ".join(said().split()).rstrip(".") + hint, 2)
        code = getattr(error, "exit_code", 2)
    sys.exit(code or 0)
