"""The parser of one command, which says what is wrong in one line, and which options were said.

Covered by tests/programs/common/test_subcommands.py and tests/programs/common/given/test_settings_of.py.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from buildtool.configuration.given.values import SPOKEN, UNSAID
from buildtool.errors import UsageError
from buildtool.model.text import near_word
from buildtool.programs.common.output import complain, say

if TYPE_CHECKING:
    from _typeshed import SupportsWrite


class _Unsaid:
    """What stands for an option that is not said; it counts as nothing."""

    def __bool__(self) -> bool:
        return False


_UNSAID = _Unsaid()


def _takes_dashes_away() -> bool:
    """Return whether this Python takes two dashes for the end of the options, also where they are an option's value."""
    plain = argparse.ArgumentParser(add_help=False)
    plain.add_argument("--value")
    return vars(plain.parse_args(["--value=--"])) != {"value": "--"}


class CommandParser(argparse.ArgumentParser):
    """One that raises UsageError in place of printing its usage, and prints as everything else is printed.

    ``explain`` returns what its help begins and ends with, when that is asked for; ``more`` comes behind it.
    """

    explain: Callable[[], tuple[str, str]] = staticmethod(lambda: ("", ""))
    more = ""
    _declared: tuple[argparse.Action, ...] = ()

    def declare(self, flag: str, how: Mapping[str, Any]) -> None:
        """Add an option of ours, of which it is known afterwards whether it was said."""
        self._declared = (*self._declared, self.add_argument(flag, **how))

    def parse_said(self, words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
        """Return what was said, with which options were, and the words that are not known here.

        Raises UsageError; SystemExit after the help.
        """
        own = {action.dest: action.default for action in self._declared}
        found, more = self.parse_known_args(list(words), argparse.Namespace(**dict.fromkeys(own, _UNSAID)))
        unsaid = frozenset(name for name in own if getattr(found, name) is _UNSAID)
        setattr(found, UNSAID, unsaid)
        setattr(found, SPOKEN, frozenset(own) - unsaid)
        for name in unsaid:
            setattr(found, name, own[name])
        return found, more

    def format_help(self) -> str:
        """Return the help."""
        self.description, end = self.explain()
        self.epilog = f"{end}{self.more}"
        return super().format_help()

    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:
        print_ = say if file is sys.stdout else complain
        print_(message.removesuffix("\n"))

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:  # noqa: ANN401 - as it is there
        """Return the value of an option or a word; one of two dashes behind "=" is a value, too."""
        dashed = action.option_strings and arg_strings == ["--"] and _takes_dashes_away()
        return super()._get_values(action, ["--", "--"] if dashed else arg_strings)

    def error(self, message: str) -> NoReturn:
        what, _, words = message.removeprefix("argument ").partition("unrecognized arguments: ")
        what = what.replace("expected one argument", "needs a value")
        what = what.replace("ignored explicit argument", "takes no value: leave out")
        raise UsageError(self.unknown(words.split()[0]) if words else f"{what} (--help shows an example)")

    def unknown(self, word: str) -> str:
        """Return what is said of a word that is not taken; the option that comes near is named."""
        if not word.startswith("-"):
            return f"{word[:80]!r} is too much (--help shows what is taken)"
        flag = word.partition("=")[0]
        known = [name for action in self._actions for name in action.option_strings]
        near = near_word(flag, known)
        hint = f"did you mean {near}?" if near else "--help lists all options"
        return f"unknown option {flag[:80]} ({hint})"
