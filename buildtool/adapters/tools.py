"""Which programs a machine has, by running each and reading its version. Everything here blocks."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

TOOLS = (
    "ar", "autoconf", "automake", "bash", "bison", "c++", "cargo", "cc", "ccache", "clang", "clang++", "cmake", "curl",
    "flex", "g++", "gcc", "git", "gmake", "go", "ld", "libtool", "m4", "make", "meson", "ninja", "patch", "perl",
    "pkg-config", "python3", "rustc", "sccache", "strip", "tar", "unzip", "xz", "zip",
)  # fmt: skip
"""The programs that are looked for."""

TIME_LIMIT = 5.0
"""Seconds that a program has to tell its version."""

_QUESTIONS = {"go": "version", "unzip": "-v", "zip": "-v"}
_OUTPUT_READ = 16 * 1024


def find_tools(
    names: Iterable[str] = TOOLS, path: str | None = None, *, time_limit: float = TIME_LIMIT
) -> dict[str, str]:
    """Return the programs of ``names`` that answer when asked for their version, each with that version.

    The version is empty if the answer has no number. What is in PATH but fails (the stand-ins that macOS has for
    compilers that were never installed) is no tool. ``path`` replaces PATH.
    """
    there = [name for name in names if shutil.which(name, path=path)]
    with ThreadPoolExecutor(max_workers=8, thread_name_prefix="tools") as pool:
        answers = pool.map(
            lambda name: output_of([name, _QUESTIONS.get(name, "--version")], path=path, time_limit=time_limit), there
        )
        return {name: parse_version(said) for name, said in zip(there, answers, strict=True) if said is not None}


def output_of(
    command: Sequence[str], *, path: str | None = None, any_code: bool = False, time_limit: float = TIME_LIMIT
) -> str | None:
    """Return what a command prints on both its outputs, or None if it fails or takes longer than ``time_limit``.

    ``any_code`` accepts every exit code.
    """
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
    except OSError:
        return None
    with process:
        try:
            said, _ = process.communicate(timeout=time_limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # the process was not waited for, so its group is still there
            return None
    if process.returncode and not any_code:
        return None
    return said[:_OUTPUT_READ].decode("utf-8", "replace")


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
