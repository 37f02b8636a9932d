"""Numbers and values in words: durations, ages, sizes, platforms, addresses. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import pairwise

from buildtool.concurrency.bounded_cache import remembering, weight
from buildtool.model.addresses import masked
from buildtool.model.options import Canonical
from buildtool.model.platforms import Value
from buildtool.model.text import size_words

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_TWO_UNITS = tuple((*larger, *smaller) for larger, smaller in pairwise(_UNITS))
_LAST_SECOND = 253_402_300_799  # of the year 9999, after which there is no datetime

NEEDS_AT_MOST = "≤"
"""Before a version that a binary may need at most: a requirement."""

RUNS_FROM = "≥"
"""Before a version that a binary needs at least: an artifact."""

HAS = ""
"""Before a version that a machine simply has."""


def duration(seconds: float) -> str:
    """Return a length of time with its two largest units: ``0.4 s``, ``42 s``, ``3 min 20 s``, ``2 d 4 h``."""
    seconds = max(0.0, seconds)
    if seconds < 9.95:  # noqa: PLR2004 - below it a tenth of a second still says something
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, small, small_unit in _TWO_UNITS:
        if whole >= size:
            count, rest = divmod(whole, size)
            return f"{count} {unit} {rest // small} {small_unit}" if rest >= small else f"{count} {unit}"
    return f"{whole} s"


def age(then: float, now: float) -> str:
    """Return how long before ``now`` a time was, or how far ahead, with one unit: ``3 min ago``, ``in 2 h``.

    Both are in seconds.
    """
    apart = abs(now - then)
    if apart < 2:  # noqa: PLR2004 - clocks of two machines differ by as much
        return "just now"
    if apart >= 86_400:  # noqa: PLR2004 - of a list most are as old
        many = f"{int(apart // 86_400)} d"
    elif apart >= 3_600:  # noqa: PLR2004
        many = f"{int(apart // 3_600)} h"
    else:
        many = f"{int(apart // 60)} min" if apart >= 60 else f"{int(apart)} s"  # noqa: PLR2004
    return f"{many} ago" if then <= now else f"in {many}"


def instant(when: float) -> datetime:
    """Return a moment of wall time in UTC, to the second; one outside the calendar is moved to its nearest end."""
    return datetime.fromtimestamp(whole_second(when), UTC)


def whole_second(when: float) -> int:
    """Return the second that a moment of wall time is in; one outside the calendar is moved to its nearest end."""
    return int(min(max(when, 0.0), _LAST_SECOND)) if when == when else 0  # noqa: PLR0124 - NaN


def mebibytes(count: int) -> str:
    """Return a number of MiB as a size."""
    return size_words(count * 1024**2)


def value(item: Value) -> str:
    """Return an option's value: ``yes``, ``3``, ``gcc, make``."""
    if isinstance(item, bool):
        return "yes" if item else "no"
    if isinstance(item, tuple):
        return ", ".join(item) or "none"
    return str(item)


def platform(properties: Canonical, sign: str = NEEDS_AT_MOST) -> str:
    """Return a platform: ``linux ppc (32-bit big-endian), glibc ≤ 2.36``. ``sign`` stands before versions."""
    # Equal is not the same here: True is 1, but not in words.
    return _platform(properties, tuple([type(item) for _, item in properties]), sign)


@remembering(512 * 1024, lambda words, *asked: weight(words) + weight(asked))
def _platform(properties: Canonical, _types: tuple[type, ...], sign: str) -> str:
    known = dict(properties)
    head = " ".join(str(known.pop(name)) for name in ("os", "arch") if name in known)
    nature = " ".join(_nature(known))
    parts = [f"{head} ({nature})" if head and nature else head or nature]
    family, version = known.pop("libc", None), known.pop("libc_version", None)
    if family is not None or version is not None:
        words = ["libc" if family is None else str(family)]
        parts.append(" ".join(words if version is None else [*words, *_signed(sign, version)]))
    level = known.pop("cpu_level", None)
    if level is not None:
        parts.append(" ".join(_signed(sign, level)))
    parts.extend(f"{name} {value(item)}" for name, item in known.items())
    return ", ".join(part for part in parts if part) or "any platform"


def _nature(known: dict[str, Value]) -> list[str]:
    bits, order = known.pop("bits", None), known.pop("byteorder", None)
    return ([f"{bits}-bit"] if bits is not None else []) + ([f"{order}-endian"] if order is not None else [])


def _signed(sign: str, item: Value) -> list[str]:
    return [sign, value(item)] if sign else [value(item)]


_BETWEEN = re.compile(r"([\s<>(),;]+)")
_MACHINE: Mapping[str, str] = {"memory": "memory", "disk": "free disk"}


def machine(properties: Canonical) -> list[tuple[str, str]]:
    """Return what is known of a machine as (name, words); memory and disk, given in MiB, as sizes."""
    return [
        (_MACHINE[name], mebibytes(item)) if name in _MACHINE and type(item) is int else (_spaced(name), value(item))
        for name, item in properties
    ]


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def without_addresses(text: str) -> str:
    """Return a text with each e-mail address in it masked, and whatever else looks like one.

    What stands between white space, brackets, commas and semicolons is looked at once, so that this takes as long as
    the text, whatever is in it.
    """
    if "@" not in text:
        return text
    return "".join(masked(part) if "@" in part[1:-1] else part for part in _BETWEEN.split(text))


def revision(commit: str) -> str:
    """Return the usual short form of a commit id; what is no commit id stays as it is."""
    return commit[:12] if len(commit) >= 40 and commit.isalnum() else commit  # noqa: PLR2004 - SHA-1 in hex


def count(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun: ``1 build``, ``1,204 builds``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
