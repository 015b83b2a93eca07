"""The proof with empty functions finds what is public and empties just that."""

from __future__ import annotations

import ast

import pytest

from tests.proofs.hollows import chosen, functions
from tests.proofs.trials import REPOSITORY

MODULE = '''
def public(number):
    """Its docstring."""
    later = number + 1
    return later

def _private(): return 1

class Shown:
    limit = 3

    @property
    def value(self) -> int:
        return (
            1
        )

    def announced(self) -> int: ...

class _Hidden:
    def method(self):
        return 2
'''


def test_public_functions_and_methods_with_a_body_are_found() -> None:
    assert [found.name for found in functions("fvcli/x.py", MODULE)] == ["public", "Shown.value"]


def test_only_the_body_is_emptied() -> None:
    public, value = functions("fvcli/x.py", MODULE)
    for found, gone in ((public, "later"), (value, "1")):
        before, after = MODULE.splitlines(), found.emptied(MODULE).splitlines()
        assert "pass" in "\n".join(after)
        removed = "\n".join(before[found.first - 1 : found.last])
        assert gone in removed
        assert [*after[: found.first - 1], *before[found.first - 1 : found.last], *after[found.first :]] == before
        ast.parse("\n".join(after))


@pytest.mark.slow
def test_every_module_of_the_program_can_be_emptied() -> None:
    everything = chosen(None, 100, 1)
    assert {"dataset", "run", "images", "sources", "models", "report"} <= {each.room for each in everything}
    for each in everything:
        ast.parse(each.emptied((REPOSITORY / each.file).read_text("utf-8")))
