"""One target: a function of bytes that returns whatever they are, and what it may raise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from attrs import frozen

CORPUS = Path(__file__).resolve().parent / "corpus"

SMALLEST, LARGEST = 0, 64 * 1024
"""Bytes of an input. What is bounded above that has tests of its own, with inputs of that size."""


class Found(AssertionError):
    """Something that must not be happens with an input."""


@frozen
class Target:
    """Bytes of a peer go to ``take``, which raises ``allowed`` errors only.

    ``words`` are what inputs are made of besides; the corpus is in a folder of the target's name.
    """

    name: str
    take: Callable[[bytes], None]
    allowed: tuple[type[Exception], ...] = ()
    words: tuple[bytes, ...] = ()
    longest: int = LARGEST

    def feed(self, data: bytes) -> None:
        """Take one input. Raises whatever is not allowed."""
        try:
            self.take(data[: self.longest])
        except self.allowed:
            return

    def corpus(self) -> list[bytes]:
        """Return the inputs that are kept, the shortest first."""
        kept = (path.read_bytes() for path in sorted((CORPUS / self.name).iterdir()))
        return sorted(kept, key=lambda data: (len(data), data))


def expect(holds: object, what: str) -> None:
    """Raise Found unless something holds."""
    if not holds:
        raise Found(what)
