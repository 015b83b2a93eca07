"""Names of a folder in little memory."""

from __future__ import annotations

import random

from fvcli.sources.names import Names


def collected(names: list[str]) -> list[str]:
    shuffled = Names()
    for name in random.Random(1).sample(names, len(names)):
        shuffled.add(name)
    return list(shuffled)


def test_a_few_come_out_sorted() -> None:
    assert collected([]) == []
    assert collected(["b", "a-b.jpg", "a/", "a", "é.png"]) == ["a", "a-b.jpg", "a/", "b", "é.png"]


def test_many_come_out_sorted_whatever_characters_they_have() -> None:
    kinds = ["{:07d}.jpg", "ü{}.png", "\U0001f600{}", "\uffee{} .jpg", "x" * 5000 + "{}", "{}\udcff.gif"]
    names = [kinds[number % (4 if number % 5000 else 6)].format(number) for number in range(100_003)]
    assert collected(names) == sorted(names)
