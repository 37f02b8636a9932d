"""Values that must not be read in what a build prints: found in a stream of bytes, wherever that is cut, and masked.

This helps against mistakes, such as a command that prints its configuration. A build that wants to give a secret away
can always write it in another form.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

MASK = b"***"
"""What stands in place of a value."""

SHORTEST = 6
"""Bytes of a value: shorter ones are found everywhere, and are not looked for."""

LONGEST = 1_024
"""Bytes of a value; of a longer one that many are looked for, and what follows them stays."""

MOST = 256
"""Values that are looked for at most."""


def values_of(content: bytes) -> tuple[bytes, ...]:
    """Return what is secret in a file: each of its lines, of a line ``name=value`` or ``name: value`` the value too.

    A line that begins a part of a PEM file, or ends one, is none.
    """
    found: list[bytes] = []
    for raw in content.splitlines():
        line = raw.strip()
        if line.startswith(b"-----"):
            continue
        found.append(line)
        for sign in (b"=", b":"):
            name, there, value = line.partition(sign)
            if there and name.strip().replace(b"_", b"").replace(b"-", b"").isalnum():
                found.append(value.strip().strip(b"\"'"))
    return tuple(dict.fromkeys(value[:LONGEST] for value in found if len(value) >= SHORTEST))


class Masker:
    """A mask over values in a stream: ``feed`` returns what is certain, ``end`` the rest. Values have no line ends."""

    def __init__(self, values: Iterable[bytes] = ()) -> None:
        # The longest first, so that of two that begin at one place the longer one is masked.
        self._values = sorted(set(values), key=lambda value: (-len(value), value))[:MOST]
        self._firsts = frozenset(value[0] for value in self._values)
        self._longest = len(self._values[0]) if self._values else 0
        words = b"|".join(map(re.escape, self._values))
        self._any = re.compile(words) if words else None
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Return what came so far and was not returned yet, but for an end that may be the beginning of a value."""
        if self._any is None:
            return data
        data = self._held + data
        done: list[bytes] = []
        at, open_at = 0, self._open_at(data, 0)
        for found in self._any.finditer(data):
            if found.start() >= open_at:
                break  # a longer value may begin here
            done += (data[at : found.start()], MASK)
            at = found.end()
            if at > open_at:
                open_at = self._open_at(data, at)
        self._held = data[open_at:]
        return b"".join((*done, data[at:open_at]))

    def end(self) -> bytes:
        """Return the rest: nothing follows it."""
        held, self._held = self._held, b""
        return held if self._any is None else self._any.sub(MASK, held)

    def whole(self, text: str) -> str:
        """Return a text that stands for itself with all values masked."""
        if self._any is None:
            return text
        return self._any.sub(MASK, text.encode(errors="surrogateescape")).decode(errors="surrogateescape")

    def _open_at(self, data: bytes, start: int) -> int:
        """Return from where on the end of ``data`` may be the beginning of a value."""
        for at in range(max(start, len(data) - self._longest + 1), len(data)):
            if data[at] in self._firsts:
                tail = data[at:]
                if any(len(value) > len(tail) and value.startswith(tail) for value in self._values):
                    return at
        return len(data)
