"""Draws a training log as SVG: ``python -m training.plot LOG.jsonl PLOT.svg``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from training.recipe import PARTS

WIDTH, HEIGHT, MARGIN = 460, 260, 44
COLOR = "#1f5fa8"


def panel(title: str, points: Sequence[tuple[float, float]], left: float) -> str:
    """One chart of (round, value)."""
    if not points:
        return ""
    (x0, x1), (y0, y1) = ((min(axis), max(axis)) for axis in zip(*points, strict=True))
    x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1e-6)

    def place(x: float, y: float) -> str:
        across = left + MARGIN + (x - x0) / (x1 - x0) * (WIDTH - 2 * MARGIN)
        down = HEIGHT - MARGIN - (y - y0) / (y1 - y0) * (HEIGHT - 2 * MARGIN)
        return f"{across:.1f},{down:.1f}"

    bottom, right = HEIGHT - MARGIN, left + WIDTH - MARGIN
    parts = [
        f'<text x="{left + MARGIN}" y="20" font-weight="bold">{title}</text>',
        f'<path d="M{left + MARGIN},{MARGIN} V{bottom} H{right}" fill="none" stroke="#444"/>',
        f'<text x="{left + MARGIN - 6}" y="{bottom}" text-anchor="end">{y0:.3g}</text>',
        f'<text x="{left + MARGIN - 6}" y="{MARGIN + 4}" text-anchor="end">{y1:.3g}</text>',
        f'<text x="{right}" y="{bottom + 16}" text-anchor="end">round {x1:.0f}</text>',
    ]
    path = " ".join(place(x, y) for x, y in points)
    parts.append(f'<polyline points="{path}" fill="none" stroke="{COLOR}" stroke-width="1.6"/>')
    return "\n".join(parts)


def draw(log: Path) -> str:
    """The SVG of a log: each part of the loss, unweighted, by round."""
    rows: list[dict[str, float]] = [json.loads(line) for line in log.read_text().splitlines()]
    panels = [
        panel(part, [(row["round"], row[part]) for row in rows], WIDTH * number) for number, part in enumerate(PARTS)
    ]
    size = f'width="{WIDTH * len(PARTS)}" height="{HEIGHT}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">'
    return "\n".join([head, *panels, "</svg>", ""])


def main() -> None:
    log, target = map(Path, sys.argv[1:3])
    target.write_text(draw(log))
    print(target)


if __name__ == "__main__":
    main()
