"""What changes on a farm, as its pages tell it by server-sent events.

Tested by tests/client/test_changes.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define, field, frozen

from buildtool.errors import DecodeError

MOST = 64 * 1024
"""Bytes of one event; a farm's have a few thousand at most."""


@frozen
class FarmChange:
    """A change up to the event ``number``: topics such as ``queue`` and ``build/15``; none where nothing did.

    ``everything`` is that more happened than is told, so all may have changed.
    """

    number: int
    topics: tuple[str, ...] = ()
    everything: bool = False


@define
class EventText:
    """A stream of events as far as it came, of which the end may be missing."""

    _rest: bytes = field(default=b"", init=False)

    def feed(self, data: bytes) -> Iterator[tuple[str, str, int]]:
        """Yield each event that is whole: its kind, what it says and its number, 0 for none. Raises DecodeError."""
        *whole, self._rest = (self._rest + data).split(b"\n\n")
        if any(len(one) > MOST for one in (*whole, self._rest)):
            raise DecodeError(f"an event has more than {MOST // 1024} KiB")
        for one in whole:
            lines = dict(line.partition(": ")[::2] for line in one.decode("utf-8", "replace").split("\n"))
            number = lines.get("id", "0")
            if not (number.isascii() and number.isdecimal() and len(number) < 19):  # noqa: PLR2004 - of an id
                raise DecodeError("an event has a number that is none")
            if "event" in lines:
                yield lines["event"], lines.get("data", ""), int(number)


def change_told(kind: str, data: str, number: int) -> FarmChange | None:
    """Return the change that an event tells, None for what only says that the farm is there, or is not."""
    if kind == "reset":
        return FarmChange(number, everything=True)
    return FarmChange(number, tuple(data.split())) if kind == "changed" and data else None
