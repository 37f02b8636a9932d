"""The answers to a shell that asks what may stand at the cursor, in the form that it takes.

The first line says whether any file may stand there too; then a word a line. What is wrong in the command line
is no error: nothing fits then.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Any

from buildtool.errors import BuildToolError
from buildtool.model.text import printable
from buildtool.programs.common.output import LINE_LIMIT, lost, put
from buildtool.programs.common.subcommands import Subcommands
from buildtool.programs.startcompile.completing.candidates import Candidate, Completion, Surroundings, completed
from buildtool.programs.startcompile.completing.scripts import FILES

Known = Callable[[Sequence[str]], Surroundings]
"""What returns what is known where a command line leads to."""


def answer(line: Subcommands[Any], words: Sequence[str], known: Known) -> int:
    """Print what may stand at the cursor, and return the exit code. ``words`` begin with the name of the shell."""
    shell, *rest = words or [""]
    breaks, before = "", rest
    if shell == "bash":
        breaks, before = "".join(rest[:1]), split("".join(rest[1:2]))
        before = before[1:] or [""]
    *said, current = before or [""]
    try:
        found = completed(line, said, current, known(said))
    except BuildToolError:
        found = Completion()
    lines = [FILES if found.paths else "words"]
    lines += [_written(one, shell, current, breaks) for one in found.candidates]
    try:
        put(sys.stdout, "".join(f"{line}\n" for line in lines))
    except OSError as error:
        raise lost(error) from error
    return 0


def split(text: str) -> list[str]:
    """Return the words of an unfinished command line; the last is the one at the cursor, which may be empty."""
    for closing in ("", "'", '"'):
        try:
            words = shlex.split(f"{text}{closing}")
        except ValueError:
            continue
        return [*words, ""] if not closing and text[-1:].isspace() else words
    return []


def _written(one: Candidate, shell: str, current: str, breaks: str) -> str:
    """Return a word as its shell takes it: bash only what stands behind its last break, others with the help."""
    one = Candidate(printable(one.word, LINE_LIMIT), printable(one.help, LINE_LIMIT))
    if shell == "bash":
        cut = max((current.rfind(mark) + 1 for mark in breaks if mark in "=:" and mark in one.word), default=0)
        return one.word[cut:] if shlex.quote(one.word) == one.word else shlex.quote(one.word[cut:])
    if shell == "zsh":
        return ":".join([one.word.replace("\\", "\\\\").replace(":", "\\:"), *([one.help] if one.help else [])])
    return "\t".join([one.word, *([one.help] if one.help else [])])
