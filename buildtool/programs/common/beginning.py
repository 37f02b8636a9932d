"""How every program begins: with its standard streams, in UTF-8, with plain signals, and without secrets on show.

Needs nothing but the standard library, and little of that, so that a program that has to start itself anew does so at
once.
"""

from __future__ import annotations

import os
import signal
import stat
import sys
from collections.abc import Sequence
from types import FrameType
from typing import BinaryIO, NoReturn

from buildtool.adapters.processes.environment import forbid_inspection, needed
from buildtool.programs.common.output import ready

WRITTEN_BY_US = 0o022
"""What is written is for nobody else to change, whatever the umask says."""

SOCKETS = "BUILDTOOL_HANDED_SOCKETS"
"""The variable that says which sockets a service manager has handed over to this process: their number and names."""

HANDED = "BUILDTOOL_HANDED_ENVIRONMENT"
"""The variable that says in which descriptor the whole environment is handed over."""


def begin(*, hidden: bool = False, closed: bool = False) -> None:
    """Make the process ready for any of the programs; it may start itself anew, once, and come here again.

    With ``hidden`` its first environment does not show in ``/proc``, with ``closed`` no process of the same user can
    look into it at all (root can).
    """
    ready()
    anew = _taken_over()
    if not anew and (hidden or not _speaks_utf8()):
        _start_anew(hidden=hidden)
    if closed:
        forbid_inspection()
    _note_sockets()
    _plain_signals()
    # One that keeps this account itself from what it makes is a mistake, and only that.
    os.umask(os.umask(WRITTEN_BY_US) & ~stat.S_IRWXU | WRITTEN_BY_US)


# --- starting anew --------------------------------------------------------------------------------------


def _speaks_utf8() -> bool:
    """Return whether names of files, words of commands and variables are UTF-8 here, whatever the locale is."""
    return sys.getfilesystemencoding().lower().replace("_", "-") == "utf-8"


def _start_anew(*, hidden: bool) -> None:
    """Execute this program again: in UTF-8, and with ``hidden`` with as little environment as a program can have.

    What is printed keeps the encoding that it had. Returns only where it cannot be: the program goes on as it is.
    """
    words = [sys.executable, *sys.orig_argv[1:]]
    if not _speaks_utf8():
        words[1:1] = ["-X", "utf8"]
        os.environ.setdefault("PYTHONIOENCODING", sys.stdout.encoding)
    try:
        _execute([_in_utf8(word) for word in words], hidden=hidden)
    except OSError:
        return  # no interpreter, memory or descriptors: what the program then does says so better


def start_again(without: Sequence[str]) -> str:
    """Start this program again as it was started, but for some options and their values; its process stays.

    For a program that has ended what it did. Returns only where that cannot be: the reason.
    """
    words: list[str] = [sys.executable]
    coming = iter(sys.orig_argv[1:])
    for word in coming:
        if word in without:
            next(coming, None)
        elif word.partition("=")[0] not in without:
            words.append(word)
    for number in signal.valid_signals():
        if signal.getsignal(number) is _unheeded:
            signal.signal(number, signal.SIG_IGN)  # as the parent wished: a handler is not passed on
    try:
        _execute([os.fsencode(word) for word in words], hidden=True)
    except OSError as error:
        return error.strerror or str(error)


def _execute(words: list[bytes], *, hidden: bool) -> NoReturn:
    """Execute the interpreter with the whole environment handed over. Raises OSError."""
    whole = dict(os.environb)
    kept = {os.fsencode(name): os.fsencode(value) for name, value in needed().items()} if hidden else dict(whole)
    with _unseen_file() as file:
        file.write(b"\0".join(name + b"=" + value for name, value in whole.items()))
        file.seek(0)
        os.set_inheritable(file.fileno(), True)
        kept |= {HANDED.encode(): b"%d" % file.fileno()}
        os.execve(sys.executable, words, kept)  # noqa: S606 - this very program


def _in_utf8(word: str) -> bytes:
    """Return a word of the command line in UTF-8, unless it names a file that is called as it stands."""
    raw = os.fsencode(word)
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        name = raw.partition(b"=")[2] or raw
        return raw if os.path.lexists(name) else word.encode("utf-8", "surrogateescape")
    return raw


def _unseen_file() -> BinaryIO:
    """Return a file that has no name, on no disk where that can be."""
    if hasattr(os, "memfd_create"):
        return open(os.memfd_create("environment"), "w+b")  # noqa: PTH123 - a descriptor
    import tempfile

    return tempfile.TemporaryFile()


def _taken_over() -> bool:
    """Take the environment that ``_start_anew`` has handed over; return whether it has."""
    number = os.environ.pop(HANDED, "")
    try:
        with open(int(number), "rb") as file:  # noqa: PTH123 - a descriptor
            entries = file.read().split(b"\0")
    except (ValueError, OSError):
        return False
    for entry in entries:
        name, equals, value = entry.partition(b"=")
        if equals and name:
            os.environb[name] = value
    return True


def _note_sockets() -> None:
    """Keep what a service manager says of sockets under a name of our own: Twisted removes those when it is loaded."""
    said = [os.environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")]
    os.environ.pop(SOCKETS, None)
    if said[0] == str(os.getpid()):
        os.environ[SOCKETS] = ":".join(said[1:])


# --- signals --------------------------------------------------------------------------------------------


def _unheeded(_number: int, _frame: FrameType | None) -> None:
    """Take a signal that the parent wished to be ignored. A handler, unlike that wish, is not passed on to children."""


def _plain_signals() -> None:
    """Undo what the parent has blocked, and see to it that no child ignores what the parent wished to be ignored."""
    from buildtool.adapters.processes.waking import GIVEN_BACK

    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in signal.valid_signals():
        if number not in GIVEN_BACK and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, _unheeded)


def is_ignored(number: signal.Signals) -> bool:
    """Return whether the parent wished a signal to be ignored, as ``nohup`` does."""
    return signal.getsignal(number) in (signal.SIG_IGN, _unheeded)
