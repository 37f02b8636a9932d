"""``bin/buildserver.py``: offers this machine to a metaserver and builds what it is given."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import BinaryIO

from attrs import field, frozen
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred, race
from twisted.logger import Logger

from buildtool.adapters.detect import Machine, detect_machine
from buildtool.adapters.downloads import TransferClient
from buildtool.adapters.executors import Threads
from buildtool.adapters.fair_pool import FairPool
from buildtool.adapters.groups import mark_for
from buildtool.adapters.instance import load_instance
from buildtool.adapters.pb_link import KEEPALIVE, Backoff, BuildServerLink
from buildtool.adapters.privacy import make_private
from buildtool.adapters.processes import Processes
from buildtool.adapters.processors import usable_processors
from buildtool.adapters.reaching import machine_at
from buildtool.adapters.reaping import Keepers
from buildtool.adapters.spool import Spool
from buildtool.adapters.vcs import Checkouts
from buildtool.adapters.vcs_git import GitMirror
from buildtool.adapters.vcs_svn_command import SvnCommand
from buildtool.adapters.vcs_svn_copies import SvnSources
from buildtool.adapters.vcs_worktrees import Worktrees
from buildtool.adapters.workshop import RecipeCommands, Slots, changing
from buildtool.attempt import Tools
from buildtool.buildserver import BuildServer, Offered
from buildtool.delivering import Deliveries
from buildtool.domain.hosts import at_port
from buildtool.domain.model import Offer, OfferKind
from buildtool.entry import draining
from buildtool.entry.capability import Announced, announced, restricted
from buildtool.entry.common import (
    EXIT_CODES,
    EXIT_OK,
    EXIT_REFUSED,
    EXIT_UNAVAILABLE,
    Stop,
    command_line,
    host_flag,
    refuse,
    run,
    software,
    whole,
)
from buildtool.entry.output import say
from buildtool.entry.platforms import look_around
from buildtool.errors import BuildToolError, ConfigurationError, UsageError
from buildtool.ports import Executor, Halt, Halted
from buildtool.project import tools_named
from buildtool.protocol import Register
from buildtool.settings import Settings, load_settings, need_projects

log = Logger()

PROGRAM = "buildserver.py"
MOST_BUILDS = 64
THREADS = 8

THREADS_GRACE = 5.0
"""Seconds in which threads have to end what they do when the program ends; all that matters was waited for by then."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")


@frozen
class Place:
    """Where this build server keeps its files; each name has a place of its own, so several run on one machine."""

    top: Path

    @property
    def mirrors(self) -> Path:
        return self.top / "mirrors"

    @property
    def subversion(self) -> Path:
        return self.top / "subversion"

    @property
    def sources(self) -> Path:
        return self.top / "sources"

    @property
    def slots(self) -> Path:
        return self.top / "slots"

    @property
    def spool(self) -> Path:
        return self.top / "spool"

    @property
    def stamp(self) -> Path:
        return self.top / draining.STAMP

    def close_to_others(self) -> None:
        """See to it that nobody else reads or writes here, and log what was open. Raises ConfigurationError."""
        try:
            opened = make_private([self.top, self.mirrors, self.subversion, self.sources, self.slots, self.spool])
        except OSError as error:
            raise ConfigurationError(f"build_dir: cannot write in {self.top}: {error.strerror}") from error
        for line in opened:
            log.warn("{line}", line=line)

    def lock(self) -> BinaryIO:
        """Make the place this program's own until the returned file is closed. Raises ConfigurationError."""
        try:
            self.top.mkdir(mode=0o700, parents=True, exist_ok=True)
            stream = (self.top / "lock").open("ab")
        except OSError as error:
            raise ConfigurationError(f"build_dir: cannot write in {self.top}: {error.strerror}") from error
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            stream.close()
            raise ConfigurationError(
                f"another build server works in {self.top}: give this one another --name"
            ) from error
        return stream


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    return whole(PROGRAM, partial(_run, arguments))


def _run(arguments: Sequence[str] | None) -> int:
    said = _parser().parse_args(arguments)
    if said.json and not said.show_info:
        raise UsageError("--json goes with --show-info (--help shows an example)")
    settings = load_settings(said.config, secrets=False)
    name = _checked_name(said.name or socket.gethostname())
    place = Place(settings.build_dir / name)
    detected = detect_machine(place.slots, tools_named(settings.projects))
    survey, choice = look_around(said.platforms, detected, cross=said.cross, path=said.toolchains)
    everything = announced(
        settings.projects,
        detected,
        max_builds=said.max_builds,
        admin=said.admin,
        software=software(),
        found=survey,
        time_limit=said.time_limit,
    )
    found = restricted(everything, choice)
    if said.show_info:
        say(as_json(name, found) if said.json else as_text(name, found))
        return EXIT_OK
    need_projects(settings)
    with place.lock():
        instance = load_instance(place.top)
        return run(
            PROGRAM,
            lambda reactor, stop: _serve(_Program(settings, name, place, found, said, instance), reactor, stop),
            verbose=said.verbose,
        )


