"""A target with a defect, by which it is tried whether atheris looks where branches lead."""

from __future__ import annotations

from tests.fuzz.target import Target


class PlantedDefect(Exception):
    """The defect."""


def take(data: bytes) -> None:
    """Have a defect behind five branches, of which each is taken by one byte in 256."""
    if len(data) < 5 or data[0] != 0x17:
        return
    if data[1] != 0xE4:
        return
    if data[2] != 0x5A:
        return
    if data[3] == 0x91 and data[4] == 0x3C:
        raise PlantedDefect


TARGET = Target("planted", take, longest=40)
TARGETS = {"planted": TARGET}
