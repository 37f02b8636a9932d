"""Which programs a machine has, by running each and reading its version. Everything here blocks."""

from __future__ import annotations

import os
import re
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import IO, cast

TIME_LIMIT = 5.0
"""Seconds that a program has to tell its version."""

_QUESTIONS = {"go": "version", "unzip": "-v", "zip": "-v", "nasm": "-v", "java": "-version", "javac": "-version",
              "openssl": "version"}  # fmt: skip
_ANSWERING = frozenset({
    "ar", "autoconf", "automake", "bash", "bison", "c++", "cargo", "cc", "ccache", "clang", "clang++", "cmake", "curl",
    "flex", "g++", "gcc", "git", "gmake", "go", "java", "javac", "ld", "libtool", "m4", "make", "meson", "ninja",
    "patch", "perl", "pkg-config", "python3", "rustc", "sccache", "strip", "tar", "unzip", "xz", "zip",
})  # fmt: skip
"""Programs that tell their version wherever they are what they are called: one that does not is a stand-in, such as
macOS has for compilers that were never installed, or another program of that name."""

_OUTPUT_READ = 16 * 1024
_LOOK = 0.05


def find_tools(
    names: Iterable[str],
    path: str | None = None,
    *,
    seen: Callable[[str], bool] = lambda _: True,
    time_limit: float = TIME_LIMIT,
) -> dict[str, str]:
    """Return the programs of ``names`` that are there, each with its version, empty if it does not tell one.

    Those that answer wherever they work are there only if they do within ``time_limit`` seconds, the others if they can
    be started, and ``seen`` is asked about each path. ``path`` replaces PATH.
    """

    def look(name: str) -> tuple[str, str | None]:
        there = shutil.which(name, path=path)
        if there is None or not seen(there):
            return name, None
        answer = _ask([name, _QUESTIONS.get(name, "--version")], path, time_limit)
        if answer is None or (name in _ANSWERING and answer[1] != 0):
            return name, None
        return name, parse_version(answer[0]) if answer[1] == 0 else ""

    with ThreadPoolExecutor(max_workers=8, thread_name_prefix="tools") as pool:
        return {name: version for name, version in pool.map(look, names) if version is not None}


def output_of(
    command: Sequence[str], *, path: str | None = None, any_code: bool = False, time_limit: float = TIME_LIMIT
) -> str | None:
    """Return what a command prints first on both its outputs, or None if it fails or takes longer than ``time_limit``.

    No more than 16 KiB are read; a command that says more is not waited for. ``any_code`` accepts every exit code.
    """
    answer = _ask(command, path, time_limit)
    if answer is None or answer[1] is None or (answer[1] and not any_code):
        return None
    return answer[0]


def _ask(command: Sequence[str], path: str | None, time_limit: float) -> tuple[str, int | None] | None:
    """Return what a command prints first and its exit code, None if it takes too long; None if it cannot be started."""
    search = path if path is not None else os.environ.get("PATH", os.defpath)
    program = shutil.which(command[0], path=search)
    if program is None:
        return None
    environment = {"PATH": search, "LC_ALL": "C", "HOME": os.environ.get("HOME", "/")}
    try:
        process = subprocess.Popen(
            [program, *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=environment,
            start_new_session=True,
        )
    except (OSError, ValueError):  # ValueError for a name that no program can have
        return None
    with process:
        said, code = _read(process, time.monotonic() + time_limit)
    return said.decode("utf-8", "replace"), code


def _read(process: subprocess.Popen[bytes], until: float) -> tuple[bytes, int | None]:
    """Return the first output of a process and its exit code: None if it takes too long, 0 if it says too much.

    What it started may hold its output open, so that its own end counts, too. Whatever still runs is ended.
    """
    said, code = b"", None
    output = cast(IO[bytes], process.stdout)  # it is a pipe
    with selectors.DefaultSelector() as waiting:
        waiting.register(output, selectors.EVENT_READ)
        while len(said) < _OUTPUT_READ and time.monotonic() < until:
            ready = waiting.select(min(_LOOK, max(0.0, until - time.monotonic())))
            chunk = os.read(output.fileno(), _OUTPUT_READ - len(said)) if ready else b""
            said += chunk
            if ready and not chunk:
                break
            if not ready and process.poll() is not None:
                break
    if len(said) < _OUTPUT_READ:
        with suppress(subprocess.TimeoutExpired):
            code = process.wait(max(0.0, until - time.monotonic()))
    else:
        code = 0
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)  # the process was not waited for, so its group is still there
    return said, code


def parse_version(said: str) -> str:
    """Return the first version number of an answer, the packager's remarks in parentheses aside; "" for none."""
    number = r"(?<![\w.])(?:v|go)?([0-9]+(?:\.[0-9]+)+)"
    lines = [line for line in said.splitlines() if line.strip()]
    for text in (re.sub(r"\([^()]*\)", " ", lines[0]) if lines else "", said):
        match = re.search(number, text)
        if match:
            return match[1][:40]
    match = re.search(r"\b([0-9]+)\b", lines[0]) if lines else None
    return match[1][:40] if match else ""


def parse_compiler(said: str) -> str | None:
    """Return family and version of a C compiler (``gcc-12.2.0``) from its answer, or None if it has no version."""
    family = "clang" if "clang" in said else "gcc" if re.search(r"gcc|GCC|Free Software Foundation", said) else "cc"
    version = parse_version(said)
    return f"{family}-{version}" if version else None
