"""The declared options: what the command line, Python and a run take them for is one thing."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import Any

import pytest
import typer

import fvcli
from fvcli.cli import app
from fvcli.declared import declared
from fvcli.errors import UsageError
from fvcli.images.memory import Limits
from fvcli.options import GROUPS, CommandOptions, RunOptions
from fvcli.records import Preprocessing
from fvcli.run.request import ExtractRequest, RayOptions, complete, make_request

EXTRACT = typer.main.get_command(app).commands["extract"]  # type: ignore[attr-defined]
PLAN = typer.main.get_command(app).commands["plan"]  # type: ignore[attr-defined]


def parameters(command: Any) -> dict[str, Any]:
    return {each.name: each for each in command.params if each.param_type_name == "option"}


def test_extract_has_every_declared_option_and_no_other() -> None:
    names = {each.name for each in declared(RunOptions, CommandOptions)}
    assert parameters(EXTRACT).keys() - {"help"} == names


def test_plan_has_the_options_that_decide_what_is_made() -> None:
    names = {each.name for each in declared(RunOptions) if each.option.group.plan}
    assert {"include", "model", "fit", "shard_size", "prune"} <= names
    assert names <= parameters(PLAN).keys()
    assert not {"workers", "on", "task", "max_failures"} & parameters(PLAN).keys()


def test_every_option_stands_in_a_group_that_is_shown() -> None:
    for each in declared(RunOptions, CommandOptions):
        assert each.option.group in GROUPS
        assert each.option.help.endswith(".")


def test_defaults_are_those_of_the_values_that_a_run_is_given() -> None:
    """Preprocessing, limits and requests can be made without options, and are then the same."""
    defaults = {each.name: each.option.default for each in declared(RunOptions)}
    made = {kind: kind() for kind in (Preprocessing, Limits, RayOptions)}
    request = ExtractRequest(sources=make_request([]).sources)
    compared = set()
    for owner in (made[Preprocessing], made[Limits], request):
        for field in fields(owner):  # type: ignore[arg-type]
            if field.name in defaults:
                made_of = getattr(owner, field.name)
                assert defaults[field.name] in (made_of, str(made_of)), field.name
                compared.add(field.name)
    of_sources = {"include", "exclude", "files_from", "null", "follow_symlinks", "limit"}
    assert compared == defaults.keys() - of_sources
    ray = {each.name: each.option.default for each in declared(CommandOptions)}
    assert (ray["ray_address"], ray["ray_workers"], ray["ray_cpus_per_worker"]) == (
        made[RayOptions].address,
        made[RayOptions].workers,
        made[RayOptions].cpus_per_worker,
    )
    output = inspect.signature(fvcli.extract).parameters["output"].default
    assert output == request.output == ray["output"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"fit": "stretch"}, "fit is one of squash, crop, pad, not 'stretch'"),
        ({"engine": "gpu"}, "engine is one of int8, float, tensorflow"),
        ({"batch_size": 0}, "batch_size is at least 1, not 0"),
        ({"crop_fraction": 1.5}, "crop_fraction is between 0.01 and 1, not 1.5"),
    ],
    ids=str,
)
def test_a_value_that_an_option_does_not_take_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        complete(values)


def test_a_model_without_an_engine_named_has_its_own() -> None:
    assert complete({"engine": None})["engine"] is None
    assert complete({})["fit"] == "squash"
