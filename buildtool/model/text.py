"""Text for people: the one place where a text from elsewhere loses what a terminal, a log or a mail would act on.

What goes: whole control sequences (ECMA-48: CSI, OSC, DCS, SOS, PM, APC, in their 7-bit and 8-bit forms, and every
other escape), control characters, what turns the direction of writing around or is invisible (format characters, and
letters that show nothing), line separators other than LF, and halves of surrogate pairs. All of it in time that grows
with the text's length alone.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache

from buildtool.errors import UsageError

__all__ = [
    "COLOUR",
    "LINE_LIMIT",
    "block",
    "duration_of",
    "duration_text",
    "duration_words",
    "log_line",
    "meant",
    "near_word",
    "one_line",
    "printable",
    "quoted",
    "size_words",
]

_LAST_SECOND = 253_402_300_799
"""Of the year 9999, after which there is no datetime."""

LINE_LIMIT = 1_000
"""The longest line made of a text from elsewhere, in characters, unless a caller says otherwise."""

CUT = "…"
"""Stands at the end of what was cut."""

VALUE_LIMIT = 80
"""Most characters of a value that is shown because it is wrong."""

WORD_LIMIT = 40
"""So many characters of two words are compared."""

LETTERS_A_SLIP = 3
"""In so many letters of a word one may be wrong for another still to be meant by it."""

UNSHOWN = "\N{REPLACEMENT CHARACTER}"
"""Stands for a character that is taken out and whose place should be seen."""

_UNITS = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_DIGITS = 7

_BEGINS = "\x07\x1b\x90\x98\x9b-\x9f\n\r\u2028\u2029"
_SEQUENCES = re.compile(
    # A control sequence, whole or cut off: parameters, intermediates, the final byte.
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    # A control string (a title, a link, a device's own language). One without an end loses its beginning only.
    rf"|(?:\x1b[]PX^_]|[\x90\x98\x9d\x9e\x9f])(?:[^{_BEGINS}]*(?:\x07|\x1b\\|\x9c))?"
    # Any other escape.
    r"|\x1b[ -/]*[0-~]?"
)
COLOUR = re.compile(r"\x1b\[([0-9;:]{0,60})m")
"""A control sequence that sets colours and the like (SGR), with its parameters."""

_SPACES = frozenset("\t\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029")
_BLANK = frozenset(map(chr, (0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), 0x3164, 0xFFA0)))
"""Letters and marks that show nothing (Default_Ignorable_Code_Point), and so make two texts look like one."""

_SPECIAL = re.compile(r"[^\x20-\x7e]")


def printable(text: str, limit: int = LINE_LIMIT) -> str:
    """Return ``text`` as one harmless line of at most ``limit`` characters, its spaces as they were."""
    return _bounded(_cleaned(text, ""), limit)


def one_line(text: str, limit: int = LINE_LIMIT) -> str:
    """Return ``text`` as one harmless line of at most ``limit`` characters, every run of white space one space."""
    if len(text) <= limit and text.isascii() and text.isprintable() and "  " not in text and text.strip() == text:
        return text  # as is nearly all that this program says itself
    return _bounded(" ".join(_cleaned(text, "").split()), limit)


def block(text: str, limit: int) -> str:
    """Return ``text`` as harmless lines, of at most ``limit`` characters together; LF and tabs stay."""
    return _bounded(_cleaned(text.replace("\r\n", "\n"), "\n\t"), limit)


def log_line(line: str, limit: int = LINE_LIMIT) -> str:
    """Return one line of a program's output, harmless and at most ``limit`` characters long, its tabs as spaces.

    Of a line in which a progress display went back to the beginning it is what a terminal would show last.
    """
    state = line.rstrip("\r").rpartition("\r")[2]
    return _bounded(_cleaned(state, "\t").expandtabs(), limit)


def meant(said: str, known: Iterable[str]) -> str:
    """Return the end of a sentence that asks whether the word that comes nearest is meant, "" where none does."""
    near = near_word(said, known)
    return f": did you mean {near}?" if near else ""


def near_word(said: str, known: Iterable[str]) -> str:
    """Return which of the words that are ``known`` was most likely meant, "" where none is near.

    A word is near that begins with what was said, or is another by a slip in three letters: one wrong, missing, too
    much, or in its neighbour's place; or that has the same letters in another order. Capitals, and how the parts of a
    word are joined, count for nothing. A guess that is far sends people further away than none does.
    """
    plain = _plain(said)
    most = len(plain) // LETTERS_A_SLIP
    best, found = most + 1.0, ""
    for word in known:
        other = _plain(word)
        away: float = _slips(plain, other, most)
        begun = len(plain) >= LETTERS_A_SLIP and other.startswith(plain)
        if away > most and (begun or (plain[:1] == other[:1] and sorted(plain) == sorted(other))):
            away = most + 0.5  # after what is only mistyped
        if plain and other and away < best:
            best, found = away, word
    return found


def _plain(word: str) -> str:
    return word[:WORD_LIMIT].lower().replace("_", "-").strip("-")


def _slips(said: str, word: str, most: int) -> int:
    """Return by how many slips two words differ, or ``most`` and one where that is more."""
    if abs(len(said) - len(word)) > most:
        return most + 1
    before: list[int] = []
    last = list(range(len(word) + 1))
    for at, letter in enumerate(said):
        row = [at + 1]
        for to, other in enumerate(word):
            away = min(last[to] + (letter != other), last[to + 1] + 1, row[to] + 1)
            if at and to and (letter, said[at - 1]) == (word[to - 1], other):
                away = min(away, before[to - 1] + 1)
            row.append(away)
        if min(row) > most:
            return most + 1
        before, last = last, row
    return last[-1]


def quoted(value: object, limit: int = VALUE_LIMIT) -> str:
    """Return a value as Python writes it, harmless and at most ``limit`` characters long, else its kind.

    Whatever it is can be said so: a number of more digits than Python converts, or an object whose ``repr`` raises.
    """
    try:
        said = repr(value)
        said = said if said.isprintable() else ascii(value)
    except BaseException:  # noqa: BLE001 - it is somebody else's, and wrong already: its kind is all there is to know
        said = f"{'an' if type(value).__name__[:1] in 'aeio' else 'a'} {type(value).__name__} that cannot be written"
    return printable(said, limit)


def _cleaned(text: str, keep: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    text = _SEQUENCES.sub("", text)
    return _SPECIAL.sub(lambda found: found[0] if found[0] in keep else _shown(found[0]), text)


@lru_cache(4_096)
def _shown(char: str) -> str:
    """Return what stands for one character."""
    if char in _BLANK:
        return ""
    if char.isprintable():
        return char
    category = unicodedata.category(char)
    if char in _SPACES or category == "Zs":
        return " "
    return "" if category == "Cf" else UNSHOWN


def _bounded(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - len(CUT)] + CUT


def duration_words(seconds: float) -> str:
    """Return a duration for people: ``40 s``, ``5 min``, ``3 h``."""
    minute, hour, day = 60, 3_600, 86_400
    if seconds < 1:
        return "less than 1 s"
    if seconds < 2 * minute:
        return f"{round(seconds)} s"
    if seconds < 2 * hour:
        return f"{round(seconds / minute)} min"
    return f"{round(seconds / hour)} h" if seconds < 2 * day else f"{round(seconds / day)} days"


def ahead_words(count: int, own: int, others: int) -> str:
    """Return in words how many builds stand before one, ``own`` of them of its requester, the rest of ``others``."""
    waits = "1 build waits" if count == 1 else f"{count} builds wait"
    whose = [f"{own} of the same requester"] if own else []
    whose += [f"{count - own} of {others} other{'s' if others > 1 else ''}"] if others and count > own else []
    return f"{waits} before this one{': ' if whose else ''}{', '.join(whose)}"


def about(seconds: float) -> str:
    """Return an estimate for people: ``about 40 s``, or ``less than 1 s``."""
    words = duration_words(seconds)
    return words if words.startswith("less") else f"about {words}"


def duration_of(text: str) -> float:
    """Return the seconds that a text such as ``20s``, ``30m``, ``24h`` or ``30d`` stands for. Raises UsageError."""
    digits, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not (digits.isascii() and digits.isdigit() and len(digits) <= _DIGITS):
        raise UsageError(f"{printable(text, 40)!r} is no time: say 30m, 24h or 7d")
    return int(digits) * _UNITS[unit]


def duration_text(seconds: float) -> str:
    """Return a duration as ``duration_of`` reads it, in the largest unit that leaves nothing over."""
    for unit, length in reversed(_UNITS.items()):
        if seconds % length == 0:
            return f"{int(seconds // length)}{unit}"
    return f"{seconds:g}s"


def moment_words(when: float) -> str:
    """Return a moment of wall time (seconds) in UTC, to the minute."""
    return datetime.fromtimestamp(min(max(when, 0.0), _LAST_SECOND), UTC).strftime("%Y-%m-%d %H:%M UTC")


def size_words(count: int) -> str:
    """Return a number of bytes: ``812 B``, ``4.2 KiB``, ``1.3 GiB``."""
    if count < 1024:  # noqa: PLR2004 - that is what KiB means
        return f"{count} B"
    amount = float(count)
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        amount /= 1024
        if amount < 1023.95:  # noqa: PLR2004 - what would be shown as 1024.0 is shown in the next unit
            return f"{amount:.1f} {unit}"
    return f"{amount / 1024:,.1f} PiB"
