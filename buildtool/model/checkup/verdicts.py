"""A verdict on one thing that a program needs, the mend where it is not right, and what all verdicts come to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum

from attrs import frozen

from buildtool.model.text import one_line


class CheckVerdict(Enum):
    """A verdict: all is well, it will soon or may be a problem, or it keeps the program from its work."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@frozen
class CheckResult:
    """The verdict on one thing. ``what`` names it in a word or two; ``mend`` says what to do unless all is well."""

    what: str
    verdict: CheckVerdict
    words: str
    mend: str = ""

    @property
    def sentence(self) -> str:
        """The words and the mend, in one line."""
        return one_line(f"{self.words}: {self.mend}" if self.mend else self.words)


def fine(what: str, words: str) -> CheckResult:
    """Return that all is well with something."""
    return CheckResult(what, CheckVerdict.OK, words)


def warning(what: str, words: str, mend: str) -> CheckResult:
    """Return that something may become a problem."""
    return CheckResult(what, CheckVerdict.WARNING, words, mend)


def problem(what: str, words: str, mend: str) -> CheckResult:
    """Return that something keeps the program from its work."""
    return CheckResult(what, CheckVerdict.PROBLEM, words, mend)


def is_well(results: Iterable[CheckResult]) -> bool:
    """Return whether nothing keeps the program from its work."""
    return all(one.verdict is not CheckVerdict.PROBLEM for one in results)


def as_lines(results: Sequence[CheckResult]) -> list[str]:
    """Return a line for each verdict, the mend at its end, and one that sums up."""
    width = max((len(one.what) for one in results), default=0)
    lines = [f"{one.verdict.value:<7}  {one.what:<{width}}  {one.sentence}" for one in results]
    count = {verdict: sum(one.verdict is verdict for one in results) for verdict in CheckVerdict}
    problems, warnings = _count(count[CheckVerdict.PROBLEM], "problem"), _count(count[CheckVerdict.WARNING], "warning")
    return [*lines, f"{problems}, {warnings}, {_count(count[CheckVerdict.OK], 'check')} passed"]


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def as_object(results: Sequence[CheckResult]) -> dict[str, object]:
    """Return the verdicts for programs."""
    return {
        "ok": is_well(results),
        "checks": [
            {"what": one.what, "verdict": one.verdict.value, "words": one.words, "mend": one.mend} for one in results
        ],
    }
