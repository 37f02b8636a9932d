"""What startcompile.py does once its command line is read: asks, follows, fetches, and says how it ended.

Only what is needed for an answer is loaded at the start; what fetches, or speaks TLS, when it has to.
Tested by tests/programs/startcompile/test_main.py.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import define, fields, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime

from buildtool.adapters.host.detectors import DETECTORS, Detected, Machine
from buildtool.adapters.runtime.threads import Threads
from buildtool.configuration.given.values import given_to
from buildtool.errors import BuildToolError, OutputLost, Unavailable, UsageError
from buildtool.model.platforms import Value
from buildtool.model.properties import Role
from buildtool.model.trust.evidence import EvidencePolicy, SandboxLevel
from buildtool.programs.common.ending import with_command
from buildtool.programs.common.output import complain
from buildtool.programs.common.program import StopRequest, monotonic_reactor, run
from buildtool.programs.operating.choosing import check_alone
from buildtool.programs.startcompile.asking.wanted import BuildArguments, check_platform
from buildtool.programs.startcompile.command_line import Arguments
from buildtool.programs.startcompile.connecting import MetaserverConnector, as_answered, check_addressee, reached
from buildtool.programs.startcompile.consoles import JsonConsole, PlainConsole, SilentConsole
from buildtool.programs.startcompile.description_cache import keep
from buildtool.programs.startcompile.destination import FilePlace, OutputPlace
from buildtool.programs.startcompile.flags import AnyProject
from buildtool.programs.startcompile.places import NOWHERE
from buildtool.programs.startcompile.remote_acts import RemoteAct, act
from buildtool.programs.startcompile.reporting import interrupted, refused, report, shown_in_browser, shown_nowhere
from buildtool.protocol.hello import AskProjects, ProjectsDescribed
from buildtool.protocol.messages import AskExplain, AskStatus, AskWhy, Cancel, Submit
from buildtool.protocol.projects.described import read_told
from buildtool.requester.outcome import RequestResult, exit_of_error
from buildtool.requester.requester import Requester, RequestPlan

if TYPE_CHECKING:
    from twisted.internet.base import ReactorBase

    from buildtool.programs.common.joining import FarmEndpoint
    from buildtool.protocol.projects.described import DescribedProjects

__all__ = ["Errand", "Reading", "monotonic_reactor", "run"]

_DUMB = ("dumb", "unknown", "")
"""Terminals (``$TERM``) that show no more than lines."""


Work = Callable[[Requester], Coroutine[Any, Any, RequestResult | list[RequestResult]]]
"""What a command does once there is somebody to ask."""


@frozen
class Alone:
    """A command that needs no requester: it is run with the reactor and what was said, and returns the exit code."""

    run: Callable[[ReactorBase, Arguments], Awaitable[int]]


@frozen
class Reading:
    """A way to read the command line again once it is known which projects there are, or to show its help without.

    ``doubt`` is what was wrong with it as far as the projects were known before; another description may mend that.
    """

    again: Callable[[DescribedProjects | None], tuple[Arguments, Any]]
    help_without: Callable[[str], None]
    doubt: UsageError | None = None


@define
class Errand:
    """A command that is to be done, checked as far as that goes without the metaserver.

    Without ``work`` it is not known yet what is to be done, since which options there are is not. ``called`` is how
    the program is called to do more at the same metaserver.
    """

    said: Arguments
    work: Work | Alone | RemoteAct | None
    reading: Reading
    called: str

    async def run(self, reactor: ReactorBase, stop: StopRequest) -> int:
        """Run the command to its end, or until the program is asked to stop, and return the exit code."""
        try:
            return await self._done(reactor, stop)
        except OutputLost:
            raise
        except SystemExit as ended:  # after the help
            return int(ended.code or 0)
        except BuildToolError as error:
            return refused(error, wants_json=self.said.json)

    async def _done(self, reactor: ReactorBase, stop: StopRequest) -> int:
        said, timers, work = self.said, IReactorTime(reactor), self.work
        if isinstance(work, Alone):
            if said.where.http is not None and said.flags.http:
                raise UsageError("--http is for asking: this command speaks to the control port (say --host)")
            return await work.run(reactor, said)
        there = await reached(reactor, said)
        connect = there.connect
        if isinstance(work, RemoteAct):
            try:
                return await work.done(connect, said, reactor)
            finally:
                await connect.close()
        files = Threads(reactor, 1, "files")
        downloads = there.downloads(timers, files)
        console = console_of(said, timers)
        place = FilePlace(OutputPlace(said.output), files)
        owner = "" if there.farm is None else there.farm.own.owner
        requester = Requester(connect, downloads, console, place, timers, time.time, self.called, owner)
        working = Deferred.fromCoroutine(self._worked(connect, requester, there.farm))
        stopping = Deferred.fromCoroutine(stop.asked())
        stopping.addCallback(lambda _: working.cancel())
        over = None if said.deadline is None else timers.callLater(said.deadline, working.cancel)
        try:
            result = await working
        except CancelledError:
            console.close()
            late = over is not None and not over.active()
            result = interrupted(requester, self.said, late=late)
        except BuildToolError as error:
            result = RequestResult(exit_of_error(error), requester.told, error=self._told_by(connect.where, error))
        finally:
            if over is not None and over.active():
                over.cancel()
            console.close()
            await downloads.close()
            await connect.close()
            files.stop()
        results = result if isinstance(result, list) else [result]
        from buildtool.programs.startcompile.completing.own_requests import remember  # now that all is answered

        remember(said.where, [one.told for one in results if one.told is not None])
        return report(results, console.lost, wants_json=said.json, together=isinstance(result, list), last=said.streams)

    async def _worked(
        self, connect: MetaserverConnector, requester: Requester, farm: FarmEndpoint | None
    ) -> RequestResult | list[RequestResult]:
        """Do what was said, understood as the metaserver describes its projects. SystemExit after the help."""
        if self.said.wants:
            if self.work is not None:
                check_addressee(self.said, farm)
            await self._agree(connect)
            check_addressee(self.said, farm)
            if self.said.differs:
                name = self.said.asked[0].project.name
                complain(f"your configuration describes {name} otherwise than the metaserver: its description counts")
        work = self.work
        if work is None or isinstance(work, Alone | RemoteAct):
            raise UsageError("there is nothing to do")
        return await work(requester)

    async def _agree(self, connect: MetaserverConnector) -> None:
        """Read the command line again where the metaserver describes its projects otherwise than was known.

        Raises UsageError for what is wrong then too, and Unavailable.
        """
        doubt, known = self.reading.doubt, self.work is not None
        try:
            session = await connect.held(patient=known or (doubt is None and not self.said.help_wanted))
        except Unavailable as error:
            if self.said.help_wanted:
                self.reading.help_without(str(error))
            raise (doubt or error) from error
        theirs = session.projects
        if not theirs or (theirs == self.said.digest and known):
            if known:
                return
            connect.drop()
            if doubt is None and self.said.settings is None:
                raise UsageError(
                    f"the metaserver at {connect.where} does not describe its projects: name a config.py with --config"
                )
            self.said, self.work = self.reading.again(None)
            return
        told = await session.ask(AskProjects(), ProjectsDescribed)
        projects = read_told(told, connect.where)
        keep(self.said.where.asked, told)
        try:
            self.said, self.work = self.reading.again(projects)
        except BaseException:
            connect.drop()
            raise

    def _told_by(self, where: str, error: BuildToolError) -> BuildToolError:
        """Return an error in words that say whose it is; the values of compile options were checked here before."""
        asked = self.said.asked
        if isinstance(error, UsageError) and not asked:
            return error
        return as_answered(
            with_command(error), where, [one.flag for one in asked[0].project.options.compile] if asked else ()
        )


# --- commands ---------------------------------------------------------------------------------------------


def ask(said: Arguments) -> Work:
    """Return what asks for builds. Raises UsageError for what cannot be, before anybody is asked."""
    if any(one.latest for one in said.asked):
        from buildtool.programs.startcompile.asking.newest import latest

        check_output(said, len(said.asked))
        return latest(said, local_of(said))
    plans = [RequestPlan(submit, said.foreground, said.download) for submit in submits(said)]
    check_output(said, len(plans))
    if len(plans) == 1:
        return lambda requester: requester.ask(plans[0])
    return lambda requester: requester.ask_together(plans)


def check_output(said: Arguments, count: int) -> None:
    """Raise UsageError where so many artifacts cannot be written where the command line says."""
    place = OutputPlace(said.output)
    if said.download:
        place.check()
    if count > 1 and said.output and said.download and not place.is_directory():
        raise UsageError(f"--output: several artifacts need a directory, and {said.output} is none")


def explain(said: Arguments) -> Work:
    """Return what asks for nothing, and says what would be answered. Raises UsageError."""
    several = submits(said)
    if any(one.latest for one in said.asked):
        raise UsageError("explain says what would be built, and --latest builds nothing: leave one of them out")
    if len(several) > 1:
        raise UsageError("explain is about one combination: say each option once")
    question = AskExplain(**{one.name: getattr(several[0], one.name) for one in fields(AskExplain)})
    (asked,) = said.asked
    follows = asked.project.options.followed(asked.compile)
    return lambda requester: requester.explain(question, follows)


def cancel(said: Arguments) -> Work | RemoteAct:
    """Return what ends one request, or several. Raises UsageError."""
    if said.target is None:
        return act("cancel", said)
    check_alone(said.flags, f"request {said.target[0]}")
    return lambda requester: requester.cancel(Cancel(*said.target))


def join(said: Arguments) -> Alone:
    """Return what joins a farm by the line of an invitation, for which no key is needed. Raises UsageError."""
    from buildtool.programs.common.joining import said_join_line
    from buildtool.programs.startcompile.logging_in import joined

    line = said_join_line(said.target, given_to(said.flags))
    if line is None:
        raise UsageError("join needs the line of an invitation: itself, a file with it, - or $BUILDTOOL_JOIN")
    return Alone(lambda reactor, said: joined(reactor, line, said))


def login(said: Arguments) -> Alone:
    """Return what logs in with a code that is mailed. Raises UsageError."""
    from buildtool.programs.startcompile.logging_in import Login

    wish = Login.of(said.target, said.code, said.fingerprint, wants_json=said.json)
    if not said.addresses:
        raise UsageError(NOWHERE)
    return Alone(lambda reactor, said: wish.run(reactor, said.addresses))


def logout(said: Arguments) -> Alone:
    """Return what gives up the own key. Raises UsageError."""
    if not said.addresses:
        raise UsageError(NOWHERE)
    from buildtool.programs.startcompile.logging_in import Logout

    return Alone(lambda reactor, said: Logout(said.json).run(reactor, said.addresses))


def look_around(_said: Arguments) -> Alone:
    """Return what looks at all that keeps one from asking."""
    from buildtool.programs.doctors.startcompile import examined

    return Alone(examined)


def follow(said: Arguments) -> Work:
    """Return what waits for a request that was made before. Raises UsageError."""
    if said.download:
        OutputPlace(said.output).check()
    question = AskStatus(*said.target)
    policy = _demanded(said)
    return lambda requester: requester.follow(question, wait=True, download=said.download, policy=policy)


def download(said: Arguments) -> Work:
    """Return what fetches the artifact of a request that was made before. Raises UsageError."""
    OutputPlace(said.output).check()
    question = AskStatus(*said.target)
    policy = _demanded(said)
    return lambda requester: requester.follow(question, wait=False, download=True, policy=policy)


def _demanded(said: Arguments) -> EvidencePolicy:
    """Return the least evidence that is taken of what was asked for before."""
    return EvidencePolicy(getattr(said.flags, "sandbox", None) or SandboxLevel.NONE)


def browse(said: Arguments) -> Work:
    """Return what says where the page of a request's build is, and shows it where there is a screen."""
    question = AskStatus(*said.target)
    return lambda requester: requester.page(question, shown_nowhere if said.json else shown_in_browser)


