"""Declarations of options: what is true of an option besides what it means to a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from fvcli.errors import UsageError


@dataclass(frozen=True, slots=True)
class Group:
    """Options that belong together: their heading, and where besides ``extract`` they have a meaning.

    plan: in ``fvcli plan``, which freezes what is made. task: in ``extract --task``, which works on a plan.
    stream: in ``extract -o -``, which writes rows and no dataset.
    """

    heading: str
    plan: bool = False
    task: bool = False
    stream: bool = False


@dataclass(frozen=True, slots=True)
class Option:
    """An option without its name and type.

    help: one line. more: what the guide adds, as Markdown. flag: the short form.
    least, most: the range of a number; both ends belong to it.
    variable: an environment variable that sets it in all commands, besides FVCLI_<COMMAND>_<NAME> in one.
    """

    help: str
    group: Group
    default: Any = None
    flag: str = ""
    metavar: str = ""
    least: float | None = None
    most: float | None = None
    more: str = ""
    variable: str = ""


@dataclass(frozen=True, slots=True)
class Declared:
    """An option with its name and type. kind: the type without None; choices: the words of a Literal, else empty."""

    name: str
    kind: Any
    optional: bool
    option: Option

    @property
    def choices(self) -> tuple[str, ...]:
        kinds = get_args(self.kind) if get_origin(self.kind) is Union else (self.kind,)
        return tuple(word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind))

    @property
    def flags(self) -> tuple[str, ...]:
        """The spellings on the command line, the long one first."""
        long = f"--{self.name.replace('_', '-')}"
        return (long, self.option.flag) if self.option.flag else (long,)

    def check(self, value: object) -> None:
        """Raises UsageError for a value that is none of the choices or outside the range."""
        if value is None and self.optional:
            return
        if self.choices and value not in self.choices:
            raise UsageError(f"{self.name} is one of {', '.join(self.choices)}, not {value!r}")
        least, most = self.option.least, self.option.most
        if least is None or not isinstance(value, int | float):
            return
        if value < least or (most is not None and value > most):
            limits = f"at least {least:g}" if most is None else f"between {least:g} and {most:g}"
            raise UsageError(f"{self.name} is {limits}, not {value!r}")


def declared(*kinds: type) -> Iterator[Declared]:
    """The options of these TypedDicts, in their order; of two with one name the later one counts."""
    hints: dict[str, Any] = {}
    for kind in kinds:
        hints |= get_type_hints(kind, include_extras=True)
    for name, hint in hints.items():
        inner, option = get_args(hint)
        members = get_args(inner) if get_origin(inner) in (Union, UnionType) else (inner,)
        rest = tuple(member for member in members if member is not NoneType)
        yield Declared(name, Union[rest], len(rest) < len(members), option)  # noqa: UP007 (of any number)
