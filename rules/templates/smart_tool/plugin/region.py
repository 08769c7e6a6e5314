"""Regions of similar brightness, grown from a point. Put your model in its place."""

from __future__ import annotations

from collections.abc import Sequence


def grow(pixels: Sequence[Sequence[int]], x: int, y: int, tolerance: int) -> set[tuple[int, int]]:
    """Return the connected pixels (x, y) whose brightness is near that of the start.

    Args:
        pixels: Rows of brightness, 0 to 255.
        x: Column of the start, from 0.
        y: Row of the start, from 0.
        tolerance: How far a brightness may be from that of the start.
    """
    start = pixels[y][x]
    region = {(x, y)}
    edge = [(x, y)]
    while edge:
        column, row = edge.pop()
        for near in ((column + 1, row), (column - 1, row), (column, row + 1), (column, row - 1)):
            inside = 0 <= near[1] < len(pixels) and 0 <= near[0] < len(pixels[near[1]])
            if not inside or near in region:
                continue
            if abs(pixels[near[1]][near[0]] - start) <= tolerance:
                region.add(near)
                edge.append(near)
    return region
