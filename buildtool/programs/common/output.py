"""What programs print: whole lines in whatever encoding, and one word when they cannot be written.

Output may be closed, full, read by nobody any more, or in an encoding that lacks characters. What a program was asked
to print and could not is its failure: it ends with an exit code that says so, never with a traceback or in silence.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol, TextIO

from buildtool.errors import OutputLost, OutputUnread
from buildtool.model.text import block, printable

LINE_LIMIT = 4_000
"""The longest line with words of others, in characters."""

VISIBLE = "buildtool.visible"
"""The error handler for characters that an encoding lacks."""


class TextSink(Protocol):
    """A stream to which text is written, or what stands for one."""

    @property
    def closed(self) -> bool:
        """Whether nothing can be written any more."""
        ...

    def write(self, text: str, /) -> int:
        """Write a text. Raises OSError."""
        ...

    def flush(self) -> None:
        """Write what waits. Raises OSError."""
        ...


_copies: list[TextSink] = []

_PROGRAMS = ("metaserver", "webserver", "buildserver.py", "startcompile.py", "startcompile")

_NAMED = re.compile(r"(?<![\w./-])bin/(metaserver|webserver|buildserver\.py|startcompile\.py)(?![\w/-])")

_UPDATE = "update"
"""The one program that stands elsewhere in a checkout: no package has it."""

_PLAIN = {
    "\N{LEFT SINGLE QUOTATION MARK}": "'", "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{LEFT DOUBLE QUOTATION MARK}": '"', "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
    "\N{HYPHEN}": "-", "\N{EN DASH}": "-", "\N{EM DASH}": "-", "\N{HORIZONTAL ELLIPSIS}": "...",
    "\N{NO-BREAK SPACE}": " ", "\N{BULLET}": "*",
}  # fmt: skip


def called(program: str) -> str:
    """Return how a program is called: as in a checkout, or by its name alone where this one was found in PATH."""
    place, own = os.path.split(sys.argv[0])
    installed = own in _PROGRAMS and place.startswith("/") and place in os.get_exec_path()
    return program if installed else f"{'deploy' if program == _UPDATE else 'bin'}/{program}"


def as_called(text: str) -> str:
    """Return a text of ours, such as an error of any part, with the programs in it named as ``called`` has them."""
    return _NAMED.sub(lambda found: called(found[1]), text)


def _visible(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_PLAIN.get(char, "?") for char in lacking), error.end


codecs.register_error(VISIBLE, _visible)


def put(stream: TextSink | None, text: str) -> None:
    """Write ``text`` at once; a character that the stream's encoding lacks becomes one that looks like it, or ``?``.

    Raises OSError.
    """
    if stream is None or stream.closed:
        raise OSError(errno.EBADF, "it is closed")
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, VISIBLE).decode(encoding))
    stream.flush()


def say(text: str) -> None:
    """Print ``text``, made harmless, and the end of a line on standard output. Raises OutputLost, OutputUnread."""
    try:
        put(sys.stdout, f"{block(text, len(text))}\n")
    except OSError as error:
        raise lost(error) from error


def say_line(line: str) -> None:
    """Print one line, made harmless, on standard output: a peer's words in it begin none of their own.

    Raises OutputLost, OutputUnread.
    """
    say(printable(line, LINE_LIMIT))


def lost(error: OSError) -> OutputLost:
    """Return the error for standard output that could not be written, and give up on what is left of it."""
    _give_up(sys.stdout, 1)
    if isinstance(error, BrokenPipeError):
        return OutputUnread("nobody reads what is printed any more")
    why = "it is closed" if error.errno == errno.EBADF else error.strerror or str(error)
    return OutputLost(f"standard output cannot be written, and not everything was printed: {why}")


def complain(line: str) -> None:
    """Print a line, made harmless, on standard error and where ``copied`` says, if that can be."""
    text = f"{printable(as_called(line), LINE_LIMIT)}\n"
    try:
        put(sys.stderr, text)
    except OSError:
        _give_up(sys.stderr, 2)
    for stream in _copies:
        with suppress(OSError):  # there is nowhere else to say it
            put(stream, text)


def copy_to(stream: TextSink) -> None:
    """Write what is complained of to another stream too, from now on."""
    _copies.append(stream)


@contextmanager
def copied(stream: TextSink) -> Iterator[None]:
    """Write what is complained of to another stream too, as long as this lasts."""
    copy_to(stream)
    try:
        yield
    finally:
        _copies.remove(stream)


def _give_up(stream: TextIO | None, number: int) -> None:
    """Drop what could not be written, so that the interpreter does not stumble over it at the end."""
    try:
        if stream is None or stream.fileno() != number:
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)
    except (OSError, ValueError):
        return  # it is no file, or there are no descriptors: then the interpreter says a word more


def ready() -> None:
    """Open the standard streams that are missing, and have all three show any text in the encoding that they have.

    A descriptor that is closed would be given to the next file that is opened, and be written on by mistake; it is
    taken up by something that refuses to be written.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDONLY), True)
    sys.stdout = _shown(sys.stdout, 1)
    sys.stderr = _shown(sys.stderr, 2)


def _shown(stream: TextIO | None, number: int) -> TextIO:
    if stream is None:
        return open(number, "w", encoding="utf-8", errors=VISIBLE, closefd=False)
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors=VISIBLE)
    return stream
