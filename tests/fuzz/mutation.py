"""Inputs made of those that are kept: mutated, cut, spliced, repeated, nested, put in another order, made too long."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from attrs import define, field

ODD = (0, 1, 0x7F, 0x80, 0x81, 0xFF, 0x0A, 0x0D, 0x2E, 0x2F, 0x22, 0x5B, 0x7B)
"""Bytes at which something ends or begins."""


@define(eq=False)
class Mutator:
    """Draws inputs of at most ``longest`` bytes from a corpus and from words."""

    corpus: Sequence[bytes]
    words: Sequence[bytes]
    longest: int
    draw: random.Random
    _acts: tuple[Callable[[bytearray], bytearray], ...] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._acts = (
            self._flip, self._set, self._insert, self._word, self._cut, self._drop, self._repeat, self._nest,
            self._reorder, self._splice, self._digits, self._lengthen,
        )  # fmt: skip

    def next(self) -> bytes:
        """Return one more input."""
        data = bytearray(self._pick())
        for _ in range(self.draw.choice((1, 1, 2, 3, 5, 9))):
            data = self.draw.choice(self._acts)(data)
        return bytes(data[: self.longest])

    def _pick(self) -> bytes:
        return self.draw.choice(self.corpus) if self.corpus else b""

    def _place(self, data: bytearray) -> int:
        return self.draw.randrange(len(data) + 1)

    def _part(self, data: bytes | bytearray) -> tuple[int, int]:
        first, second = self.draw.randrange(len(data) + 1), self.draw.randrange(len(data) + 1)
        return min(first, second), max(first, second)

    def _flip(self, data: bytearray) -> bytearray:
        if data:
            data[self.draw.randrange(len(data))] ^= 1 << self.draw.randrange(8)
        return data

    def _set(self, data: bytearray) -> bytearray:
        if data:
            data[self.draw.randrange(len(data))] = self.draw.choice((*ODD, self.draw.randrange(256)))
        return data

    def _insert(self, data: bytearray) -> bytearray:
        at = self._place(data)
        data[at:at] = self.draw.randbytes(self.draw.randrange(1, 9))
        return data

    def _word(self, data: bytearray) -> bytearray:
        if self.words:
            at = self._place(data)
            data[at : at + self.draw.choice((0, 0, 1, 4))] = self.draw.choice(self.words)
        return data

    def _cut(self, data: bytearray) -> bytearray:
        return data[: self._place(data)]

    def _drop(self, data: bytearray) -> bytearray:
        first, last = self._part(data)
        del data[first:last]
        return data

    def _repeat(self, data: bytearray) -> bytearray:
        first, last = self._part(data)
        data[last:last] = data[first:last] * self.draw.choice((1, 2, 7, 40))
        return data

    def _nest(self, data: bytearray) -> bytearray:
        first = self._place(data)
        opening = self.draw.choice((b"[", b'{"a":', b"\x01\x80", b"\x02\x80", b"(", b"=?", *self.words[:4]))
        data[first:first] = opening * self.draw.choice((1, 3, 20, 300))
        return data

    def _reorder(self, data: bytearray) -> bytearray:
        first, last = self._part(data)
        return data[:first] + data[last:] + data[first:last]

    def _splice(self, data: bytearray) -> bytearray:
        other = self._pick()
        first, last = self._part(other)
        at = self._place(data)
        data[at:at] = other[first:last]
        return data

    def _digits(self, data: bytearray) -> bytearray:
        at = self._place(data)
        number = self.draw.choice((0, 1, -1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64, 10**30, self.draw.getrandbits(20)))
        data[at:at] = str(number).encode()
        return data

    def _lengthen(self, data: bytearray) -> bytearray:
        at = self._place(data)
        data[at:at] = bytes((self.draw.choice(ODD),)) * self.draw.choice((100, 5_000, 40_000))
        return data
