"""Keyboards, mice and gamepads in ``/dev/input``, where this account may read them: that something was used, not what.

What they say is read and thrown away. The kernel gives every reader each event, so nobody else misses any.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from attrs import define, field

ROOT = Path("/")

MOST_DEVICES = 64
LOOK_AGAIN = 10.0
"""Seconds after which it is looked for devices that were plugged in."""

_CHUNK = 64 * 1024
_HANDLERS = frozenset({"kbd", "mouse", "js"})


def parse_devices(text: str) -> tuple[str, ...]:
    """Return the names (``event3``) of those devices in ``/proc/bus/input/devices`` that a person uses."""
    found = []
    for line in text.splitlines():
        if line.startswith("H: Handlers="):
            words = line.removeprefix("H: Handlers=").split()
            if any(word.rstrip("0123456789") in _HANDLERS for word in words):
                found += [word for word in words if word.startswith("event") and word[5:].isdigit()]
    return tuple(found[:MOST_DEVICES])


@define(eq=False)
class InputDevices:
    """The devices that are open. ``root`` is where ``dev`` and ``proc`` are looked for. Call it in one thread."""

    root: Path = ROOT
    _open: dict[str, int] = field(factory=dict, init=False)
    _looked: float | None = field(default=None, init=False)
    _used: float | None = field(default=None, init=False)

    def found(self, now: float) -> bool:
        """Return whether there is a device that may be read at ``now``, in seconds of monotonic time."""
        self._look(now)
        return bool(self._open)

    def age(self, now: float) -> float | None:
        """Return how many seconds ago a device was used, since the first look at most; None where there is none."""
        if self._looked is None or now - self._looked >= LOOK_AGAIN:
            self._look(now)
        for name in list(self._open):
            if self._was_used(name):
                self._used = now
        return None if not self._open or self._used is None else now - self._used

    def close(self) -> None:
        """Close what is open."""
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()

    def _look(self, now: float) -> None:
        self._looked = now
        if self._used is None:
            self._used = now  # nothing is known of before: an owner may have been here a moment ago
        for name, path in self._paths():
            if name not in self._open:
                try:
                    self._open[name] = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                except OSError:
                    continue  # not ours to read, or pulled out

    def _paths(self) -> Iterator[tuple[str, Path]]:
        try:
            text = (self.root / "proc/bus/input/devices").read_text("utf-8", "replace")
        except OSError:
            return
        for name in parse_devices(text):
            yield name, self.root / "dev/input" / name

    def _was_used(self, name: str) -> bool:
        used = False
        try:
            while os.read(self._open[name], _CHUNK):
                used = True
        except BlockingIOError:
            return used
        except OSError:  # it was pulled out
            os.close(self._open.pop(name))
        return used
