"""The operator's hand: what ``bin/metaserver`` says to the one that runs, over the socket in its state directory."""

from __future__ import annotations

import argparse
import json
import secrets
from collections.abc import Callable, Coroutine
from typing import Any

from attrs import asdict
from twisted.internet.base import ReactorBase
from twisted.internet.defer import TimeoutError as TooLate
from twisted.internet.error import ConnectionRefusedError as NobodyListens
from twisted.internet.interfaces import IReactorTime, IReactorUNIX

from buildtool.adapters.control_socket import at_control_socket
from buildtool.adapters.locks import holder
from buildtool.adapters.pb_operator import Act, Operating, connect_operator
from buildtool.domain.estimates import duration_words
from buildtool.domain.text import printable
from buildtool.entry.common import EXIT_OK, Stop, run
from buildtool.entry.output import say
from buildtool.errors import NotRunning, Unavailable
from buildtool.operator_protocol import (
    AbortBuild,
    Drain,
    ForgetFailure,
    ForgetServer,
    PauseServer,
    PurgeArtifact,
    PurgeBuiltBy,
    RebuildBuild,
    ResumeServer,
    ServerStands,
    Standing,
)
from buildtool.protocol import Turns
from buildtool.settings import Settings, load_settings

PROGRAM = "metaserver"

_NUMBER_LIMIT = 10**18

ACTS: dict[str, Callable[[argparse.Namespace], Act]] = {
    "pause": lambda said: PauseServer(said.pause, said.reason or ""),
    "resume": lambda said: ResumeServer(said.resume),
    "abort": lambda said: AbortBuild(said.abort, said.reason or ""),
    "rebuild": lambda said: RebuildBuild(said.rebuild, said.mail or "", secrets.token_hex(16)),
    "purge": lambda said: PurgeArtifact(said.purge, said.reason or ""),
    "purge_built_by": lambda said: PurgeBuiltBy(said.purge_built_by, said.reason or ""),
    "forget": lambda said: ForgetServer(said.forget),
    "forget_failure": lambda said: ForgetFailure(said.forget_failure),
    "drain": lambda _said: Drain(on=True),
    "undrain": lambda _said: Drain(on=False),
}
"""What each flag asks the running metaserver to do."""

REASONED = ("pause", "abort", "purge", "purge_built_by")
"""The acts that take a reason."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the operator's flags."""
    own = parser.add_argument_group("of the metaserver that runs", "Each asks it to do something, and ends.")
    own.add_argument("--status", action="store_true", help="say how everything stands")
    own.add_argument("--pause", metavar="SERVER", help="give a build server nothing more until it is resumed")
    own.add_argument("--resume", metavar="SERVER", help="give a build server builds again")
    own.add_argument("--forget", metavar="SERVER", help="know a build server no more that does not come back")
    own.add_argument("--abort", metavar="BUILD", type=_number, help="end an open build; who waits for it is mailed")
    own.add_argument("--rebuild", metavar="BUILD", type=_number, help="build again what a build built")
    own.add_argument("--mail", metavar="ADDRESS", help="with --rebuild: mail ADDRESS when it is done")
    own.add_argument("--purge", metavar="ARTIFACT", help="give out an artifact (id or SHA-256) no more, and delete it")
    own.add_argument("--purge-built-by", metavar="SERVER", help="do so with everything that a build server made")
    own.add_argument("--forget-failure", metavar="BUILD", type=_number, help="have a failed build tried when asked for")
    own.add_argument("--drain", action="store_true", help="start no more builds, and end once none runs")
    own.add_argument("--undrain", action="store_true", help="take --drain back")
    own.add_argument(
        "--reason", metavar="TEXT", help="with --pause, --abort or any --purge: why; it is shown and mailed"
    )


def chosen(parser: argparse.ArgumentParser, said: argparse.Namespace) -> bool:
    """Say whether the running metaserver is asked for anything; ends the program for what says nothing together."""
    names = [name for name in ("status", *ACTS) if getattr(said, name) not in (None, False)]
    if len(names) > 1:
        parser.error(f"--{_flag(names[0])} and --{_flag(names[1])} are two different things: say one of them")
    name = names[0] if names else ""
    if said.reason is not None and name not in REASONED:
        parser.error("--reason goes with --pause, --abort, --purge or --purge-built-by")
    if said.mail is not None and name != "rebuild":
        parser.error("--mail goes with --rebuild")
    return bool(names)


def operate(said: argparse.Namespace) -> int:
    """Ask the metaserver that runs, print its answer, and return the exit code."""
    settings = load_settings(said.config, secrets=False)
    act = next((make(said) for name, make in ACTS.items() if getattr(said, name) not in (None, False)), None)

    async def ask(reactor: ReactorBase, _stop: Stop) -> int:
        await _asked(settings, reactor, lambda there: _said(there, act, as_json=said.json))
        return EXIT_OK

    return run(PROGRAM, ask, verbose=said.verbose)


