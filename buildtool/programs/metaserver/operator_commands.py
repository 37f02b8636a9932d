"""The commands of ``bin/metaserver`` for the one that runs: asked over the socket in its state directory."""

from __future__ import annotations

import argparse
import json
import secrets
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import partial
from typing import Any, Generic, TypeVar

from attrs import AttrsInstance, asdict, frozen
from twisted.internet.base import ReactorBase
from twisted.internet.defer import TimeoutError as TooLate
from twisted.internet.error import ConnectionRefusedError as NobodyListens
from twisted.internet.interfaces import IReactorTime, IReactorUNIX

from buildtool.adapters.control.client import Session
from buildtool.adapters.storage.directory_lock import holder
from buildtool.configuration.settings import Settings, load_settings
from buildtool.errors import NotRunning, Unavailable, UsageError
from buildtool.model.addresses import valid_address
from buildtool.model.records import RequestState
from buildtool.model.text import duration_of, duration_words, moment_words, printable
from buildtool.programs.common.output import complain, say
from buildtool.programs.common.program import EXIT_OK, StopRequest, run
from buildtool.programs.common.subcommands import How, Subcommand, number, switch, valued
from buildtool.programs.operating.draining import drain_server
from buildtool.programs.operating.several import CHOOSING, check_alone, chosen, end_several
from buildtool.programs.operating.terminal import typed
from buildtool.protocol.enrolment import (
    AskIdentities,
    Identities,
    InvitationLine,
    InviteOne,
    RevokeOne,
    RotateAuthority,
)
from buildtool.protocol.messages import Cancel, ReactorTurns, RequestStatus
from buildtool.protocol.operator import (
    AbortBuild,
    AbortSeveral,
    ActionResult,
    AskFarmStatus,
    CancelSeveral,
    Drain,
    DrainServer,
    FarmStatus,
    ForgetFailure,
    ForgetServer,
    PauseServer,
    PurgeArtifact,
    PurgeBuiltBy,
    RebuildBuild,
    ResumeServer,
    ServerStatus,
)

PROGRAM = "metaserver"

A = TypeVar("A", bound=AttrsInstance)

_BUILD = number(1, 10**18 - 1, "is no build: say its number")
_REQUEST = number(1, 10**18 - 1, "is no request: say its number")


@frozen
class Answer(Generic[A]):
    """The kind of answer that an act gets, and how that is told to people, line by line.

    ``beside`` has what is said on standard error, which a script that keeps the answer does not want in it.
    """

    kind: type[A]
    lines: Callable[[A], Iterable[str]]
    beside: Callable[[A], Iterable[str]] = lambda _told: ()


def _operate(acting: Acting, said: argparse.Namespace) -> int:
    """Ask the metaserver that runs, print its answer, and return the exit code."""
    settings = load_settings(said.config, secrets=False)
    act = acting.make(said)

    async def ask(reactor: ReactorBase, _stop: StopRequest) -> int:
        await _asked(settings, reactor, lambda there: acting.done(there, act, said, reactor))
        return EXIT_OK

    return run(PROGRAM, ask, verbose=said.verbose)


def _name(text: str) -> str:
    """Return a name or an id that a message can carry, for argparse."""
    if not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no name or id: there is an unprintable character in it")
    return text


_ACTED = Answer(ActionResult, lambda told: told.words)


@frozen
class Acting:
    """A command that asks for the act that ``make`` makes of what was said, over any way to the metaserver."""

    name: str
    words: str
    example: str
    make: Callable[[argparse.Namespace], AttrsInstance]
    argument: str = ""
    options: tuple[str, ...] = ()
    answer: Answer[Any] = _ACTED

    @property
    def read(self) -> Callable[[str], object]:
        """What reads the word that the command is about."""
        return {"BUILD": _BUILD, "REQUEST": _REQUEST}.get(self.argument.strip("[]"), _name)

    @property
    def typed(self) -> str:
        """What to type after the program, as an example."""
        return f"{self.name} {self.example}".rstrip()

    def told(self, answer: AttrsInstance, *, as_json: bool) -> str:
        """Return what is printed of an answer."""
        return json.dumps(asdict(answer)) if as_json else "\n".join(map(printable, self.answer.lines(answer)))

    async def done(self, there: Session, act: AttrsInstance, said: argparse.Namespace, reactor: ReactorBase) -> None:
        """Ask for an act, in as many steps as it takes, and print what comes of it."""
        if isinstance(act, AbortSeveral | CancelSeveral):
            await end_several(there, act, said, partial(typed, reactor))
        elif isinstance(act, DrainServer):
            await drain_server(there, act, IReactorTime(reactor), as_json=said.json)
        elif isinstance(act, Cancel):
            state = (await there.ask(act, RequestStatus)).state
            told = ActionResult((f"request {act.request_id} is {state}",), state == RequestState.CANCELLED.value)
            say(self.told(told, as_json=said.json))
        else:
            answer = await there.ask(act, self.answer.kind)
            say(self.told(answer, as_json=said.json))
            for line in () if said.json else self.answer.beside(answer):
                complain(line)


