"""``fvcli models ...``: what models there are, fetched, looked into, checked and written in other forms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import typer

from fvcli.commands.invocation import reported
from fvcli.commands.options import AsJson, Command, CommandGroup, Quiet
from fvcli.commands.terminal import print_json, print_line, say
from fvcli.commands.verify import EXIT_DAMAGED

app = typer.Typer(
    name="models", cls=CommandGroup, help="List, show, pull, verify and export models.", no_args_is_help=True
)

ModelName = Annotated[
    str, typer.Argument(metavar="NAME|PATH", help="A name, path or TF Hub handle.", show_default=False)
]


@app.command("list", cls=Command)
def list_models(as_json: AsJson = False, quiet: Quiet = False) -> None:
    """List the embedded model and the catalog: name, size, multiplier, published top-1, and where each is."""
    with reported():
        from dataclasses import asdict

        from fvcli.models.overview import list_models as listed

        models = listed()
        if as_json:
            print_json([asdict(model) for model in models])
        if as_json or quiet:
            return
        print_line(f"{'NAME':28} {'SIZE':>4} {'MULTIPLIER':>10} {'TOP-1':>5}  WHERE")
        for model in models:
            top1 = "-" if model.top1 is None else f"{model.top1:.1f}"
            print_line(f"{model.name:28} {model.size:4} {model.multiplier:10} {top1:>5}  {model.place}")


@app.command(cls=Command)
def show(name: ModelName, as_json: AsJson = False, quiet: Quiet = False) -> None:
    """Show a model: input, output, engines, exactness, identity and origin; --json shows the whole card."""
    with reported():
        from fvcli.models.overview import describe_model

        values = describe_model(name)
        if as_json:
            print_json(values)
        elif not quiet:
            for title, text in _summary(values):
                print_line(f"{title:9} {text}")


@app.command(cls=Command)
def pull(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name of fvcli models list.", show_default=False)],
    quiet: Quiet = False,
) -> None:
    """Fetch an official archive, check it, and make it ready to run. Resumes an interrupted download."""
    with reported():
        from fvcli.models.loading import pull_model

        with _Bar(quiet) as bar:
            model = pull_model(name, bar.moved)
        if not quiet:
            say(f"{name}: ready, {model.dimension} features, identity {model.identity}")


@app.command(cls=Command)
def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME|PATH]...", help="Default: all models on this machine.", show_default=False),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Compare models with their checksums; exit code 4 if one is damaged."""
    with reported():
        from fvcli.models.overview import verify_models

        damaged, checked = False, []
        for model in verify_models(names):
            damaged = damaged or model.problem is not None
            checked.append({"name": model.name, "problem": model.problem})
            if model.problem is not None:
                say(f"damaged: {model.problem}")
            elif not quiet:
                say(f"{model.name}: sound")
        if as_json:
            print_json(checked)
        if damaged:
            raise typer.Exit(EXIT_DAMAGED)


@app.command(cls=Command)
def export(
    name: ModelName,
    form: Annotated[
        Literal["hub-module", "saved-model", "tflite", "tflite-uint8"],
        typer.Option("--as", help="Form to write.", show_default=False),
    ],
    output: Annotated[str, typer.Option("--output", "-o", metavar="DIR", help="Folder to write into.")] = ".",
    quiet: Quiet = False,
) -> None:
    """Write a model in another form: a TF1 hub.Module, a TF2 SavedModel, a fast int8 or a classic uint8 .tflite."""
    with reported():
        from pathlib import Path

        from fvcli.models.loading import load_network, short_name
        from fvcli.models.mobilenet.export import export_model, usage_line

        path = export_model(load_network(name), short_name(name), form, Path(output))
        if not quiet:
            say(f"wrote {path}")
            say(f"to use it: {usage_line(form, path)}")


class _Bar:
    """A download's progress on a terminal; nothing elsewhere."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._bar: Any = None

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def moved(self, done: int, total: int | None) -> None:
        if self._bar is None:
            from tqdm import tqdm

            # disable=None: only on a terminal.
            disable = True if self._quiet else None
            self._bar = tqdm(total=total, unit="B", unit_scale=True, disable=disable, leave=False)
        self._bar.update(done - self._bar.n)


def _summary(values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """A model in at most twelve lines: (title, text)."""
    yield "name", values["name"]
    known = values.get("form")
    if "multiplier" in values:
        yield "network", f"MobileNet V1 {values['multiplier']}" + (f", {known}" if known else "")
    elif known:
        yield "network", known
    if "input" in values:
        yield "input", f"{values['input']['height']} x {values['input']['width']} RGB"
    elif "size" in values:
        yield "input", f"{values['size']} x {values['size']} RGB"
    if "output" in values:
        classes = f"; {values['classes']:,} classes for --labels" if values.get("classes") else ""
        yield "output", f"{values['output']['dimension']:,} numbers{classes}"
    if "engines" in values:
        yield "engines", ", ".join(values["engines"])
    if "exact_channels" in values:
        yield "int8", f"{values['exact_channels']:,} of {values['channels']:,} channels keep their numbers exactly"
    if values.get("published_top1"):
        top5 = f", top-5 {values['published_top5']} %" if values.get("published_top5") else ""
        yield "ImageNet", f"top-1 {values['published_top1']} %{top5} (published)"
    if "identity" in values:
        yield "identity", values["identity"]
    yield "license", values["license"]
    if "archive" in values:
        yield "handle", values["hub_handle"]
        yield "archive", values["archive"]
    if values.get("source") or values.get("place"):
        where = values.get("source") or f"not here; fetch it with `fvcli models pull {values['name']}`"
        yield "where", where if values.get("place") != "embedded" else "in the package"