def why(said: Arguments) -> Work:
    """Return what asks why a request waits."""
    return lambda requester: requester.why(AskWhy(*said.target))


def submits(said: Arguments) -> list[Submit]:
    """Return what is asked for as messages. Raises UsageError for options that contradict each other."""
    local = local_of(said)
    return [_submit(one, local) for one in said.asked]


def local_of(said: Arguments) -> dict[str, Value]:
    """Return what is asked for of this machine's. Raises UsageError for options that contradict each other."""
    local = detected(said.asked[0].project, DETECTORS)
    for one in said.asked:
        check_platform(one, local)
    return local


def _submit(asked: BuildArguments, local: dict[str, Value]) -> Submit:
    return Submit(
        client_id=os.urandom(16).hex(),
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
        sandbox=asked.sandbox or SandboxLevel.NONE,
        nice=asked.nice,
        supersede=asked.supersede,
    )


def detected(project: AnyProject, detectors: Mapping[str, object]) -> dict[str, Value]:
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


def console_of(said: Arguments, timers: IReactorTime) -> SilentConsole:
    """Return the display that fits what was said and where it is shown."""
    if said.command == "log" and not said.json:
        return PlainConsole(mark="")
    if said.json:
        return JsonConsole(time.time) if said.streams else SilentConsole()
    if not sys.stdout.isatty() or os.environ.get("TERM", "dumb") in _DUMB:
        return PlainConsole()
    from buildtool.programs.startcompile.terminal import TerminalConsole

    return TerminalConsole(timers)
