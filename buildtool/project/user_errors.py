"""What an exception from a project's own configuration says, and the line of theirs that it comes from."""

from __future__ import annotations

import os
import sysconfig
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from buildtool.errors import BuildFailed, BuildToolError, MachineFault, RecipeMistake
from buildtool.model.text import quoted

T = TypeVar("T")

SAID_LIMIT = 500
"""Most characters that are shown of an exception of somebody else's."""

_OURS = str(Path(__file__).parents[1]) + os.sep
_LIBRARIES = tuple({os.path.normpath(sysconfig.get_path(name)) + os.sep for name in ("stdlib", "platstdlib")})


def ask(whom: str, question: Callable[[], T]) -> T:
    """Return what a function of the project's own configuration answers. Raises RecipeMistake when it raises.

    What it may say about itself passes: MachineFault, and BuildFailed for the project. So does the lack of memory.
    """
    try:
        return question()
    except (MachineFault, BuildFailed, MemoryError):
        raise
    except BuildToolError as error:
        raise RecipeMistake(f"{whom}: {error}{at(place(error))}") from error
    except BaseException as error:
        # SystemExit and KeyboardInterrupt, too: their file runs inside of this program, which goes on.
        raise RecipeMistake(f"{whom} raised {words(error)}{at(place(error))}") from error


def ask_url(whom: str, mapping: Callable[[str], str], source: str) -> str:
    """Return the repository's URL that a project's ``path_to_url`` has for a source.

    Raises RecipeMistake, whose cause is the mapping's own LookupError for a source that there is not.
    """
    url: object = ask(whom, partial(mapping, source))
    if not isinstance(url, str) or not url:
        raise RecipeMistake(f"{whom} answered {quoted(url)} for {quoted(source)}, not a URL{at(defined(mapping))}")
    return url


def words(error: BaseException) -> str:
    """Return what an exception of a project's code says, even one that cannot say it; of bounded length."""
    try:
        said = " ".join(str(error).split())
    except BaseException:  # noqa: BLE001 - it is the error of an error, of which its name is all there is to know
        said = ""
    return f"{type(error).__name__}: {said}".rstrip(": ")[:SAID_LIMIT]


def place(error: BaseException) -> str:
    """Return ``FILE:LINE`` of the last line in a file of theirs that led to ``error``, or "" when there is none.

    Theirs is what is neither of this program nor of Python and its libraries: the configuration, and what it imports.
    """
    if isinstance(error, SyntaxError) and error.filename and _is_theirs(error.filename):
        return f"{error.filename}:{error.lineno or 1}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_theirs(frame.filename)]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""


def defined(function: Callable[..., object]) -> str:
    """Return ``FILE:LINE`` where a function of theirs is defined, or "" for one that does not tell."""
    code = getattr(function, "__code__", None) or getattr(getattr(function, "func", None), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else ""


def at(where: str) -> str:
    """Return a place as it follows a sentence; nothing for no place."""
    return f" ({where})" if where else ""


def _is_theirs(filename: str) -> bool:
    if filename.startswith("<"):
        return False
    absolute = os.path.normpath(filename)
    return not (absolute.startswith((_OURS, *_LIBRARIES)) or f"{os.sep}site-packages{os.sep}" in absolute)
