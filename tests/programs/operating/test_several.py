"""The dialogue about ending many things: how many is said first, then yes or no, and what came of it at the end."""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from attrs import AttrsInstance, define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from buildtool.errors import UsageError
from buildtool.programs.metaserver.main import COMMAND_LINE
from buildtool.programs.operating.acts import OperatorAct
from buildtool.programs.operating.draining import LOOK, drain_server
from buildtool.programs.operating.several import end_several
from buildtool.protocol.operator import (
    AbortBuild,
    AbortSeveral,
    ActionResult,
    CancelSeveral,
    DrainServer,
    SeveralEnded,
)
from tests.support.inline import run


@define
class Answers:
    """A metaserver that answers so."""

    answers: list[Any]
    asked: list[Any] = field(factory=list)

    async def ask(self, message: AttrsInstance, _expected: type[Any]) -> Any:
        self.asked.append(message)
        return self.answers.pop(0)


COUNTED = SeveralEnded(("2 builds are open",), 2, 1, 17)
ENDED = SeveralEnded(("2 builds are aborted",), 2, 1, 17)


def made(*words: str) -> tuple[Any, argparse.Namespace]:
    command, said = COMMAND_LINE.parse(words)
    return OperatorAct.of(command.name, said).message, said


def talk(
    words: Sequence[str], *answers: SeveralEnded, typing: str = "", terminal: bool = False
) -> tuple[Answers, list[str]]:
    there, prompts = Answers(list(answers)), []

    async def typed(prompt: str) -> str:
        prompts.append(prompt)
        return typing

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.stdin, "isatty", lambda: terminal, raising=False)
        message, said = made(*words)
        run(end_several(there, message, said, typed))
    return there, prompts


def test_how_many_is_said_before_somebody_says_yes(capsys: pytest.CaptureFixture[str]) -> None:
    there, prompts = talk(["abort", "--project", "lua"], COUNTED, ENDED, typing="Yes", terminal=True)
    assert capsys.readouterr().out == "2 builds are open\n2 builds are aborted\n"
    assert prompts == ["end them? [y/N] "]
    assert there.asked == [AbortSeveral(("lua",), only_count=True), AbortSeveral(("lua",), until=17, said=2)]


@pytest.mark.parametrize("typing", ["", "n", "no", "nay", "yeah"])
def test_whatever_is_no_yes_ends_nothing(typing: str, capsys: pytest.CaptureFixture[str]) -> None:
    there, _ = talk(["--cancel", "--person", "a@b.org"], COUNTED, typing=typing, terminal=True)
    assert capsys.readouterr().out == "2 builds are open\nnothing is ended\n"
    assert there.asked == [CancelSeveral(people=("a@b.org",), only_count=True)]


def test_yes_may_be_said_before_and_is_then_not_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    there, prompts = talk(["--abort", "--platform=ppc", "--yes", "--reason", "x"], COUNTED, ENDED)
    assert not prompts
    assert there.asked[1] == AbortSeveral((), ("ppc",), (), "x", until=17, said=2)
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_a_dry_run_and_what_finds_nothing_end_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(talk(["abort", "--project", "lua", "--dry-run"], COUNTED)[0].asked) == 1
    nothing = SeveralEnded(("0 builds are open",), 0)
    assert len(talk(["abort", "--project", "lua"], nothing, terminal=True)[0].asked) == 1
    assert capsys.readouterr().out == "2 builds are open\n0 builds are open\n"


def test_where_there_are_more_it_is_asked_again_and_a_program_is_told_the_sum(
    capsys: pytest.CaptureFixture[str],
) -> None:
    parts = (SeveralEnded(("1 a",), 1, more=True), SeveralEnded(("1 b", "1 other had ended meanwhile"), 1, 3))
    there, _ = talk(
        ["abort", "--project", "lua", "--project", "zlib", "--yes", "--json"], SeveralEnded(("3",), 3), *parts
    )
    told = json.loads(capsys.readouterr().out)
    words = ["1 a", "1 b", "1 other had ended meanwhile"]
    assert told == {"words": words, "count": 2, "left": 3, "found": 3}
    assert [(one.projects, one.said) for one in there.asked[1:]] == [(("lua", "zlib"), 3), (("lua", "zlib"), 2)]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["abort"], "say which: BUILD, or all of a --project, --platform or --person"),
        (["--cancel"], "say which: REQUEST, or all"),
        (["abort", "--yes"], "say which: BUILD"),
        (["abort", "7", "--person", "a@b.org"], "build 7 names one thing and --person many: choose one"),
        (["cancel", "7", "--project", "lua"], "request 7 names one thing and --project many: choose one"),
        (["abort", "--project", "lua"], "nobody is at a terminal"),
        (["abort", "--project", "lua", "--json"], "--json asks nobody"),
    ],
)
def test_what_is_too_little_or_too_much_is_refused_before_anybody_is_asked(words: list[str], told: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
        with pytest.raises(UsageError, match=told):
            made(*words)


def test_one_build_is_ended_without_a_word_as_ever() -> None:
    assert made("--abort", "7")[0] == made("abort", "7")[0] == AbortBuild(7, "")


def test_a_drain_says_what_still_runs_and_when_nothing_does(capsys: pytest.CaptureFixture[str]) -> None:
    """It only looks after the first time, so that it does not drain again what was resumed meanwhile."""
    runs, done = ActionResult(("2 builds are finished first",), count=2), ActionResult(("is drained",), count=0)
    for as_json in (False, True):
        there, clock = Answers([runs, runs, done]), Clock()
        message = DrainServer("attic", "new disk")
        ended = Deferred.fromCoroutine(drain_server(there, message, clock, as_json=as_json))
        clock.pump([LOOK] * 3)
        assert ended.called
        assert there.asked == [message, *[DrainServer("attic", "new disk", only_look=True)] * 2]
    first, second, third = capsys.readouterr().out.splitlines()
    assert (first, second) == (runs.words[0], done.words[0])
    assert json.loads(third)["count"] == 0
