"""The programs, as ``bin/``, ``deploy/update`` and installed commands call them: begun properly, only then loaded."""

from __future__ import annotations

import errno
import gc
import importlib
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from buildtool.programs.buildserver.systems import NO_HOST, WINDOWS
from buildtool.programs.common.beginning import begin
from buildtool.programs.common.output import complain

_FAILED = 1
_FRAMES = 12
_INTERRUPTED = 128 + signal.SIGINT
_LIMITS = (errno.EAGAIN, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""What the system says where an account has used up what it may."""


def metaserver() -> int:
    """Run ``metaserver`` and return its exit code."""
    begin(hidden=True)
    return _run("metaserver", "metaserver")


def webserver() -> int:
    """Run ``webserver`` and return its exit code."""
    begin(hidden=True)
    return _run("webserver", "webserver")


def buildserver() -> int:
    """Run ``buildserver.py`` and return its exit code."""
    if sys.platform in WINDOWS:
        complain(NO_HOST)
        return _FAILED
    begin(hidden=True, closed=True)
    return _run("buildserver.py", "buildserver")


def startcompile() -> int:
    """Run ``startcompile.py`` and return its exit code."""
    begin()
    return _run("startcompile.py", "startcompile")


def update() -> int:
    """Run ``update`` and return its exit code."""
    begin(hidden=True)
    return _run("update", "updating")


@contextmanager
def loading() -> Iterator[None]:
    """Skip the search for garbage while something is loaded: it took an eighth of that and found none."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _loaded(module: str) -> ModuleType:
    with loading():
        return importlib.import_module(module)


def _run(program: str, module: str) -> int:
    """Load a program, which takes a second, and run it. What the system refuses it is told in one line."""
    try:
        code: int = _loaded(f"buildtool.programs.{module}.main").main()
    except ImportError as error:
        complain(f"{program}: cannot be loaded: {error} (see ulimit -a, and whether `make venv` says anything)")
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        hint = " (see ulimit -a for what this account may use)" if error.errno in _LIMITS else ""
        complain(f"{program}: {where}{error.strerror or error}{hint}")
    except MemoryError:
        complain(f"{program}: there is not enough memory (see ulimit -a for what this account may use)")
    except KeyboardInterrupt:
        complain(f"{program}: interrupted")
        return _INTERRUPTED
    except Exception as error:  # noqa: BLE001 - a defect, or what a library makes of too little memory: one line
        complain(f"{program}: a defect of {program}: {_words(error)}")
    else:
        return code
    return _FAILED


def _words(error: Exception) -> str:
    """Return what an exception says, and the places in the code that it came from, the last one first."""
    try:
        frames = reversed(traceback.extract_tb(error.__traceback__)[-_FRAMES:])
    except MemoryError:  # of which it may have come itself
        return f"{type(error).__name__} (there is not enough memory to say where; see ulimit -a)"
    places = " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)
    return f"{type(error).__name__}: {error} (at {places})"
