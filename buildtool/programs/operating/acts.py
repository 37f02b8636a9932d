"""The acts that operators, owners and observers ask for: each made of what was said, asked, and told line by line.

``metaserver/operator_commands.py`` describes them for command lines, which load this only once something is asked for.
Tested by tests/programs/metaserver/test_operator_commands.py.
"""

from __future__ import annotations

import argparse
import json
import secrets
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import AttrsInstance, asdict, frozen
from twisted.internet.base import ReactorBase
from twisted.internet.defer import TimeoutError as TooLate
from twisted.internet.error import ConnectionRefusedError as NobodyListens
from twisted.internet.interfaces import IReactorTime, IReactorUNIX

from buildtool.errors import NotRunning, Unavailable, UsageError
from buildtool.model.records import RequestState
from buildtool.model.text import duration_words, moment_words, printable
from buildtool.programs.common.ending import EXIT_OK
from buildtool.programs.common.output import called, complain, say
from buildtool.programs.common.program import StopRequest, run
from buildtool.programs.operating import token_acts
from buildtool.programs.operating.answers import Answer
from buildtool.programs.operating.choosing import check_alone
from buildtool.programs.operating.draining import drain_server
from buildtool.programs.operating.several import chosen, end_several
from buildtool.programs.operating.target_lines import target_lines
from buildtool.programs.operating.terminal import typed
from buildtool.programs.operating.trigger_lines import trigger_lines
from buildtool.programs.operating.watch_lines import watch_lines
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
    LowerRequest,
    PauseServer,
    PurgeArtifact,
    PurgeBuiltBy,
    RaiseRequest,
    RebuildBuild,
    ResumeServer,
    ServerStatus,
)
from buildtool.protocol.projects.targets import AskTargets, TargetsFound, TryTargets
from buildtool.protocol.projects.triggers import AskTriggers, LookNow, TriggersFound
from buildtool.protocol.projects.watches import AskWatches, EndWatch, WatchesFound

if TYPE_CHECKING:
    from buildtool.adapters.control.client import Session
    from buildtool.configuration.settings import Settings
    from buildtool.ports.requester import MetaserverClient

PROGRAM = "metaserver"


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
        return [f"nobody has a key and nobody is invited: {called('metaserver')} invite NAME invites"]
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
    from buildtool.adapters.storage.directory_lock import holder

    start = f"start it with {called('metaserver')} --config {settings.path}"
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


def _rounds(said: argparse.Namespace) -> int:
    if said.rounds is None:
        raise UsageError("say by how many rounds: --rounds N")
    rounds: int = said.rounds
    return rounds


def _lower(said: argparse.Namespace) -> LowerRequest:
    request_id, token = said.target if isinstance(said.target, tuple) else (said.target, "")
    return LowerRequest(request_id, _rounds(said), token)


def _drain(said: argparse.Namespace) -> AttrsInstance:
    if said.target is not None:
        return DrainServer(said.target, said.reason or "")
    if said.reason:
        raise UsageError("--reason says why a build server is drained: name it")
    return Drain(on=True)


_ACTED = Answer(ActionResult, lambda told: told.words)


MAKERS: Mapping[str, Callable[[argparse.Namespace], AttrsInstance]] = {
    **token_acts.MAKERS,
    "status": lambda _said: AskFarmStatus(),
    "pause": lambda said: PauseServer(said.target, said.reason or ""),
    "drain": _drain,
    "undrain": lambda said: ResumeServer(said.target) if said.target is not None else Drain(on=False),
    "resume": lambda said: ResumeServer(said.target),
    "forget": lambda said: ForgetServer(said.target),
    "abort": _abort,
    "cancel": _cancel,
    "raise": lambda said: RaiseRequest(said.target, _rounds(said)),
    "lower": _lower,
    "rebuild": lambda said: RebuildBuild(said.target, said.mail or "", secrets.token_hex(16)),
    "purge": lambda said: PurgeArtifact(said.target, said.reason or ""),
    "purge-built-by": lambda said: PurgeBuiltBy(said.target, said.reason or ""),
    "forget-failure": lambda said: ForgetFailure(said.target),
    "invite": _invitation,
    "list": lambda _said: AskIdentities(),
    "triggers": lambda _said: AskTriggers(),
    "look": lambda said: LookNow(said.target),
    "told": lambda _said: AskTargets(),
    "tell-test": lambda said: TryTargets(said.target),
    "watches": lambda _said: AskWatches(),
    "unwatch": lambda said: EndWatch(said.target),
    "rotate-ca": lambda _said: RotateAuthority(),
    "revoke": lambda said: RevokeOne(said.target, said.reason or ""),
}  # fmt: skip
"""What each command asks for, made of what was said."""

ANSWERS: Mapping[str, Answer[Any]] = {
    **token_acts.ANSWERS,
    "status": Answer(FarmStatus, status_lines),
    "invite": Answer(InvitationLine, lambda told: (told.line,), _voided),
    "list": Answer(Identities, identity_lines),
    "triggers": Answer(TriggersFound, trigger_lines),
    "told": Answer(TargetsFound, target_lines),
    "watches": Answer(WatchesFound, watch_lines),
}
"""What those are answered with that get more than the words of an ActionResult."""


@frozen
class OperatorAct:
    """One act that is asked for, by the name of its command, and how its answer is told."""

    name: str
    message: AttrsInstance

    @classmethod
    def of(cls, name: str, said: argparse.Namespace) -> OperatorAct:
        """Return the act that the command of this name makes of what was said. Raises UsageError."""
        return cls(name, MAKERS[name](said))

    @property
    def answer(self) -> Answer[Any]:
        """What it is answered with."""
        return ANSWERS.get(self.name, _ACTED)

    def told(self, answer: AttrsInstance, *, as_json: bool) -> str:
        """Return what is printed of an answer."""
        return json.dumps(asdict(answer)) if as_json else "\n".join(map(printable, self.answer.lines(answer)))

    async def done(self, there: MetaserverClient, said: argparse.Namespace, reactor: ReactorBase) -> None:
        """Ask for it, in as many steps as it takes, and print what comes of it."""
        act = self.message
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


def operate(name: str, said: argparse.Namespace) -> int:
    """Ask the metaserver that runs, print its answer, and return the exit code."""
    return perform(partial(OperatorAct.of, name, said), said)


def perform(make: Callable[[], OperatorAct], said: argparse.Namespace) -> int:
    """Ask the metaserver that runs for the act that is made, print its answer, and return the exit code."""
    from buildtool.programs.common.given.settings_of import settings_of

    settings = settings_of(said, secrets=False)
    act = make()

    async def ask(reactor: ReactorBase, _stop: StopRequest) -> int:
        await _asked(settings, reactor, lambda there: act.done(there, said, reactor))
        return EXIT_OK

    return run(PROGRAM, ask, verbose=said.verbose)
