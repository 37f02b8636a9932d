"""How much a farm says is left of what it limits: the headers RateLimit and RateLimit-Policy, as structured fields.

What is none of ours, or not written as RFC 9651 has it, is left out: it is only told, and nothing is done by it.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import evolve, frozen

_LONGEST = 1_000
_DIGITS = 15
_NAME = 40


@frozen
class RateLeft:
    """A limit: what is ``left`` of it, and in how many seconds all of it is there again (``full``).

    ``most`` may be had in so many ``seconds``; None where that was not told.
    """

    left: int
    full: int
    most: int | None = None
    seconds: int | None = None


def read_limits(left: str, policy: str) -> dict[str, RateLeft]:
    """Return the limits of which the two headers tell what is left, by name."""
    found = {name: RateLeft(said["r"], said.get("t", 0)) for name, said in _items(left) if "r" in said}
    for name, said in _items(policy):
        if name in found:
            found[name] = evolve(found[name], most=said.get("q"), seconds=said.get("w"))
    return found


def _items(header: str) -> Iterator[tuple[str, dict[str, int]]]:
    """Yield each item of a list of strings, with those of its parameters that are whole numbers."""
    for item in header[:_LONGEST].split(","):
        name, *said = (part.strip() for part in item.split(";"))
        plain = name[1:-1]
        if not (name == f'"{plain}"' and plain.isascii() and plain.isprintable() and 0 < len(plain) <= _NAME):
            continue
        pairs = (part.partition("=") for part in said)
        yield (
            plain,
            {
                key: int(value)
                for key, _, value in pairs
                if value.isascii() and value.isdigit() and len(value) <= _DIGITS
            },
        )
