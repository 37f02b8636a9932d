"""``deploy/update``: what is typed, and what a timer runs."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from types import FrameType
from typing import NoReturn

from attrs import evolve

from buildtool.errors import UsageError
from buildtool.model.guest.following import SHORT
from buildtool.model.text import moment_words
from buildtool.model.updating.record import UpdateRecord
from buildtool.programs.buildserver.following.commands import shown
from buildtool.programs.common.ending import EXIT_CODES, EXIT_OK, EXIT_SIGNAL
from buildtool.programs.common.output import complain, say, say_line
from buildtool.programs.common.subcommands import Subcommand, Subcommands
from buildtool.programs.updating.choice import UPDATE_OPTIONS, choice_of, place_of
from buildtool.programs.updating.looking import look_for_newest, repository_of
from buildtool.programs.updating.memory import UpdateMemory
from buildtool.programs.updating.place import VersionPlace
from buildtool.programs.updating.rounds import (
    EXIT_GONE_BACK,
    EXIT_NOT_READY,
    EXIT_NOT_TAKEN,
    RoundEnd,
    UpdateRound,
    accept_seen,
)
from buildtool.protocol import codec

PROGRAM = "update"

UPDATE_CODES = {
    **EXIT_CODES,
    EXIT_GONE_BACK: "the new version failed, and the one before runs",
    EXIT_NOT_READY: "what runs is not ready: somebody has to look",
    EXIT_NOT_TAKEN: "the newest version is refused, and nothing was changed",
}
"""What each exit code says."""


def _run(said: argparse.Namespace) -> int:
    return _told(_round(said).run(), said)


def _back(said: argparse.Namespace) -> int:
    return _told(_round(said).leave(), said)


def _round(said: argparse.Namespace) -> UpdateRound:
    signal.signal(signal.SIGTERM, _ended)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # not under nohup
        signal.signal(signal.SIGHUP, _ended)
    choice = choice_of(said)
    return UpdateRound(choice, VersionPlace(choice.place), lambda line: complain(f"{PROGRAM}: {line}"))


def _ended(number: int, _frame: FrameType | None) -> NoReturn:
    """End in order, with what this has started."""
    sys.exit(EXIT_SIGNAL + number)


def _told(end: RoundEnd, said: argparse.Namespace) -> int:
    if said.json:
        say(json.dumps({"code": end.code, "words": end.words, **_status(said)}))
    elif end.code:
        complain(f"{PROGRAM}: {end.words}")
    elif not end.quiet or sys.stdout.isatty():
        say_line(f"{PROGRAM}: {end.words}")
    return end.code


def _status(said: argparse.Namespace) -> dict[str, object]:
    place = VersionPlace(place_of(said))
    record = UpdateMemory(place.path).load()
    return {"place": str(place.path), "current": place.current(), "versions": place.versions(), **codec.encode(record)}


def _show_status(said: argparse.Namespace) -> int:
    if said.json:
        say(json.dumps(_status(said)))
        return EXIT_OK
    place = VersionPlace(place_of(said))
    for line in status_lines(place.current(), UpdateMemory(place.path).load()):
        say_line(line)
    return EXIT_OK


def status_lines(current: str, record: UpdateRecord) -> list[str]:
    """Return in lines what runs, what is under way, and how the last run ended."""
    lines = ["current     none: no version is installed"]
    if current:
        lines = [
            f"current     {record.name or current[:SHORT]} ({current[:SHORT]}), since {moment_words(record.since)}"
        ]
    if record.past:
        lines.append(f"before      {', '.join(one[:SHORT] for one in record.past[:3])}")
    if record.attempt is not None:
        lines.append(f"under way   {record.attempt.name}: {record.attempt.phase.value}")
    if record.tip != current:
        lines.append(f"newest      {record.tip[:SHORT]}{', accepted' if record.accepted == record.tip else ''}")
    lines += [f"failed      {one.name} at {moment_words(one.at)}: {one.why}" for one in record.failed]
    if record.at:
        lines.append(f"last run    {moment_words(record.at)}, code {record.code}: {record.words}")
    return lines


def _diff(said: argparse.Namespace) -> int:
    choice = choice_of(said)
    place = VersionPlace(choice.place)
    with place.lock():
        holds = place.current()
        newest = look_for_newest(choice, holds, place.version(holds), time.time())
        memory = UpdateMemory(place.path)
        memory.save(evolve(memory.load(), tip=newest.tip.commit))  # what is shown can be accepted
        repository, lines = repository_of(choice), list[str]()
        old = holds if holds and repository.has(holds) else ""
        repository.diff(old, newest.tip.commit, lambda line: lines.append(shown(line)))
    if said.json:
        words = {"from": holds, "commit": newest.tip.commit, "name": newest.name, "about": newest.about}
        say(json.dumps({**words, "migrations": newest.brings, "diff": lines}))
        return EXIT_OK
    say_line(newest.about or f"{newest.name} runs, and nothing is newer")
    say("\n".join(lines))
    return EXIT_OK


def _accept(said: argparse.Namespace) -> int:
    commit = str(said.target)
    if len(commit) < 7 or not all(char in "0123456789abcdef" for char in commit.lower()):  # noqa: PLR2004 - as git has it
        raise UsageError(f"{commit[:40]!r} is no id of a commit: say at least seven of its characters")
    accepted = accept_seen(VersionPlace(place_of(said)), commit)
    words = f"{accepted[:SHORT]} is accepted, and tried at the next run"
    say(json.dumps({"accepted": accepted}) if said.json else words)
    return EXIT_OK


_CHOICE = tuple(UPDATE_OPTIONS)

COMMAND_LINE: Subcommands[int] = Subcommands(
    PROGRAM,
    "Updates of an installation from a repository: the new version is made beside the one that runs, and gone back "
    "from where it does not hold.",
    (
        Subcommand(
            "run", "look for a newer version, try it, and go back where it does not hold",
            "run --source https://example.org/buildtool.git --signed-by /etc/buildtool/signers", _run,
            options=(*_CHOICE, "--json"),
        ),
        Subcommand(
            "status", "say what runs, what was tried, and why it failed", "status --json", _show_status,
            options=(*_CHOICE, "--json"),
        ),
        Subcommand(
            "diff", "fetch the newest version, run nothing of it, and show what it changes",
            "diff --source https://example.org/buildtool.git --signed-by /etc/buildtool/signers", _diff,
            options=(*_CHOICE, "--json"),
        ),
        Subcommand(
            "accept", "have the next run take the version that was seen last, also one that failed before",
            "accept 1f2e3d4c5b6a", _accept, "COMMIT", options=(*_CHOICE, "--json"),
        ),
        Subcommand(
            "back", "go back to the version before, and do not take this one again", "back", _back,
            options=(*_CHOICE, "--json"),
        ),
    ),
    UPDATE_OPTIONS,
    UPDATE_CODES,
    everywhere=("--settings-file",),
)  # fmt: skip
"""Everything that can be said to the program."""

main = COMMAND_LINE.main