_WHY = ("--reason",)


def _lasts(text: str) -> float:
    """Return seconds for a text such as 24h. Raises ArgumentTypeError."""
    try:
        return duration_of(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


OPTIONS: Mapping[str, How] = {
    "--reason": valued("why; whoever is concerned is told, on pages and by mail", "TEXT"),
    "--mail": valued("mail ADDRESS when it is done", "ADDRESS", valid_address),
    "--role": valued("what it is invited as: build-server (default), requester, observer or operator", "ROLE"),
    "--owner": valued("the e-mail address of whoever is responsible", "ADDRESS", valid_address),
    "--expires": valued("how long it holds, such as 30m or 7d (an invitation 24h, a token 90d)", "TIME", _lasts),
    "--replace": switch("a machine that has this name was reinstalled: its new key takes the place of the old one"),
    **CHOOSING,
}
"""The options of the commands below, beside ``--json``."""


def _invitation(said: argparse.Namespace) -> InviteOne:
    role = (said.role or "build-server").replace("-", " ")
    lasts = 86_400.0 if said.expires is None else said.expires
    return InviteOne(
        said.target, role, lasts, said.owner or "", said.replace, tuple(said.project or ()), tuple(said.platform or ())
    )


def _voided(told: InvitationLine) -> list[str]:
    if not told.voided:
        return []
    until = moment_words(told.voided)
    return [f"an older line for this name, which nobody had used and which held until {until}, is void now"]


def identity_lines(told: Identities) -> list[str]:
    """Return who has a key and who is invited, a line each, for people."""
    if not told.found:
        return ["nobody has a key and nobody is invited: bin/metaserver invite NAME invites"]
    rows = [
        (
            one.name,
            one.role,
            one.state,
            one.key[:16] or "-",
            f"until {moment_words(one.expires)}",
            one.owner,
            "old authority" if one.old_authority else "",
            one.reason,
        )
        for one in told.found
    ]
    widths = [max(map(len, texts)) for texts in zip(*rows, strict=True)]
    found = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    old = sum(one.old_authority for one in told.found)
    if old:
        found.append(f"{old} still carry a certificate of the old authority; they move over at their next renewal")
    return [*found, "there are more: --json with --after NAME"] if told.more else found


async def _asked(settings: Settings, reactor: ReactorBase, ask: Callable[[Session], Coroutine[Any, Any, None]]) -> None:
    """Ask over the socket. Raises NotRunning, saying what to do about it, and what the metaserver refused with."""
    from buildtool.adapters.control.operator_endpoint import at_control_socket, connect_operator

    start = f"start it with bin/metaserver --config {settings.path}"
    try:
        with at_control_socket(IReactorUNIX(reactor), settings.state_dir) as endpoint:
            there = await connect_operator(endpoint, str(settings.state_dir), IReactorTime(reactor))
    except NotRunning as error:
        denied = isinstance(error.__cause__, PermissionError)
        raise NotRunning(f"{error}; {'use the account of the metaserver' if denied else start}") from error
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
    """Return whether an error comes from an answer that did not come in time."""
    while error is not None and not isinstance(error, TooLate):
        error = error.__cause__
    return error is not None


def _turns(told: ReactorTurns) -> str:
    within = (
        f"half within {told.p50_ms:g} ms, 99 % {told.p99_ms:g}, 99.9 % {told.p999_ms:g}, the longest {told.max_ms:g}"
    )
    return f"turns of the reactor in the last minutes: {within}; pauses for garbage up to {told.pause_max_ms:g}"


def status_lines(told: FarmStatus) -> list[str]:
    """Return the status of the farm, for people."""
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


def _row(one: ServerStatus) -> tuple[str, str, str]:
    return one.server, one.state, f"{one.running} of {one.slots}"


def _more(count: int) -> list[str]:
    return [f"  and {count} more"] if count > 0 else []


def _count(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _abort(said: argparse.Namespace) -> AttrsInstance:
    if said.target is None:
        return chosen(AbortSeveral, said, "BUILD")
    check_alone(said, f"build {said.target}")
    return AbortBuild(said.target, said.reason or "")


def _cancel(said: argparse.Namespace) -> AttrsInstance:
    if said.target is None:
        return chosen(CancelSeveral, said, "REQUEST")
    check_alone(said, f"request {said.target}")
    return Cancel(said.target, "")


def _drain(said: argparse.Namespace) -> AttrsInstance:
    if said.target is not None:
        return DrainServer(said.target, said.reason or "")
    if said.reason:
        raise UsageError("--reason says why a build server is drained: name it")
    return Drain(on=True)


ACTS = (
    Acting(
        "status", "show the status of the farm", "--json", lambda _said: AskFarmStatus(),
        answer=Answer(FarmStatus, status_lines),
    ),
    Acting(
        "pause", "give a build server nothing more until it is resumed", 'attic --reason "its disk is being replaced"',
        lambda said: PauseServer(said.target, said.reason or ""), "SERVER", _WHY,
    ),
    Acting(
        "drain", "give SERVER nothing more, and say when what runs there is done; or all: start no builds, and end",
        'attic --reason "its disk is being replaced"', _drain, "[SERVER]", _WHY,
    ),
    Acting(
        "undrain", "take drain back", "attic",
        lambda said: ResumeServer(said.target) if said.target is not None else Drain(on=False), "[SERVER]",
    ),
    Acting("resume", "give a build server builds again", "attic", lambda said: ResumeServer(said.target), "SERVER"),
    Acting(
        "forget", "forget a build server that does not come back", "attic",
        lambda said: ForgetServer(said.target), "SERVER",
    ),
    Acting(
        "abort", "end an open build, or all of a project, platform or person; who waits for it is mailed",
        '17 --reason "the branch was pushed by mistake"', _abort, "[BUILD]", (*_WHY, *CHOOSING),
    ),
    Acting(
        "cancel", "end a request that waits, or all of a project, platform or person; who asked is mailed",
        '--person anna@example.org --reason "her script went wild"', _cancel, "[REQUEST]", (*_WHY, *CHOOSING),
    ),
    Acting(
        "rebuild", "build again what a build built", "17 --mail anna@example.org",
        lambda said: RebuildBuild(said.target, said.mail or "", secrets.token_hex(16)), "BUILD", ("--mail",),
    ),
    Acting(
        "purge", "give out an artifact (id or SHA-256) no more, and delete it",
        '12 --reason "made with a broken compiler"',
        lambda said: PurgeArtifact(said.target, said.reason or ""), "ARTIFACT", _WHY,
    ),
    Acting(
        "purge-built-by", "do so with everything that a build server made", 'attic --reason "it was broken into"',
        lambda said: PurgeBuiltBy(said.target, said.reason or ""), "SERVER", _WHY,
    ),
    Acting(
        "forget-failure", "have a failed build tried when asked for", "17",
        lambda said: ForgetFailure(said.target), "BUILD",
    ),
    Acting(
        "invite", "print the line with which a machine or a person joins, once",
        "attic --owner anna@example.org", _invitation, "NAME",
        ("--role", "--owner", "--expires", "--replace", "--project", "--platform"),
        Answer(InvitationLine, lambda told: (told.line,), _voided),
    ),
    Acting(
        "list", "show who has a key, and who is invited", "--json", lambda _said: AskIdentities(),
        answer=Answer(Identities, identity_lines),
    ),
    Acting(
        "rotate-ca", "make a new authority, to which everybody who joined moves over by themselves", "",
        lambda _said: RotateAuthority(),
    ),
    Acting(
        "revoke", "let whoever has this name in no more: its connection ends at once, its key never comes back",
        'attic --reason "it was sold"', lambda said: RevokeOne(said.target, said.reason or ""), "NAME", _WHY,
    ),
)  # fmt: skip
"""What the metaserver that runs can be asked for."""


def commands(acts: Iterable[Acting]) -> tuple[Subcommand[int], ...]:
    """Return the same as commands of ``bin/metaserver``."""
    return tuple(
        Subcommand(it.name, it.words, it.typed, partial(_operate, it), it.argument, it.read, (*it.options, "--json"))
        for it in acts
    )
