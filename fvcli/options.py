"""The options of a run: name, type, default, help and group of each, declared once.

``fvcli extract`` and ``fvcli plan`` (:mod:`fvcli.commands.options`), the Python interface (:mod:`fvcli.api`) and the
tables of docs/guide.md (``docs/tables.py``) are made from these declarations. Imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypedDict, Union, get_args, get_origin, get_type_hints

from fvcli.dataset.layout import DataFormat, DType, RowFormat
from fvcli.errors import UsageError
from fvcli.records import Decode, Engine, Fit, Preprocessing, Resize


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


PLACE = Group("Output", plan=True, task=True, stream=True)
OUTPUT = Group("Output", plan=True, stream=True)
SHARDS = Group("Output", plan=True)
INPUT = Group("Input", plan=True, stream=True)
IMAGES = Group("Images and model", plan=True, stream=True)
UPDATE = Group("Update", plan=True)
EFFORT = Group("Run", task=True, stream=True)
PROCESSES = Group("Run", task=True)
TASK = Group("Several machines", task=True)
RAY = Group("Several machines")
MESSAGES = Group("Messages", plan=True, task=True, stream=True)

#: In the order in which help and guide show them.
GROUPS = (INPUT, IMAGES, PLACE, OUTPUT, SHARDS, UPDATE, EFFORT, PROCESSES, TASK, RAY, MESSAGES)


@dataclass(frozen=True, slots=True)
class Option:
    """What is true of one option besides its name and type.

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


_RECIPE = Preprocessing()


class ExtractOptions(TypedDict, total=False):
    """The options of a run that the command line and Python share. Those left out have the declared defaults."""

    files_from: Annotated[str | None, Option("Read names from FILE, one per line; - is stdin.", INPUT, metavar="FILE")]
    null: Annotated[bool, Option("Names in that list end in NUL, as find -print0 writes them.", INPUT, False, "-0")]
    include: Annotated[
        Sequence[str] | None, Option("Take only names that match; may be repeated.", INPUT, metavar="GLOB")
    ]
    exclude: Annotated[Sequence[str] | None, Option("Skip names that match; may be repeated.", INPUT, metavar="GLOB")]
    follow_symlinks: Annotated[bool, Option("Walk symlinked folders too.", INPUT, False, more="Loops end.")]

    model: Annotated[
        str,
        Option(
            "The model: a name, a path or a TF Hub handle.",
            IMAGES,
            "embedded",
            "-m",
            "NAME",
            more="`fvcli models list` shows the names ([models.md](models.md)).",
            variable="FVCLI_MODEL",
        ),
    ]
    engine: Annotated[
        Engine | None,
        Option("How to run the model.", IMAGES, more="Default: the model's own, int8 for quantops networks."),
    ]
    fit: Annotated[
        Fit, Option("Keep the whole image squashed, its center square, or the whole with borders.", IMAGES, _RECIPE.fit)
    ]
    crop_fraction: Annotated[
        float,
        Option(
            "Side of that square, as a share of the shorter side.",
            IMAGES,
            _RECIPE.crop_fraction,
            metavar="F",
            least=0.01,
            most=1.0,
        ),
    ]
    resize: Annotated[
        Resize,
        Option("Resize kernel.", IMAGES, _RECIPE.resize, more="`tf1-bilinear` is what old TensorFlow scripts did."),
    ]
    decode: Annotated[
        Decode,
        Option("Decode JPEG at the smallest scale that covers the need, or whole.", IMAGES, _RECIPE.decode),
    ]
    max_pixels: Annotated[
        int, Option("Reject larger images before decoding.", IMAGES, 200_000_000, metavar="N", least=1)
    ]

    format: Annotated[DataFormat, Option("Kind of data files.", OUTPUT, "parquet")]
    dtype: Annotated[DType, Option("Type of the vectors.", OUTPUT, "float32")]
    normalize: Annotated[
        bool, Option("Scale each vector to unit length.", OUTPUT, False, more="A zero vector stays zero.")
    ]
    labels: Annotated[
        int,
        Option(
            "Write the K best classes per image.",
            OUTPUT,
            0,
            metavar="K",
            least=0,
            more="As the columns `labels` and `scores`; 0 for none. For models that have their classifier.",
        ),
    ]
    shard_size: Annotated[
        int,
        Option(
            "Rows per data file.",
            SHARDS,
            10_000,
            metavar="N",
            least=1,
            more="Bounds memory, and the work that a crash can cost.",
        ),
    ]

    prune: Annotated[
        bool,
        Option("Drop rows of files that are gone.", UPDATE, False, more="Otherwise they stay, counted as `stale`."),
    ]
    prune_limit: Annotated[
        int | str,
        Option(
            "Largest share of a source's rows that --prune may drop.",
            UPDATE,
            "50%",
            metavar="N|P%",
            more="Beyond it nothing is dropped and the exit code is 1. `100%` allows everything.",
        ),
    ]
    retry_failed: Annotated[bool, Option("Retry unchanged inputs that failed before.", UPDATE, False)]
    overwrite: Annotated[
        bool,
        Option("Rebuild from scratch; the old dataset stays readable until the new one is complete.", UPDATE, False),
    ]

    max_failures: Annotated[
        int | str | None,
        Option(
            "Stop (exit code 1) after N failures or P percent.", EFFORT, metavar="N|P%", more="Finished shards stay."
        ),
    ]
    workers: Annotated[
        int | None,
        Option("Workers.", EFFORT, flag="-j", metavar="N", least=1, more="Default: the CPUs that the process may use."),
    ]
    processes: Annotated[
        int | None,
        Option(
            "Worker processes; 0 works with threads alone.",
            PROCESSES,
            metavar="N",
            least=0,
            more="Default: by the number of workers and inputs, see [scaling.md](scaling.md#many-cores).",
        ),
    ]
    batch_size: Annotated[int, Option("Images per worker and batch.", EFFORT, 32, "-b", "N", least=1)]