async def _asked(
    settings: Settings, reactor: ReactorBase, ask: Callable[[Operating], Coroutine[Any, Any, None]]
) -> None:
    """Ask over the socket. Raises NotRunning, saying what to do about it, and what the metaserver refused with."""
    start = f"start it with bin/metaserver --config {settings.path}"
    try:
        with at_control_socket(IReactorUNIX(reactor), settings.state_dir) as endpoint:
            there = await connect_operator(endpoint, str(settings.state_dir), IReactorTime(reactor))
    except NotRunning as error:
        raise NotRunning(f"{error}; {start}") from error
    except Unavailable as error:
        if isinstance(error.__cause__, NobodyListens):  # one that was killed leaves its socket behind
            raise NotRunning(f"no metaserver runs with {settings.state_dir}; {start}") from error
        if _silent(error):
            who = holder(settings.state_dir) or "its process id is not known"
            hangs = f"the metaserver of {settings.state_dir} runs but says nothing, it may hang"
            raise NotRunning(f"{hangs}: kill it ({who}; nothing is lost), then {start}") from error
        raise NotRunning(f"the metaserver of {settings.state_dir} does not answer: {error}") from error
    try:
        await ask(there)
    finally:
        there.close()


def _silent(error: BaseException | None) -> bool:
    """Say whether an error comes from an answer that did not come in time."""
    while error is not None and not isinstance(error, TooLate):
        error = error.__cause__
    return error is not None


async def _said(there: Operating, act: Act | None, *, as_json: bool) -> None:
    if act is None:
        standing = await there.standing()
        say(json.dumps(asdict(standing)) if as_json else "\n".join(map(printable, standing_lines(standing))))
        return
    acted = await there.act(act)
    say(json.dumps(asdict(acted)) if as_json else "\n".join(map(printable, acted.words)))


def _turns(told: Turns) -> str:
    within = (
        f"half within {told.p50_ms:g} ms, 99 % {told.p99_ms:g}, 99.9 % {told.p999_ms:g}, the longest {told.max_ms:g}"
    )
    return f"turns of the reactor in the last minutes: {within}; pauses for garbage up to {told.pause_max_ms:g}"


def standing_lines(told: Standing) -> list[str]:
    """Return how everything stands, for people."""
    connected = f"{told.servers_connected} of {_count(told.servers_known, 'build server is', 'build servers are')}"
    counts = (
        f"{_count(told.builds_running, 'build runs', 'builds run')}, {_count(told.builds_waiting, 'waits', 'wait')}",
        _count(told.requests, "request waits", "requests wait"),
        f"{connected} connected",
        _mail(told.mail_unsent, told.mail_refused),
    )
    found = ["; ".join(counts)]
    if told.draining:
        found.append("draining: no build is started any more, and it ends once none runs")
    if told.turns is not None:
        found.append(_turns(told.turns))
    found += [f"problem: {line}" for line in told.problems]
    if told.stands:
        found.append("build servers:")
    widths = [max(map(len, texts)) for texts in zip(*map(_row, told.stands), strict=True)]
    for one in told.stands:
        cells = "  ".join(text.ljust(width) for text, width in zip(_row(one), widths, strict=True))
        found.append(f"  {cells}  {one.reason}".rstrip())
    found += _more(told.servers_known - len(told.stands))
    if told.running:
        found.append("what runs:")
    for run_ in told.running:
        what = f"{run_.project} {run_.revision[:12]}".strip() or "what nobody waits for any more"
        where = f"on {run_.server} for {duration_words(run_.seconds)}"
        found.append(f"  {run_.build_id}.{run_.epoch} {what} {where}, {run_.state}")
    found += _more(told.builds_running - len(told.running))
    if told.waiting:
        found.append("what waits:")
    for wait in told.waiting:
        since = f"for {duration_words(wait.seconds)}, {_count(wait.requests, 'request', 'requests')}"
        found.append(f"  {wait.build_id} {wait.project} {wait.revision[:12]} {since}")
        found += [f"    {line}" for line in wait.why]
    found += _more(told.builds_waiting - len(told.waiting))
    return found


def _mail(unsent: int | None, refused: int | None) -> str:
    if unsent is None or refused is None:
        return "how much mail is left is not known"
    return f"{_count(unsent, 'mail is', 'mails are')} to be sent, {refused} refused"


def _row(one: ServerStands) -> tuple[str, str, str]:
    return one.server, one.state, f"{one.running} of {one.slots}"


def _more(count: int) -> list[str]:
    return [f"  and {count} more"] if count > 0 else []


def _count(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _flag(name: str) -> str:
    return name.replace("_", "-")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text[:19]) < _NUMBER_LIMIT):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no build: say its number")
    return int(text)
