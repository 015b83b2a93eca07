"""Text for people."""

from __future__ import annotations

from fvcli.text import in_bytes


def test_sizes_are_given_in_decimal_units() -> None:
    assert [in_bytes(value) for value in (0, 999, 1000, 1_234_567, 999_600)] == [
        "0 B",
        "999 B",
        "1 kB",
        "1.23 MB",
        "1 MB",
    ]
