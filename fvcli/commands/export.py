"""``fvcli export``: a dataset in the form of another program."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from fvcli.commands.invocation import import_lean, reported
from fvcli.commands.options import Dataset, Quiet
from fvcli.commands.terminal import counted, say


def export(
    dataset: Dataset,
    form: Annotated[Literal["projector"], typer.Option("--as", help="Form to write.", show_default=False)],
    output: Annotated[str, typer.Option("--output", "-o", metavar="DIR", help="Folder to write into.")] = "projector",
    quiet: Quiet = False,
) -> None:
    """Write a dataset for TensorBoard's Embedding Projector: vectors and metadata as .tsv.

    Example:

        fvcli export features --as projector -o projector && tensorboard --logdir projector
    """
    with reported():
        import_lean()
        from pathlib import Path

        from fvcli.dataset.reader import open_local_dataset
        from fvcli.explore.projector import write_projector

        opened = open_local_dataset(dataset)
        write = {"projector": write_projector}[form]
        files = write(opened, Path(output))
        if not quiet:
            say(f"{counted(len(opened), 'row')}: {', '.join(map(str, files))}")
