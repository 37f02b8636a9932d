"""A terminal for one command: nobody sits at it, so that what reads from it finds its end.

Standard library alone: it is opened in a keeper, so that in a sandbox it is one of the sandbox's own.
"""

from __future__ import annotations

import fcntl
import os
import struct
import termios

LINES, COLUMNS = 24, 80

_OUTPUT, _LOCAL, _CHARACTERS = 1, 3, 6
"""Where these stand in what ``tcgetattr`` returns."""


def open_terminal() -> tuple[int, int]:
    """Open a terminal; return the descriptor that its output is read from, and the one for a command. Raises OSError.

    It changes nothing of what is written, and a reader finds the end at once: there is no line to wait for.
    """
    screen, terminal = os.openpty()
    try:
        settings = termios.tcgetattr(terminal)
        settings[_OUTPUT] &= ~termios.OPOST
        settings[_LOCAL] &= ~(termios.ECHO | termios.ICANON)
        settings[_CHARACTERS][termios.VMIN] = settings[_CHARACTERS][termios.VTIME] = 0
        termios.tcsetattr(terminal, termios.TCSANOW, settings)
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("=HHHH", LINES, COLUMNS, 0, 0))
    except termios.error as error:
        _close(screen, terminal)
        raise OSError(*error.args) from error
    except BaseException:
        _close(screen, terminal)
        raise
    return screen, terminal


def take_terminal() -> None:
    """Make what is standard input the terminal of this process's new session. Raises OSError."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _close(*descriptors: int) -> None:
    for one in descriptors:
        os.close(one)
