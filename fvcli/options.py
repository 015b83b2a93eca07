"""The options of a run: name, type, default, help and group of each, declared once.

``fvcli extract`` and ``fvcli plan`` (:mod:`fvcli.commands.options`), requests (:mod:`fvcli.run.request`) and the
tables of docs/guide.md (``docs/tables.py``) are made from these declarations. Imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, TypedDict

from fvcli.dataset.layout import DataFormat, DType, RowFormat
from fvcli.declared import Group, Option
from fvcli.records import Decode, Engine, Fit, Preprocessing, Resize

PLACE = Group("Output", plan=True, task=True, stream=True)
OUTPUT = Group("Output", plan=True, stream=True)
SHARDS = Group("Output", plan=True)
INPUT = Group("Input", plan=True, stream=True)
IMAGES = Group("Images and model", plan=True, stream=True)
UPDATE = Group("Update", plan=True)
CHECK = Group("Update")
EFFORT = Group("Run", task=True, stream=True)
PROCESSES = Group("Run", task=True)
TASK = Group("Several machines", task=True)
RAY = Group("Several machines")
MESSAGES = Group("Messages", plan=True, task=True, stream=True)

#: In the order in which help and guide show them.
GROUPS = (INPUT, IMAGES, PLACE, OUTPUT, SHARDS, UPDATE, CHECK, EFFORT, PROCESSES, TASK, RAY, MESSAGES)

_RECIPE = Preprocessing()


class RunOptions(TypedDict, total=False):
    """The options of a run that the command line and Python share. Omitted ones have the declared defaults."""

    files_from: Annotated[str | None, Option("Read names from FILE, one per line; - is stdin.", INPUT, metavar="FILE")]
    null: Annotated[bool, Option("Names in FILE end in NUL, as find -print0 writes them.", INPUT, False, "-0")]
    include: Annotated[
        Sequence[str] | None, Option("Take only names that match GLOB; may be repeated.", INPUT, metavar="GLOB")
    ]
    exclude: Annotated[
        Sequence[str] | None, Option("Skip names that match GLOB; may be repeated.", INPUT, metavar="GLOB")
    ]
    limit: Annotated[
        int | None,
        Option(
            "Take only the first N inputs, in the order of the dataset.",
            INPUT,
            metavar="N",
            least=1,
            more="Rows of other inputs stay, counted as `elsewhere`. Refuses `--prune`.",
        ),
    ]
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
        Option("How to run the model.", IMAGES, more="Default: by the model, see [models.md](models.md#engines)."),
    ]
    fit: Annotated[
        Fit,
        Option(
            "How an image gets the model's shape: all of it squashed, its center, or all of it with borders.",
            IMAGES,
            _RECIPE.fit,
        ),
    ]
    crop_fraction: Annotated[
        float,
        Option(
            "With --fit crop: the share of the shorter side to keep.",
            IMAGES,
            _RECIPE.crop_fraction,
            metavar="F",
            least=0.01,
            most=1.0,
        ),
    ]
    resize: Annotated[
        Resize,
        Option(
            "Kernel that scales the image.",
            IMAGES,
            _RECIPE.resize,
            more="`tf1-bilinear` is what old TensorFlow scripts did.",
        ),
    ]
    decode: Annotated[
        Decode,
        Option("Decode JPEGs at the smallest sufficient scale, or in full.", IMAGES, _RECIPE.decode),
    ]
    max_pixels: Annotated[
        int, Option("Reject larger images before decoding.", IMAGES, 200_000_000, metavar="N", least=1)
    ]

    format: Annotated[DataFormat, Option("Format of the data files.", OUTPUT, "parquet")]
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
            more="As `labels` and `scores`; 0 for none. Needs a [classifier](models.md#labels-and-unit-length).",
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
            more="Limits memory, and the work that a crash can cost.",
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
        Option(
            "Number of parallel workers.",
            EFFORT,
            flag="-j",
            metavar="N",
            least=1,
            more="Default: the CPUs that the process may use.",
        ),
    ]
    processes: Annotated[
        int | None,
        Option(
            "Number of worker processes; 0 for threads alone.",
            PROCESSES,
            metavar="N",
            least=0,
            more="Default: by workers and inputs, see [scaling.md](scaling.md#many-cores).",
        ),
    ]
    batch_size: Annotated[int, Option("Images that a worker processes at once.", EFFORT, 32, "-b", "N", least=1)]


class CommandOptions(TypedDict, total=False):
    """The options of a run that only the command line has."""

    dry_run: Annotated[
        bool,
        Option(
            "Print what would be done, one line per input, and write nothing.",
            CHECK,
            False,
            more="See [dry runs](#dry-runs).",
        ),
    ]
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
            "Format of the data files; with -o -, jsonl or arrow.",
            OUTPUT,
            more="Default: `parquet` for a folder, the suffix of a file.",
        ),
    ]
    task: Annotated[
        str | None,
        Option(
            "Do slice I of N of the work that fvcli plan froze.",
            TASK,
            metavar="I/N",
            more="See [fvcli plan](#fvcli-plan).",
        ),
    ]
    on: Annotated[
        Literal["local", "ray"],
        Option("Run on this machine or on a Ray cluster.", RAY, "local", more="Ray: `pip install 'fvcli[ray]'`."),
    ]
    ray_address: Annotated[
        str, Option("The Ray cluster.", RAY, "auto", metavar="auto|HOST:PORT", more="See [scaling.md](scaling.md).")
    ]
    ray_workers: Annotated[
        int | None, Option("Number of Ray actors (default: all that fit).", RAY, metavar="N", least=1)
    ]
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
            more="Also after a failed run. The file is replaced atomically.",
        ),
    ]
    quiet: Annotated[bool, Option("Print errors only.", MESSAGES, False, "-q")]
