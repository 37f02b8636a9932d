"""Which directories that a build server has made are of no use to it any more: what its configuration was, once.

Pure: what is there is told by names and times. What it has not made by a name of its own is never among them, nor are
keys, the spool, and what is somebody's.
"""

from __future__ import annotations

from attrs import frozen

from buildtool.model.text import duration_words, size_words

UNUSED = 90 * 86400.0
"""Seconds after which sources that no build came from are left over."""

TRIAL = 86400.0
"""Seconds after which no trial that made a directory runs any more."""

_HEX = frozenset("0123456789abcdef")
_SIGN, _TRIAL_NAME = 16, 8


@frozen
class KeptNow:
    """The needs of a build server as it is started now: its ``slots``, and whether it ``follows`` a configuration."""

    slots: int
    follows: bool


@frozen
class LeftoverDirectory:
    """A directory that is left over: where, why, how many bytes it has, and for how many seconds it was unused."""

    path: str
    why: str
    size: int
    unused: float

    def words(self) -> str:
        """Return all of that in a line."""
        return (
            f"{self.path} is left over: {self.why}; {size_words(self.size)}, unused for {duration_words(self.unused)}"
        )


def why_left(parts: tuple[str, ...], unused: float, now: KeptNow) -> str:
    """Return why a directory is left over, empty where it is not; ``parts`` lead there from the build server's own.

    ``unused`` is for how many seconds nothing in it has changed. Trials have ``..`` before them.
    """
    match parts:
        case ("follow",):
            return "" if now.follows else "no configuration is followed"
        case ("..", "trying", name) if len(name) == _TRIAL_NAME and set(name) <= _HEX:
            return "a trial that was broken off" if unused > TRIAL else ""
        case ("sources", repository, slot) | ("sources", "svn", repository, slot) if is_repository(repository):
            number = slot.removeprefix("slot-")
            plain = slot.startswith("slot-") and number.isascii() and number.isdecimal() and str(int(number)) == number
            return f"--max-builds is {now.slots}" if plain and int(number) >= now.slots else ""
        case ("sources" | "mirrors", repository) | ("sources", "svn", repository) if is_repository(repository):
            return "no build came from there" if unused > UNUSED else ""
    return ""


def is_repository(name: str) -> bool:
    """Return whether a directory is called as those of a repository are: readable, then 16 digits of a digest."""
    readable, dash, sign = name.removesuffix(".git").rpartition("-")
    plain = all(char.isascii() and (char.isalnum() or char == "-") for char in readable)
    return bool(dash) and plain and len(sign) == _SIGN and set(sign) <= _HEX