def _parser() -> argparse.ArgumentParser:
    parser = command_line(
        PROGRAM,
        "Offer this machine to a metaserver: take builds, compile, deliver. SIGTERM hands running builds back; SIGHUP "
        "finishes them first.",
        "bin/buildserver.py --config farm/config.py --name attic --max-builds 2",
        EXIT_CODES
        | {
            EXIT_UNAVAILABLE: "the metaserver cannot be reached: as many logins failed as --maxretries says",
            EXIT_REFUSED: "refused by the metaserver, which speaks another version of the protocol",
        },
    )
    parser.add_argument("--name", default="", help="what the farm knows this machine as (default: its host name)")
    parser.add_argument(
        "--max-builds", type=_number(1, MOST_BUILDS), default=1, metavar="N", help="builds at once (default 1)"
    )
    parser.add_argument(
        "--platforms",
        metavar="NAMES",
        help="offer only these, such as native,ppc: kinds (native, cross, emulated), architectures or triples",
    )
    parser.add_argument("--no-cross", dest="cross", action="store_false", help="look for no cross compilers")
    parser.add_argument(
        "--toolchains", type=Path, metavar="FILE", help="a TOML file of toolchains that are not found by themselves"
    )
    parser.add_argument(
        "--host", type=host_flag, default=None, help="where the metaserver is (default: host of the configuration)"
    )
    parser.add_argument(
        "--port", type=_number(1, 65535), default=0, help="its control port (default: pb_port of the configuration)"
    )
    parser.add_argument(
        "--time-limit", type=_number(1, 10**7), metavar="S", help="seconds that one build may take here (default: any)"
    )
    parser.add_argument(
        "--admin",
        default="",
        metavar="TEXT",
        help="whom to ask, shown to everybody; an e-mail address is mailed when this machine is missing",
    )
    parser.add_argument(
        "--maxdelay", type=_number(1, 86400), default=300, metavar="S", help="most seconds between logins (default 300)"
    )
    parser.add_argument(
        "--maxretries", type=_number(1, 10**6), metavar="N", help="end when N logins in a row failed (default: never)"
    )
    parser.add_argument(
        "--keepalive",
        type=_number(1, 3600),
        default=int(KEEPALIVE),
        metavar="S",
        help=f"seconds between heartbeats, at most a quarter of the lease (default {KEEPALIVE:g})",
    )
    parser.add_argument("--show-info", action="store_true", help="say what this machine offers, and end")
    parser.add_argument("--json", action="store_true", help="with --show-info: as JSON")
    return parser