class CommandOptions(TypedDict, total=False):
    """The options of a run that only the command line has."""

    output: Annotated[
        str,
        Option(
            "The dataset's folder; one file with .parquet, .npy, .jsonl or .arrow; - is stdout.",
            PLACE,
            "features",
            "-o",
            "DIR|FILE|-",
        ),
    ]
    format: Annotated[
        RowFormat | None,
        Option(
            "Kind of data files; jsonl and arrow for -o -.",
            OUTPUT,
            more="Default: `parquet` for a folder, the suffix of a file.",
        ),
    ]
    task: Annotated[
        str | None,
        Option("Do one slice of what fvcli plan froze.", TASK, metavar="I/N", more="See [fvcli plan](#fvcli-plan)."),
    ]
    on: Annotated[
        Literal["local", "ray"],
        Option("Run on this machine or on a Ray cluster.", RAY, "local", more="Ray: `pip install 'fvcli[ray]'`."),
    ]
    ray_address: Annotated[
        str, Option("The cluster.", RAY, "auto", metavar="auto|HOST:PORT", more="See [scaling.md](scaling.md).")
    ]
    ray_workers: Annotated[int | None, Option("Actors (default: all that fit).", RAY, metavar="N", least=1)]
    ray_cpus_per_worker: Annotated[int, Option("CPUs and threads per actor.", RAY, 1, metavar="N", least=1)]

    json: Annotated[bool, Option("Print the run's summary as a JSON object.", MESSAGES, False)]
    log_format: Annotated[
        Literal["text", "json"],
        Option(
            "Form of the messages on stderr.",
            MESSAGES,
            "text",
            more="`json`: each line is an object with `time` and `event`: "
            "`looking`, `passed_over`, `planned`, `progress`, `failure`, `finished`, `error`.",
        ),
    ]
    metrics_file: Annotated[
        str | None,
        Option(
            "Write metrics in Prometheus text format to FILE.",
            MESSAGES,
            metavar="FILE",
            more="Replaced at once, also after a run that failed.",
        ),
    ]
    quiet: Annotated[bool, Option("Print errors only.", MESSAGES, False, "-q")]


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


def complete(values: Mapping[str, Any]) -> dict[str, Any]:
    """All options of ``ExtractOptions``, with the declared defaults where ``values`` has none.

    Raises UsageError for a value that an option does not take, TypeError for a name that is no option.
    """
    known = {each.name: each for each in declared(ExtractOptions)}
    unknown = sorted(values.keys() - known.keys())
    if unknown:
        raise TypeError(f"extract() has no option {unknown[0]!r}")
    for name, value in values.items():
        known[name].check(value)
    return {name: values.get(name, each.option.default) for name, each in known.items()}
