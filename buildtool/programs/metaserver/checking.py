"""Tries a configuration in a process of its own: what hangs there, or ends it, is told in one line."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from attrs import define

from buildtool.adapters.processes.environment import die_with_parent
from buildtool.configuration.file import printing_to_stderr
from buildtool.errors import BuildToolError, ConfigurationError
from buildtool.project.recipe_check import Within

T = TypeVar("T")

FILE_PATIENCE = 30.0
"""Seconds that a configuration file may take to be executed."""

PATIENCE = 10.0
"""Seconds that a recipe, a source mapping or a checker may take for one answer."""

GRACE = 5.0
"""Seconds more after which the process is killed that does not let itself be broken off."""

_AGAIN = 1.0
_BLOCK = 65_536
_FRAMES = 8


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise ConfigurationError inside of what takes longer than ``seconds``, where it just is. Main thread only."""

    def over(_number: int, _frame: FrameType | None) -> None:
        raise ConfigurationError(f"took longer than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def apart(act: Callable[[Within], T], file: Path, *, patience: float = PATIENCE, grace: float = GRACE) -> T:
    """Return what ``act`` returns (JSON has to carry it) from a process of its own, the only one that it can harm.

    ``act`` is given what bounds each question to ``patience`` seconds; before the first it has ``FILE_PATIENCE``, for
    ``file``. Raises ConfigurationError that names whom it waited for when it hangs, or ends that process.
    """
    reading, writing = os.pipe()
    sys.stdout.flush()
    parent = os.getpid()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # about threads, of which the new process uses none
        process = os.fork()
    with contextlib.suppress(OSError):  # in both: what it forks belongs to its group, and ends with it
        os.setpgid(process, 0)
    if process == 0:
        die_with_parent(parent)
        os.close(reading)
        _answer(act, writing, patience)
    os.close(writing)
    told = _Told(reading, str(file), FILE_PATIENCE)
    try:
        while "done" not in (line := told.next(grace)):
            if "error" in line:
                raise ConfigurationError(line["error"])
            if "defect" in line:
                raise RuntimeError(line["defect"])
            told.asked, told.patience = line["asks"], patience
    except EOFError:
        raise ConfigurationError(f"{told.asked}: {_how_it_ended(process)}") from None
    finally:
        os.close(reading)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process, 0)
    done: T = line["done"]
    return done


@define
class _Told:
    """The lines that the process writes: who is asked, and at last how it went."""

    descriptor: int
    asked: str
    patience: float
    _read: bytes = b""

    def next(self, grace: float) -> dict[str, Any]:
        """Return the next line. Raises EOFError at the end, ConfigurationError when none comes in time."""
        until = time.monotonic() + self.patience + grace
        while b"\n" not in self._read:
            if not select.select([self.descriptor], [], [], max(0.0, until - time.monotonic()))[0]:
                raise ConfigurationError(f"{self.asked}: took longer than {self.patience:g} s, and does not stop")
            block = os.read(self.descriptor, _BLOCK)
            if not block:
                raise EOFError
            self._read += block
        line, _, self._read = self._read.partition(b"\n")
        told: dict[str, Any] = json.loads(line)
        return told


def _answer(act: Callable[[Within], object], writing: int, patience: float) -> None:
    """Act, write how that went, and end the process."""

    def tell(**line: object) -> None:
        os.write(writing, json.dumps(line).encode() + b"\n")

    @contextlib.contextmanager
    def bounded(whom: str) -> Iterator[None]:
        tell(asks=whom)
        with within(patience):
            yield

    try:
        with printing_to_stderr():
            done = act(bounded)
        tell(done=done)
    except BuildToolError as error:
        tell(error=str(error))
    except MemoryError:
        tell(error="there is not enough memory (see ulimit -a for what this account may use)")
    except KeyboardInterrupt:
        pass  # the other process has heard it, too, and says so
    except BaseException as error:  # noqa: BLE001 - a defect, which the other process tells
        places = [f"{Path(one.filename).name}:{one.lineno}" for one in traceback.extract_tb(error.__traceback__)]
        tell(defect=f"{type(error).__name__}: {error} (at {' < '.join(reversed(places[-_FRAMES:]))})")
    finally:
        os._exit(0)


def _how_it_ended(process: int) -> str:
    """Return how the process ended that wrote no result, in words."""
    _, status = os.waitpid(process, 0)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return f"ended the program by {signal.Signals(-code).name}"
    return f"ended the program with exit code {code}"