def _number(least: int, most: int) -> Callable[[str], int]:
    """Return a converter for argparse that accepts the whole numbers of a range."""

    def number(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
        return int(text)

    return number


def _checked_name(name: str) -> str:
    if not _NAME.match(name):
        raise UsageError(f"--name {name!r} is not usable: letters, digits, dot, - and _, at most 63")
    return name


# --- showing --------------------------------------------------------------------------------------------


def as_json(name: str, found: Announced) -> str:
    """Return what is announced as JSON."""
    data = {
        "name": name,
        "software": found.software,
        "max_builds": found.max_builds,
        "time_limit": found.time_limit,
        "offers": [_offer_as_json(offer) for offer in found.offers],
        "rejected": [{"triple": one.triple, "why": one.why} for one in found.rejected],
        "machine": dict(found.machine),
        "detected": dict(found.detected),
        "projects": [{"name": skill.project, "recipe": skill.recipe_version} for skill in found.skills],
    }
    return json.dumps(data, indent=2, sort_keys=True)


def _offer_as_json(offer: Offer) -> dict[str, object]:
    tools = dict(offer.tools)
    return {
        "kind": offer.kind.value,
        "platform": dict(offer.platform),
        "compiler": tools.get("CC_VERSION"),
        "emulator": tools.get("RUN"),
        "tools": tools,
    }


def as_text(name: str, found: Announced) -> str:
    """Return what is announced, for people."""
    rows = [("name", name), ("software", found.software), ("builds at once", str(found.max_builds))]
    rows += [] if found.time_limit is None else [("time limit", f"{found.time_limit} s for one build")]
    rows += [(label, _words(value)) for label, value in found.detected.items()]
    for offer in found.offers:
        rows += _offer_as_rows(offer)
    rows += [("not usable", f"{one.triple}: {one.why}") for one in found.rejected]
    rows += [("project", f"{skill.project}, recipe {skill.recipe_version}") for skill in found.skills]
    width = max(len(label) for label, _ in rows)
    return "\n".join(f"{label:<{width}}  {words}" for label, words in rows)


def _offer_as_rows(offer: Offer) -> list[tuple[str, str]]:
    tools = dict(offer.tools)
    compiler, emulator = tools.pop("CC_VERSION", "unknown"), tools.pop("RUN", "")
    rows = [
        (f"builds {offer.kind.value}", " ".join(f"{name}={_words(value)}" for name, value in offer.platform)),
        ("  with", " ".join(f"{role}={tool}" for role, tool in tools.items()) or "no tools"),
        ("  compiler", compiler),
    ]
    if offer.kind is OfferKind.CROSS:
        rows.append(("  emulator", emulator or "none: what is built for it is not run here"))
    return rows


def _words(value: object) -> str:
    if value is None:
        return "unknown"
    return " ".join(value) if isinstance(value, tuple) else str(value)


# --- serving --------------------------------------------------------------------------------------------


@frozen
class _Program:
    settings: Settings
    name: str
    place: Place
    found: Announced
    said: argparse.Namespace
    instance: str = field(repr=False)


def _sources(place: Place, pool: Executor, closing: ExitStack) -> Checkouts:
    """Return what checks out; a checkout that nobody waits for any more ends."""
    turns = FairPool(pool, THREADS)
    mirror = GitMirror(place.mirrors, turns)
    closing.callback(mirror.close)
    svn = SvnCommand(place.subversion)
    closing.callback(svn.close)
    return Checkouts(git=Worktrees(mirror, place.sources, turns), svn=SvnSources(svn, place.sources / "svn", turns))


async def _serve(program: _Program, reactor: ReactorBase, stop: Stop) -> int:
    settings, place, said, found = program.settings, program.place, program.said, program.found
    if os.geteuid() == 0:
        log.warn(
            "this build server runs as root, and so does everything that is built: it may read and change all of this "
            "machine; give the build server an account of its own"
        )
    place.close_to_others()
    with ExitStack() as closing:
        pool = Threads(reactor, THREADS, "build server")
        closing.callback(pool.stop, THREADS_GRACE)
        sources = _sources(place, pool, closing)
        slots = Slots(place.slots, pool, found.machine)
        if not await _cleared(slots, stop):
            return EXIT_OK
        keepers = Keepers.where_possible(mark_for(place.slots))
        if keepers is not None:
            closing.callback(keepers.close)
        processes = Processes(reactor, keepers)
        transfers = TransferClient(reactor, pool)
        machine = Machine(place.slots)

        def register() -> Register:
            return Register(program.name, found.capability(changing(machine)), instance=program.instance)

        errors: list[BuildToolError] = []

        def final(error: BuildToolError) -> None:
            errors.append(error)
            stop.ask(str(error))

        host, port = said.host or settings.host, said.port or settings.pb_port
        link = BuildServerLink(
            machine_at(reactor, host, port),
            at_port(host, port),
            register,
            reactor,
            final=final,
            backoff=Backoff(most=float(said.maxdelay), retries=said.maxretries),
            keepalive=float(said.keepalive),
        )
        tools = Tools(
            sources=sources,
            commands=RecipeCommands(processes),
            workshop=slots,
            uploads=transfers,
            clock=reactor,
            environment={"PATH": os.environ.get("PATH", os.defpath)},
            server=program.name,
            cpus=max(1, usable_processors() // found.max_builds),
            time_limit=None if said.time_limit is None else float(said.time_limit),
            copies=transfers,
        )
        offered = Offered({one.name: one for one in settings.projects}, found.offers, found.max_builds)
        deliveries = Deliveries(Spool(place.spool, pool), link, transfers, reactor)
        server = BuildServer(offered, tools, link, deliveries, pool)
        await deliveries.restore()
        draining.clear(place.stamp)
        drain = Stop()
        closing.callback(draining.watch(reactor, place.stamp, drain))
        link.orders = server
        link.startService()
        try:
            if await _told_to_leave(server, stop, drain):
                log.info("stopping: {reason}", reason=stop.reason)
                await server.hand_back(stop.reason)
        finally:
            deliveries.stop()
            await processes.stop_all("the build server stops")
            await link.stopService()
            await transfers.close()
    if errors:
        return refuse(PROGRAM, errors[0])
    return EXIT_OK


async def _cleared(slots: Slots, stop: Stop) -> bool:
    """Delete what an earlier run left; return False when told to stop meanwhile. Raises MachineFault."""
    halt = Halt()
    Deferred.fromCoroutine(stop.asked()).addCallback(halt.ask)
    try:
        await slots.clear_all(halt)
    except Halted:
        log.info("stopping: {reason}; what an earlier run left is deleted at the next start", reason=stop.reason)
        return False
    return True


async def _told_to_leave(server: BuildServer, stop: Stop, drain: Stop) -> bool:
    """Return True when the program is told to stop, False when it was told to drain and has done so."""

    async def drained() -> str:
        reason = await drain.asked()
        log.info("draining: {reason}", reason=reason)
        await server.drain(reason)
        log.info("drained: everything is delivered")
        return reason

    first, _ = await race([Deferred.fromCoroutine(stop.asked()), Deferred.fromCoroutine(drained())])
    return first == 0
