"""The rights that what builds make lacks, as ``--umask`` says them."""

from __future__ import annotations

from argparse import ArgumentTypeError

_OWN, _ALL, _DIGITS = 0o700, 0o777, 4


def umask(text: str) -> int:
    """Return a umask from its octal digits, such as ``022`` or ``0o27``. Raises ArgumentTypeError."""
    digits = text.removeprefix("0o")
    if not 1 <= len(digits) <= _DIGITS or not set(digits) <= set("01234567") or int(digits, 8) > _ALL:
        raise ArgumentTypeError(f"{text[:40]!r} is no umask: say up to three octal digits, such as 022, 027 or 0o77")
    found = int(digits, 8)
    if found & _OWN:
        raise ArgumentTypeError(
            f"with {text} builds could not use what they make: say 0{found & ~_OWN:02o}, for others"
        )
    return found
