"""The options that ``extract`` and ``plan`` share: what goes in, what is made of it, and what an update may do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from fvcli.run.request import ExtractRequest

INPUT, IMAGES, OUTPUT, UPDATE, RUN = "Input", "Images and model", "Output", "Update", "Run"
CLUSTER = "Several machines"

Paths = Annotated[
    list[str] | None,
    typer.Argument(help="Folders (walked), images, tar archives, or globs in quotes.", show_default=False),
]
FilesFrom = Annotated[
    str | None,
    typer.Option("--files-from", help="Read file names from this file, - for stdin.", rich_help_panel=INPUT),
]
Null = Annotated[
    bool, typer.Option("--null", "-0", help="Those names end in NUL, as find -print0 does.", rich_help_panel=INPUT)
]
Include = Annotated[
    list[str] | None, typer.Option("--include", help="Take only names that match.", rich_help_panel=INPUT)
]
Exclude = Annotated[
    list[str] | None, typer.Option("--exclude", help="Leave out names that match.", rich_help_panel=INPUT)
]
FollowSymlinks = Annotated[
    bool, typer.Option("--follow-symlinks", help="Walk symlinked folders too.", rich_help_panel=INPUT)
]

Output = Annotated[str, typer.Option("--output", "-o", help="The dataset's folder.", rich_help_panel=OUTPUT)]
Format = Annotated[
    Literal["parquet", "npy"], typer.Option("--format", help="Kind of data files.", rich_help_panel=OUTPUT)
]
ExtractFormat = Annotated[
    Literal["parquet", "npy", "jsonl", "arrow"],
    typer.Option("--format", help="Kind of data files; jsonl and arrow stream to -o -.", rich_help_panel=OUTPUT),
]
DType = Annotated[
    Literal["float32", "float16"], typer.Option("--dtype", help="Type of the vectors.", rich_help_panel=OUTPUT)
]
ShardSize = Annotated[int, typer.Option("--shard-size", min=1, help="Rows of a data file.", rich_help_panel=OUTPUT)]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print the run's summary as a JSON object.", rich_help_panel=OUTPUT)
]

Model = Annotated[
    str, typer.Option("--model", "-m", envvar="FVCLI_MODEL", help="Name, path or handle.", rich_help_panel=IMAGES)
]
Engine = Annotated[
    Literal["int8", "float", "tensorflow"] | None,
    typer.Option("--engine", help="How to run it (default: the model's own).", rich_help_panel=IMAGES),
]
Fit = Annotated[
    Literal["squash", "crop", "pad"],
    typer.Option("--fit", help="Whole image, centre square, or with borders.", rich_help_panel=IMAGES),
]
CropFraction = Annotated[
    float, typer.Option("--crop-fraction", min=0.01, max=1.0, help="Side of the centre square.", rich_help_panel=IMAGES)
]
Resize = Annotated[
    Literal["area", "bilinear", "bicubic", "lanczos", "tf1-bilinear"],
    typer.Option("--resize", help="Resize kernel.", rich_help_panel=IMAGES),
]
Decode = Annotated[
    Literal["fast", "exact"], typer.Option("--decode", help="JPEG at reduced scale, or whole.", rich_help_panel=IMAGES)
]
MaxPixels = Annotated[
    int, typer.Option("--max-pixels", min=1, help="Larger images fail unread.", rich_help_panel=IMAGES)
]

Prune = Annotated[bool, typer.Option("--prune", help="Drop rows of files that are gone.", rich_help_panel=UPDATE)]
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Try inputs again that failed before.", rich_help_panel=UPDATE)
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Start afresh; the old data stays until then.", rich_help_panel=UPDATE)
]

MaxFailures = Annotated[
    str | None, typer.Option("--max-failures", metavar="N|P%", help="Give up beyond this.", rich_help_panel=RUN)
]
Workers = Annotated[
    int | None, typer.Option("--workers", "-j", min=1, help="Threads (default: all CPUs).", rich_help_panel=RUN)
]
BatchSize = Annotated[
    int, typer.Option("--batch-size", "-b", min=1, help="Images a thread holds at once.", rich_help_panel=RUN)
]
MetricsFile = Annotated[
    str | None,
    typer.Option("--metrics-file", metavar="FILE", help="Leave the outcome for Prometheus.", rich_help_panel=RUN),
]
LogFormat = Annotated[
    Literal["text", "json"], typer.Option("--log-format", help="How stderr is written.", rich_help_panel=RUN)
]
On = Annotated[
    Literal["local", "ray"], typer.Option("--on", help="This machine, or a Ray cluster.", rich_help_panel=CLUSTER)
]
RayAddress = Annotated[
    str, typer.Option("--ray-address", metavar="auto|HOST:PORT", help="The cluster.", rich_help_panel=CLUSTER)
]
RayWorkers = Annotated[
    int | None, typer.Option("--ray-workers", min=1, help="Actors (default: all that fit).", rich_help_panel=CLUSTER)
]
RayCpusPerWorker = Annotated[
    int, typer.Option("--ray-cpus-per-worker", min=1, help="CPUs and threads of each.", rich_help_panel=CLUSTER)
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.", rich_help_panel=RUN)]


def request(values: Mapping[str, Any]) -> ExtractRequest:
    """What a command with these options asks for. ``values`` are its parameters by name. Raises UsageError."""
    from fvcli import api
    from fvcli.run.request import RayOptions

    options: Any = {name: values[name] for name in api.ExtractOptions.__annotations__ if name in values}
    if values.get("on") == "ray":
        options["ray"] = RayOptions(values["ray_address"], values["ray_workers"], values["ray_cpus_per_worker"])
    return api.request(values["sources"] or (), values["output"], **options)
