"""What strangers wrote, and figures, as plain text of a mail: printable, wrapped, with no link but the farm's own."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterable
from datetime import UTC, datetime

from buildtool.model.options import Canonical, written
from buildtool.model.records import Artifact, RequestState
from buildtool.model.text import log_line, printable, size_words

WIDTH = 78
"""The longest line of prose, in characters."""

LOG_LINES = 60
"""How many lines of a log's end a mail shows at most."""

LOG_BYTES = 8 * 1024
"""How many bytes of a log's end a mail shows at most."""

REASON_SHOWN = 900
"""How many characters of why something ended so a mail shows at most."""

_TEXT_SHOWN = 600
_LINE_SHOWN = 400
_URL_SHOWN = 2000
_LABEL = 11
_LINK = re.compile("://")


def plain(text: str, limit: int = _TEXT_SHOWN) -> str:
    """Return ``text`` as one printable line of at most ``limit`` characters."""
    return printable(text, limit)


def log_end(tail: str) -> list[str]:
    """Return the last lines of a log for people: no control sequences, of a progress display its last state only."""
    text = tail[-8 * LOG_BYTES :].rstrip()
    lines: list[str] = []
    room = LOG_BYTES
    for raw in reversed(text.split("\n") if text else []):
        line = log_line(raw, _LINE_SHOWN).rstrip()
        room -= len(line.encode()) + 1
        if room < 0 or len(lines) == LOG_LINES:
            break
        lines.append(line)
    return lines[::-1]


def facts(rows: Iterable[tuple[str, str]]) -> Iterable[str]:
    """Return a paragraph for each pair of a label and a value, the values below one another."""
    for label, value in rows:
        head = f"  {label:<{_LABEL}} "
        yield textwrap.fill(
            defanged(value), WIDTH, initial_indent=head, subsequent_indent=" " * len(head),
            break_long_words=False, break_on_hyphens=False,
        ) or head.rstrip()  # fmt: skip


def wrapped(text: str, indent: str = "") -> str:
    """Return a text as a paragraph of lines that are not too long, each after ``indent``."""
    return textwrap.fill(
        " ".join(text.split()), WIDTH, initial_indent=indent, subsequent_indent=indent,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def quoted(text: str, indent: str = "") -> str:
    """Return what a stranger may have written, marked as that: lines that begin with ">", and nothing to click on."""
    return wrapped(sentence(text), f"{indent}> ") if text else ""


def why(text: str, outcome: RequestState, indent: str) -> str:
    """Return why something ended so: quoted where a build server says it, which the farm does not where it expired."""
    if outcome in (RequestState.FAILED, RequestState.UNBUILDABLE):
        return quoted(text, indent)
    return wrapped(sentence(text), indent)


def defanged(text: str) -> str:
    """Return a stranger's text without links that a mail program would make out of it: only the farm's own are."""
    return _LINK.sub("[:]//", text)


def sentence(text: str) -> str:
    """Return what a stranger may have written as a sentence in one line, with nothing to click on; "" for nothing."""
    said = defanged(plain(text, REASON_SHOWN))
    return said[:1].upper() + said[1:] + ("" if said.endswith((".", "!", "?")) else ".") if said else ""


def machine(platform: Canonical) -> str:
    """Return a platform in one or two words."""
    values = dict(platform)
    words = [plain(written(values[name])) for name in ("os", "arch") if name in values]
    return " ".join(words) or "any platform"


def shown(values: Canonical) -> str:
    """Return options or properties with their values."""
    return defanged(" ".join(f"{plain(name)}={plain(written(value))}" for name, value in values))


def listed(items: Iterable[str]) -> str:
    """Return a list in words: ``a, b and c``."""
    words = [plain(item) for item in items]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def verify(artifact: Artifact) -> str:
    """Return the command line that compares a file with its digest."""
    return f"echo {shlex.quote(f'{artifact.digest}  {plain(artifact.name)}')} | sha256sum -c"


def link(url: str) -> str:
    """Return a URL of the farm's own."""
    return plain(url, _URL_SHOWN)


def size_in_bytes(size: int) -> str:
    """Return a number of bytes, with its unit and exactly."""
    return f"{size} bytes" if size < 1024 else f"{size_words(size)} ({size} bytes)"  # noqa: PLR2004 - a KiB


def duration(seconds: float) -> str:
    """Return a duration with all of its units: ``1 h 2 min 3 s``."""
    if seconds < 10:  # noqa: PLR2004 - below, tenths are of interest
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "min"), (rest, "s")]
    return " ".join(f"{amount} {unit}" for amount, unit in parts if amount) or "0 s"


def at_time(at: float) -> str:
    """Return a moment of wall time to the minute."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
