"""bin/startcompile.py: ask for a binary, and have it, or be told by mail."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from attrs import fields, frozen
from twisted.internet.base import ReactorBase
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime

from buildtool.adapters.host.detectors import DETECTORS, Detected, Machine
from buildtool.adapters.http.transfer_client import TransferClient
from buildtool.adapters.runtime.threads import Threads
from buildtool.configuration.settings import load_settings
from buildtool.errors import BuildToolError, OutputLost, OutputUnread, UsageError
from buildtool.model.access.join_line import JoinLine
from buildtool.model.platforms import Value
from buildtool.model.properties import Role
from buildtool.model.text import one_line
from buildtool.programs.common.joining import said_join_line
from buildtool.programs.common.output import complain, say
from buildtool.programs.common.program import StopRequest, run, whole
from buildtool.programs.common.reaching import reach
from buildtool.programs.common.subcommands import Subcommand, Subcommands
from buildtool.programs.common.updating import with_command
from buildtool.programs.operating.several import check_alone
from buildtool.programs.startcompile.command_line import (
    Arguments,
    BuildArguments,
    check_platform,
    parse,
    read_request_id,
)
from buildtool.programs.startcompile.connecting import (
    MetaserverConnector,
    addressed,
    as_answered,
    check_addressee,
    joined,
)
from buildtool.programs.startcompile.consoles import PlainConsole, SilentConsole
from buildtool.programs.startcompile.destination import FilePlace, OutputPlace
from buildtool.programs.startcompile.flags import ASKING, EVERYWHERE, LOGGING_IN
from buildtool.programs.startcompile.logging_in import Login, Logout
from buildtool.programs.startcompile.remote_acts import REMOTE_COMMANDS, REMOTE_OPTIONS, RemoteAct, act, options_of
from buildtool.project.definition import Project
from buildtool.protocol.messages import AskExplain, AskWhy, Cancel, Submit
from buildtool.requester.matrix import worst
from buildtool.requester.outcome import MEANINGS, ExitCode, RequestResult, all_as_json, as_json, exit_of_error
from buildtool.requester.requester import Requester, RequestPlan
from buildtool.requester.text import how_to_go_on, request_id_words, waits

PROGRAM = "startcompile.py"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    return whole(PROGRAM, partial(_run, sys.argv[1:] if arguments is None else arguments))


def _run(words: Sequence[str]) -> int:
    try:
        command, said = parse(COMMAND_LINE, words, partial(load_settings, secrets=False))
        errand = _Errand(said, command.run(said))
    except OutputLost:  # of the help
        raise
    except BuildToolError as error:
        return _refused(error, wants_json="--json" in words)
    return run(PROGRAM, errand.run)


Work = Callable[[Requester], Coroutine[Any, Any, RequestResult | list[RequestResult]]]
"""What a command does once there is somebody to ask."""


@frozen
class _Errand:
    """What is to be done, checked as far as that goes without the metaserver; without ``work`` it is to look around."""

    said: Arguments
    work: Work | JoinLine | Login | Logout | RemoteAct | None

    async def run(self, reactor: ReactorBase, stop: StopRequest) -> int:
        """Do it, until it is done or the program is asked to stop; print what was refused, and return the exit code."""
        try:
            return await self._done(reactor, stop)
        except OutputLost:
            raise
        except BuildToolError as error:
            return _refused(error, wants_json=self.said.json)

    async def _done(self, reactor: ReactorBase, stop: StopRequest) -> int:
        said, timers = self.said, IReactorTime(reactor)
        work = self.work
        if isinstance(work, JoinLine):
            return await joined(reactor, work, said)
        if isinstance(work, Login | Logout):
            return await work.run(reactor, said.addresses)
        if work is None:
            from buildtool.programs.doctors.startcompile import examined

            return await examined(reactor, said)
        there = reach(reactor, *await addressed(reactor, said))
        role = "requester" if there.farm is None else there.farm.own.role
        check_addressee(said, there.farm)
        connect = MetaserverConnector(there.ways, there.where, timers, role)
        if isinstance(work, RemoteAct):
            return await work.done(connect, said, reactor)
        files = Threads(reactor, 1, "files")
        downloads = TransferClient(timers, files, farm=there.transfers)
        console = _console(said, timers)
        place = FilePlace(OutputPlace(said.output), files)
        owner = "" if there.farm is None else there.farm.own.owner
        requester = Requester(connect, downloads, console, place, timers, sys.argv[0] or PROGRAM, owner)
        working = Deferred.fromCoroutine(work(requester))
        stopping = Deferred.fromCoroutine(stop.asked())
        stopping.addCallback(lambda _: working.cancel())
        try:
            result = await working
        except CancelledError:
            console.close()
            result = _interrupted(requester, said)
        except BuildToolError as error:
            result = RequestResult(exit_of_error(error), requester.told, error=self._told_by(connect.where, error))
        finally:
            console.close()
            await downloads.close()
            files.stop()
        results = result if isinstance(result, list) else [result]
        return _report(results, console.lost, wants_json=said.json, together=isinstance(result, list))

    def _told_by(self, where: str, error: BuildToolError) -> BuildToolError:
        """Return an error in words that say whose it is; the values of compile options were checked here before."""
        asked = self.said.asked
        return as_answered(
            with_command(error), where, [one.flag for one in asked[0].project.options.compile] if asked else ()
        )


# --- commands ---------------------------------------------------------------------------------------------


def _ask(said: Arguments) -> Work:
    """Return what asks for builds. Raises UsageError for what cannot be, before anybody is asked."""
    plans = [RequestPlan(submit, said.foreground, said.download) for submit in _submits(said)]
    place = OutputPlace(said.output)
    if said.download:
        place.check()
    if len(plans) == 1:
        return lambda requester: requester.ask(plans[0])
    if said.output and said.download and not place.is_directory():
        raise UsageError(f"--output: several artifacts need a directory, and {said.output} is none")
    return lambda requester: requester.ask_together(plans)


def _explain(said: Arguments) -> Work:
    submits = _submits(said)
    if len(submits) > 1:
        raise UsageError("explain is about one combination: say each option once")
    question = AskExplain(**{one.name: getattr(submits[0], one.name) for one in fields(AskExplain)})
    return lambda requester: requester.explain(question)


def _cancel(said: Arguments) -> Work | RemoteAct:
    if said.target is None:
        return act("cancel", said)
    check_alone(said.flags, f"request {said.target[0]}")
    return lambda requester: requester.cancel(Cancel(*said.target))


def _join(said: Arguments) -> JoinLine:
    """Return the line with which a farm is joined: who joins is nobody there yet, so nothing is asked as somebody.

    Raises UsageError.
    """
    line = said_join_line(said.target)
    if line is None:
        raise UsageError("join needs the line of an invitation: itself, a file with it, - or $BUILDTOOL_JOIN")
    return line


def _login(said: Arguments) -> Login:
    return Login.of(said.target, said.code, said.fingerprint, wants_json=said.json)


def _why(said: Arguments) -> Work:
    return lambda requester: requester.why(AskWhy(*said.target))


_ASKING = tuple(ASKING)

COMMAND_LINE: Subcommands[Work | JoinLine | Login | Logout | RemoteAct | None] = Subcommands(
    PROGRAM,
    "Ask for a binary: at once if there is one that will do, otherwise it is built and EMAIL is told (without one, the "
    "address of your key).",
    (
        Subcommand(
            "ask", "ask for a binary", "--revision v1.2 --arch powerpc --foreground anna@example.org",
            _ask, options=_ASKING, words="[EMAIL]",
        ),
        Subcommand(
            "matrix", "ask for several at once: in each line of FILE options, added to those given",
            "matrix builds.txt --foreground anna@example.org", _ask, "FILE", Path, _ASKING, "[EMAIL]",
        ),
        Subcommand(
            "explain", "ask for nothing: say what would be answered, and why", "explain --arch powerpc",
            _explain, options=_ASKING, words="[EMAIL]",
        ),
        Subcommand(
            "join", "join a farm with the line of an invitation (or a file with it, or -), once on each machine",
            "join invitation.txt", _join, "[LINE]",
        ),
        Subcommand(
            "login", "have a code mailed, and join a farm with it; without a terminal, say --code in a second call",
            "login anna@example.org", _login, "EMAIL", options=tuple(LOGGING_IN),
        ),
        Subcommand("logout", "give up the key that login or join brought", "logout", lambda said: Logout(said.json)),
        Subcommand(
            "doctor", "look at all that keeps you from asking, and say how to mend it",
            "doctor --host farm.example.org", lambda _said: None,
        ),
        Subcommand("why", "say why a request waits, and until when", "why 12-abcdef", _why, "ID", read_request_id),
        Subcommand(
            "cancel", "end a request, whose ID was told when it was accepted, or all of a project, platform or person",
            "cancel 12-abcdef", _cancel, "[ID]", read_request_id, options_of("cancel"),
        ),
        *REMOTE_COMMANDS,
    ),
    {**EVERYWHERE, **ASKING, **LOGGING_IN, **REMOTE_OPTIONS},
    MEANINGS,
    tuple(EVERYWHERE),
)  # fmt: skip
"""Everything that can be said to the program."""


def _submits(said: Arguments) -> list[Submit]:
    """Return what is asked for as messages. Raises UsageError for options that contradict each other."""
    local = detected(said.asked[0].project, DETECTORS)
    for one in said.asked:
        check_platform(one, local)
    return [_submit(one, local) for one in said.asked]


def _submit(asked: BuildArguments, local: dict[str, Value]) -> Submit:
    return Submit(
        client_id=uuid.uuid4().hex,
        project=asked.project.name,
        email=asked.email,
        source=asked.tool.get("source", ""),
        revision=asked.tool.get("revision", ""),
        revrange=asked.tool.get("revrange", ""),
        compile=asked.compile,
        system=asked.system,
        local=local,
        force=asked.force,
        native=asked.native,
    )


def detected(project: Project, detectors: Mapping[str, object]) -> dict[str, Value]:
    """Return the artifact properties of this machine that the project looks at and that can be known here.

    A value that the project's own description does not accept is left out. Raises UsageError without a current
    directory, beside which nothing of this machine can be looked at.
    """
    try:
        machine = Machine(Path.cwd())
    except OSError as error:
        raise UsageError("the current directory is not there any more: cd to another one") from error
    found: dict[str, Value] = {}
    for item in project.options.system:
        detector = detectors.get(item.detector)
        if item.role is not Role.ARTIFACT or not callable(detector):
            continue
        value: Detected = detector(machine)
        if value is not None:
            try:
                found[item.name] = item.option.check(value)
            except UsageError:
                continue  # such as an architecture that the project does not list: it has to be asked for
    return found


def _console(said: Arguments, timers: IReactorTime) -> SilentConsole:
    if said.json or not sys.stdout.isatty():
        return SilentConsole() if said.json else PlainConsole()
    from buildtool.programs.startcompile.terminal import TerminalConsole

    return TerminalConsole(timers)


def _interrupted(requester: Requester, said: Arguments) -> RequestResult:
    """Print how to go on after an interruption, and return the result."""
    told = requester.told
    if told is not None and said.asked and waits(told) and not said.json:
        complain("interrupted; the request goes on")
        for line in how_to_go_on(told, said.asked[0].email or requester.owner, requester.program):
            complain(line)
    elif not said.json:
        complain("interrupted")
    return RequestResult(ExitCode.INTERRUPTED, told)


def _refused(error: BuildToolError, *, wants_json: bool) -> int:
    return _report([RequestResult(exit_of_error(error), error=error)], None, wants_json=wants_json)


def _report(
    results: Sequence[RequestResult], lost: OutputLost | None, *, wants_json: bool, together: bool = False
) -> int:
    """Print what ``--json`` promises, or the error in one line; return the exit code, that of the worst.

    ``lost`` is why something of what was shown before could not be: then how to go on is said again on stderr.
    """
    code = worst(results) if together else results[0].exit
    if wants_json:
        told = all_as_json(results, code) if together else as_json(results[0])
        try:
            say(json.dumps(told, sort_keys=True))
        except OutputLost as error:
            lost = error
    if results[0].error is not None and not together:
        complain(f"{PROGRAM}: {one_line(str(results[0].error))}")
    if lost is None:
        return int(code)
    if not isinstance(lost, OutputUnread):
        complain(f"{PROGRAM}: {lost}")
        for waiting in (result.told for result in results if result.told is not None and waits(result.told)):
            complain(f"{PROGRAM}: request {request_id_words(waiting)} goes on; the command cancel takes it back")
    return int(code or (ExitCode.UNREAD if isinstance(lost, OutputUnread) else ExitCode.INTERNAL))
