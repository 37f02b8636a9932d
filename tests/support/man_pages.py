"""The man pages of the programs, written from the parsers that read their command lines, as ``make man`` does.

Docutils turns text into a man page. The pages are in the checkout, since a wheel is built where what our parsers
need is not installed; tests/test_docs.py compares them.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils.core import publish_string

from buildtool.programs.buildserver import main as buildserver
from buildtool.programs.common.given.parser import CommandParser
from buildtool.programs.common.subcommands import Subcommand, Subcommands
from buildtool.programs.metaserver import main as metaserver
from buildtool.programs.startcompile import main as startcompile
from buildtool.programs.webserver import main as webserver

LINES: dict[str, Subcommands[Any]] = {
    one.COMMAND_LINE.program: one.COMMAND_LINE for one in (metaserver, webserver, buildserver, startcompile)
}
FOLDER = Path(__file__).resolve().parents[2] / "docs" / "man"

_SETTINGS = {"report_level": 2, "halt_level": 2, "_disable_config": True, "datestamp": None, "generator": None}


def man_page(line: Subcommands[Any]) -> str:
    """Return the man page of a program."""
    rst = "\n".join(_page(line))
    text = publish_string(rst, writer="manpage", settings_overrides={**_SETTINGS, "output_encoding": "unicode"})
    # It begins with comments about which docutils it was, which would change the page with each.
    return re.sub(r'\A(?:\.\\".*\n)+', "", str(text))


def _page(line: Subcommands[Any]) -> Iterator[str]:
    first = line.commands[0]
    about = _escaped(first.help)
    yield from ("=" * 80, line.program, "=" * 80, "", "-" * len(about), about, "-" * len(about), "")
    yield from (":Manual section: 1", ":Manual group: buildtool", "")
    yield from _head("SYNOPSIS")
    yield from (f"**{line.program}** [*COMMAND*] [*options*] {_escaped(first.usage)}".rstrip(), "")
    yield from _head("DESCRIPTION")
    yield from (_escaped(line.description), "")
    yield from _head("OPTIONS")
    yield from _options(line.parser(first, said=False), frozenset())
    yield from _head("COMMANDS")
    yield from (f"Without one, **{first.name}** is meant.", "")
    shown = frozenset(line.everywhere) | {"--help", "--help-all", "--version"}
    for one in line.commands:
        yield from _command(line, one, shown)
    yield from _head("EXIT STATUS")
    for code, meaning in sorted(line.codes.items()):
        yield from (f"**{int(code)}**", f"  {_escaped(meaning)}", "")
    yield from _head("SEE ALSO")
    yield from (", ".join(f"**{other}**\\ (1)" for other in LINES if other != line.program), "")


def _head(words: str) -> tuple[str, ...]:
    return (words, "=" * len(words), "")


def _command(line: Subcommands[Any], one: Subcommand[Any], shown: frozenset[str]) -> Iterator[str]:
    """Yield what a command does, its options that not all have, and its example."""
    head = f"{one.name} {one.usage}".rstrip()
    yield from (head, "-" * len(head), "", _escaped(f"{one.help}."), "")
    if one is not line.commands[0]:
        yield from _options(line.parser(one, said=True), shown)
    yield from ("::", "", f"  {line.program} {one.example}", "")


def _options(parser: CommandParser, shown: frozenset[str]) -> Iterator[str]:
    """Yield the options of a parser but those that are ``shown`` already."""
    for action in parser._actions:
        if not action.option_strings or action.help in (None, argparse.SUPPRESS) or shown & {*action.option_strings}:
            continue
        value = f" *{_escaped(str(action.metavar))}*" if action.nargs != 0 and action.metavar else ""
        yield ", ".join(f"**{name}**{value}" for name in action.option_strings)
        yield from (f"  {_escaped(str(action.help) % vars(action))}", "")


def _escaped(text: str) -> str:
    """Return a text in which nothing is markup."""
    return re.sub(r"([\\*`_|<>\[\]])", r"\\\1", text)


def main() -> int:
    """Write all pages, and return the exit code."""
    FOLDER.mkdir(exist_ok=True)
    for program, line in LINES.items():
        (FOLDER / f"{program}.1").write_text(man_page(line), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
