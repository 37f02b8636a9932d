"""Amounts of memory as owners say them: so many GiB, or a share of what their machine has."""

from __future__ import annotations

import re

from attrs import frozen

from buildtool.errors import UsageError
from buildtool.model.guest.limits import MIB
from buildtool.model.text import quoted

MEMORY_WORDS = "say GiB, such as 8, or a share of the machine's, such as 75%"

_AMOUNT = re.compile(r"([0-9]{1,7}(?:\.[0-9]{1,3})?) ?(%|GiB|MiB)?")
_WHOLE = 100.0
_UNITS = {"GiB": MIB * 1024, "MiB": MIB}


@frozen
class MemoryAmount:
    """An amount of memory, as ``text`` says it: a ``share`` of a machine's, from 0 to 1, or else ``size`` bytes."""

    text: str
    share: float | None = None
    size: int = 0

    def of(self, machine: int | None) -> int:
        """Return how many bytes it is on a machine with so many. Raises UsageError where a machine does not tell."""
        if self.share is None:
            return self.size
        if machine is None:
            raise UsageError(f"{self.text} of what? This machine does not tell how much memory it has: say GiB")
        return int(machine * self.share)


def read_memory(text: str) -> MemoryAmount:
    """Return the amount that a text says, such as ``75%``, ``8`` or ``512MiB``. Raises UsageError."""
    said = text.strip()
    found = _AMOUNT.fullmatch(said)
    if found is None:
        raise UsageError(f"{quoted(text)} is no amount of memory: {MEMORY_WORDS}")
    number = float(found[1])
    if found[2] == "%":
        if not 0 < number <= _WHOLE:
            raise UsageError(f"{quoted(text)} is no share: it is more than 0% and at most 100%")
        return MemoryAmount(said, share=number / _WHOLE)
    size = int(number * _UNITS[found[2] or "GiB"])
    if size < MIB:
        raise UsageError(f"{quoted(text)} is too little for any build: {MEMORY_WORDS}")
    return MemoryAmount(said, size=size)
