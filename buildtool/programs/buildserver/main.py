"""``bin/buildserver.py``: offers this machine to a metaserver and builds what it is given."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from attrs import evolve, field, frozen
from twisted.internet.base import ReactorBase
from twisted.logger import Logger

from buildtool.adapters.control.build_server_link import BuildServerLink, LoginPace
from buildtool.adapters.host.build_slots import BuildSlots, changing
from buildtool.adapters.host.detectors import Machine
from buildtool.adapters.host.hidden_tools import HiddenTools, clear_old_directories
from buildtool.adapters.host.limits.control_groups import ControlGroups
from buildtool.adapters.host.processors import usable_processors
from buildtool.adapters.host.recipe_commands import RecipeCommands
from buildtool.adapters.http.client import HttpClient, HttpTimeouts
from buildtool.adapters.http.declared_downloads import DownloadCache
from buildtool.adapters.http.transfer_client import TransferClient
from buildtool.adapters.processes.gentleness import Gentleness
from buildtool.adapters.processes.keeper_client import Keepers
from buildtool.adapters.processes.process_group import mark_for
from buildtool.adapters.processes.runner import Processes
from buildtool.adapters.processes.sandbox.bubblewrap import clear_old_settings, settings_age
from buildtool.adapters.processes.sandbox.proving import ProvenSandbox
from buildtool.adapters.runtime.clock import WallClock
from buildtool.adapters.runtime.service_manager import SignsOfLife
from buildtool.adapters.runtime.threads import Threads
from buildtool.adapters.storage.history.work_book import WorkBook
from buildtool.adapters.storage.instance import load_instance
from buildtool.adapters.storage.spool import Spool
from buildtool.adapters.tls.credentials import CredentialStore, OwnIdentity
from buildtool.buildserver.attempt import AttemptTools
from buildtool.buildserver.delivery import DeliveryQueue
from buildtool.buildserver.server import BuildServer
from buildtool.concurrency.token_bucket import TokenBucket
from buildtool.configuration.settings import Settings
from buildtool.errors import BuildToolError
from buildtool.model.access.identities import token_digest
from buildtool.model.access.metaserver_addresses import MetaserverAddress
from buildtool.model.principal import PrincipalRole
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.programs.buildserver import drain_signals
from buildtool.programs.buildserver.build_directory import BuildDirectory
from buildtool.programs.buildserver.builds.processors import processors_told
from buildtool.programs.buildserver.capability import AnnouncedCapability
from buildtool.programs.buildserver.confinement import bounds_here, confinement
from buildtool.programs.buildserver.following.commands import FOLLOW_COMMANDS
from buildtool.programs.buildserver.following.hosting import FollowNeeds, ended, host_following
from buildtool.programs.buildserver.following.starting import Following, following_of, shown_with, started_with
from buildtool.programs.buildserver.guest.commands import OWNER_COMMANDS
from buildtool.programs.buildserver.guest.desk import OwnedParts
from buildtool.programs.buildserver.guest.history import HISTORY_COMMAND, HISTORY_OPTIONS
from buildtool.programs.buildserver.guest.hosting import host_guest
from buildtool.programs.buildserver.guest.wishes import GUEST_OPTIONS
from buildtool.programs.buildserver.options import OPTIONS
from buildtool.programs.buildserver.roots.commands import ROOT_COMMANDS, ROOT_OPTIONS
from buildtool.programs.buildserver.roots.hosting import roots_held, server_offer
from buildtool.programs.buildserver.roots.offers import files_of
from buildtool.programs.buildserver.running.basedir import BASEDIR, HOW, based
from buildtool.programs.buildserver.running.checking import check_config, check_start
from buildtool.programs.buildserver.running.ends import cleared, sources_of
from buildtool.programs.buildserver.running.idleness import IdleLimit
from buildtool.programs.buildserver.running.introducing import Introduction
from buildtool.programs.buildserver.running.leftovers import tidied
from buildtool.programs.buildserver.sandbox_choice import covered, declared, sandbox_of, with_sandbox
from buildtool.programs.buildserver.show_info import as_json, as_text
from buildtool.programs.buildserver.starting import Start, complete
from buildtool.programs.buildserver.zig.adding import ADD_COMMAND
from buildtool.programs.buildserver.zig.hosting import host_zig
from buildtool.programs.common.ending import (
    EXIT_CODES,
    EXIT_IDLE,
    EXIT_NOT_RUNNING,
    EXIT_OK,
    EXIT_REFUSED,
    EXIT_UNAVAILABLE,
    refuse,
    with_command,
)
from buildtool.programs.common.given.settings_of import settings_of
from buildtool.programs.common.joining import FarmEndpoint, join, renewal, said_join_line
from buildtool.programs.common.output import TextSink, say
from buildtool.programs.common.program import StopRequest, run
from buildtool.programs.common.reaching import Reach, reach
from buildtool.programs.common.subcommands import Subcommand, Subcommands
from buildtool.programs.doctors.buildserver import doctor, install_words
from buildtool.programs.serving.detaching import serves
from buildtool.programs.serving.hosting import hosted, restart_command, stop_command
from buildtool.programs.serving.options import HOST_OPTIONS
from buildtool.programs.trying.new_project import new_project
from buildtool.programs.trying.trying import EXIT_DIFFERS, EXIT_PROJECT, TRYING, try_project
from buildtool.protocol.messages import Register

log = Logger()

PROGRAM = "buildserver.py"
THREADS = 8

THREADS_GRACE = 5.0
"""Seconds in which threads have to end what they do when the program ends; all that matters was waited for by then."""


def _show_info(said: argparse.Namespace) -> int:
    settings = settings_of(said, secrets=False)
    start = Start.of(settings, said, CredentialStore(settings.build_dir / "identity"), None)
    name, place = start.name(), start.place()
    settings, follows = shown_with(following_of(start.said, place.follow), settings)
    start = evolve(start, settings=settings)
    found = start.offered(place)
    within = confinement(start, place, found)
    tools = found.detected.get("tools")
    install = install_words(settings.projects, tools if isinstance(tools, tuple) else ())
    say((as_json if said.json else as_text)(name, found, within, install, follows))
    return EXIT_OK


def _serve(said: argparse.Namespace, log_file: TextSink | None) -> int:
    settings = settings_of(said, secrets=False)
    store = CredentialStore(settings.build_dir / "identity")
    line = said_join_line(said.join)
    anew = StopRequest()
    start = partial(Start.of, settings, said, store)
    own = store.load()
    # The line may stay where a service manager finds it: it need not be joined by twice, so the farm may be away.
    if line is None or (own is not None and own.line == token_digest(line.token)):
        first = start(own)
        with first.place().lock():
            program = started(first, anew)
            code = run(PROGRAM, partial(served, program), verbose=said.verbose, log=log_file)
        return ended(PROGRAM, code, anew)

    async def joined(reactor: ReactorBase, stop: StopRequest) -> int:
        own = await join(reactor, line, store, [PrincipalRole.BUILD_SERVER])
        log.info(
            "joined {where} as {name}; its key is in {place}", where=line.where, name=own.name, place=store.directory
        )
        complete(settings.build_dir, own)
        first = start(own)
        with first.place().lock():
            return await served(started(first, anew), reactor, stop)

    return ended(PROGRAM, run(PROGRAM, joined, verbose=said.verbose, log=log_file), anew)


def started(first: Start, anew: StopRequest) -> BuildServerProgram:
    """Return the program as it was said, as the owner's file completes that, with the projects that are followed.

    Raises BuildToolError.
    """
    following = following_of(first.said, first.place().follow)
    return started_with(following, first.settings, partial(_program, first, following, anew))


def _program(first: Start, following: Following | None, anew: StopRequest, settings: Settings) -> BuildServerProgram:
    start = evolve(first, settings=settings)
    name, place = start.name(), start.place()
    found, addresses = start.offered(place), start.addresses()
    chosen = start.sandbox_choice(), start.without(place), start.networked(), start.hidden(place)
    whole = BuildServerProgram(
        settings, name, place, found, start.said, addresses, start.store, start.own, *chosen, start.secrets()
    )
    return evolve(whole, following=following, anew=anew)


# --- serving --------------------------------------------------------------------------------------------


@frozen
class BuildServerProgram:
    """A build server before it runs. ``serving`` is called once it does, with what its builds run in."""

    settings: Settings
    name: str
    place: BuildDirectory
    found: AnnouncedCapability
    said: argparse.Namespace
    addresses: tuple[MetaserverAddress, ...]
    store: CredentialStore
    own: OwnIdentity | None
    sandbox: str
    without: HiddenTools
    networked: frozenset[str]
    hidden: Sequence[Path]
    secrets: tuple[bytes, ...] = field(repr=False)
    following: Following | None = None
    anew: StopRequest = field(factory=StopRequest)
    serving: Callable[[SandboxLevel], None] = lambda _level: serves()


async def served(program: BuildServerProgram, reactor: ReactorBase, stop: StopRequest) -> int:  # noqa: PLR0915 - a line a part
    """Run a build server until it is to stop, or ends by itself; return its exit code. Raises BuildToolError."""
    settings, place, said, found = program.settings, program.place, program.said, program.found
    life = SignsOfLife.here(reactor)
    place.close_to_others()
    instance = load_instance(place.top)
    with ExitStack() as closing:
        pool = Threads(reactor, THREADS, "build server")
        closing.callback(pool.stop, THREADS_GRACE)
        downloading = TokenBucket(reactor)
        sources = sources_of(place, pool, closing, THREADS, downloading)
        groups = await pool.run(partial(ControlGroups.found, program.name))  # what was left frozen can be ended then
        closing.callback(groups.close)
        slots = BuildSlots(place.slots, pool, found.machine, found.seed)
        if not await cleared(slots, stop):
            return EXIT_OK
        await tidied(place, said, pool)
        keepers = Keepers.where_possible(mark_for(place.slots))
        if keepers is not None:
            closing.callback(keepers.close)
        sandbox = await pool.run(partial(_sandbox, program, keepers))
        if sandbox.sandboxes is not None:
            closing.callback(sandbox.sandboxes.close)
        found = roots_held(found, sandbox.sandboxes, closing)
        bounds = bounds_here(found, None if sandbox.sandboxes is None else groups)
        gentleness = Gentleness()
        processes = Processes(reactor, keepers, gentleness=gentleness)
        there = _reach(program, reactor)
        transfers = TransferClient(reactor, pool, farm=there.transfers, downloading=downloading)
        fetcher = HttpClient(reactor, HttpTimeouts(), downloading=downloading)
        done = WorkBook(place.history, there.where, WallClock(), pool)
        await done.open()
        parts = OwnedParts(gentleness, bounds, transfers.uploading, downloading, done.history)
        machine = Machine(place.slots)

        introduction = Introduction(pool, reactor, settings.build_dir, said.admin)

        async def register() -> Register:
            announced = (await introduction.of(zig.found)).capability(changing(machine))
            return Register(program.name, with_sandbox(announced, sandbox), instance=instance)

        errors: list[BuildToolError] = []

        def final(error: BuildToolError) -> None:
            errors.append(error)
            stop.ask(str(error))

        link = BuildServerLink(
            there.ways,
            there.where,
            register if there.farm is None else there.farm.noting(register),
            reactor,
            final=final,
            pace=LoginPace(most=float(said.maxdelay), retries=said.maxretries),
            keepalive=float(said.keepalive),
        )
        roots = files_of(found.roots)
        commands = RecipeCommands(
            processes, pool, reactor, sandbox.sandboxes, bounds, downloading, ahead=True, umask=said.umask, roots=roots
        )
        tools = AttemptTools(
            sources=sources,
            commands=commands,
            workshop=slots,
            uploads=transfers,
            clock=reactor,
            environment={"PATH": program.without.path_for(sandboxed=sandbox.sandboxes is not None)},
            server=program.name,
            cpus=processors_told(usable_processors(), said, found.max_builds),
            time_limit=None if said.time_limit is None else float(said.time_limit),
            copies=transfers,
            secrets=program.secrets,
            downloads=DownloadCache(place.downloads, fetcher, pool),
            networked=program.networked,
            sandbox=sandbox.level,
        )
        deliveries = DeliveryQueue(Spool(place.spool, pool), link, transfers, reactor, records=done)
        offer = server_offer(settings, found, sandbox.level)
        server = BuildServer(offer, tools, link, deliveries, pool, hasten=link.hasten)
        zig = host_zig(reactor, pool, found, settings.projects, server, link, lambda: gentleness.nice)
        await deliveries.restore()
        drain_signals.clear(place.stamp)
        drain = StopRequest()
        guest = await host_guest(reactor, pool, server, place, said, drain, parts)
        guest.desk.farm, guest.desk.full = lambda: link.standing, lambda: deliveries.full
        needs = FollowNeeds(reactor, pool, server, settings.path, said, program.anew)
        following = host_following(program.following, needs, guest.desk)
        closing.callback(drain_signals.watch(reactor, place.stamp, drain, lambda: guest.desk.settings.shutdown))
        idle = IdleLimit(server, reactor, said.max_idle, drain)
        closing.callback(idle.watch())
        renewing = [renewal(there.farm, reactor)] if there.farm is not None else []
        link.orders = server
        await zig.start()
        link.startService()
        following.start()
        life.start(f"{program.name} offers itself to {there.where}")
        program.serving(sandbox.level)
        try:
            if await drain_signals.told_to_leave(server, stop, drain, following.taken_over()):
                log.info("stopping: {reason}", reason=stop.reason)
                await server.hand_back(stop.reason)
        finally:
            await life.stop(stop.reason or drain.reason)
            for task in renewing:
                await task.stop()
            await zig.stop()
            await following.stop()
            await guest.stop()
            deliveries.stop()
            await processes.stop_all("the build server stops")
            await done.settled()
            await link.stopService()
            await transfers.close()
            await fetcher.close()
    if errors:
        return refuse(PROGRAM, with_command(errors[0]))
    if stop.reason or drain.reason:
        program.anew.reason = ""  # its owner's word goes before
    return EXIT_IDLE if idle.reached and not stop.reason else EXIT_OK


def _sandbox(program: BuildServerProgram, keepers: Keepers | None) -> ProvenSandbox:
    """Return the sandbox of builds, proved now. Blocks. Raises ConfigurationError when it is less than is wanted."""
    place = program.place
    readable = declared((*program.found.offers, *program.found.coming), program.said.readable)
    clear_old_settings(place.sandbox, settings_age())
    found = sandbox_of(program.sandbox, keepers, place.sandbox, program.hidden, readable)
    clear_old_directories(place.without, program.without.search)
    covered(found, program.without)
    if found.sandboxes is None and os.geteuid() == 0:
        log.warn(
            "this build server runs as root, and so does everything that is built: it may read and change all of this "
            "machine; give the build server an account of its own"
        )
    return found


def _reach(program: BuildServerProgram, reactor: ReactorBase) -> Reach:
    """Return how to reach the metaserver. Raises ConfigurationError."""
    farm = None if program.own is None else FarmEndpoint(reactor, program.store, program.own, logs_in=True)
    return reach(reactor, program.addresses, farm)


# --- the command line ------------------------------------------------------------------------------------


_SERVE = (*OPTIONS, *GUEST_OPTIONS, *HOST_OPTIONS)

COMMAND_LINE: Subcommands[int] = Subcommands(
    PROGRAM,
    "Offer this machine to a metaserver: take builds, compile, deliver. SIGTERM hands running builds back; SIGHUP "
    "finishes them first.",
    tuple(one if one.name == "new-project" else based(one) for one in (
        Subcommand(
            "serve", "take builds until it is told to stop", "--config farm/config.py --name attic --max-builds 2",
            hosted(PROGRAM, _serve), options=_SERVE,
        ),
        stop_command(PROGRAM),
        restart_command(PROGRAM, _serve, _SERVE, check_start),
        *OWNER_COMMANDS,
        HISTORY_COMMAND,
        *FOLLOW_COMMANDS,
        ADD_COMMAND,
        *ROOT_COMMANDS,
        Subcommand(
            "show-info", "say what this machine offers when it is started so, and end", "show-info --platforms ppc",
            _show_info, options=(*OPTIONS, *GUEST_OPTIONS, "--json"),
        ),
        Subcommand(
            "check-config", "say whether a start would be refused, and each setting that is not the default, with its "
            "origin", "check-config --config farm/config.py", check_config,
            options=(*OPTIONS, *GUEST_OPTIONS, "--json"),
        ),
        Subcommand(
            "doctor", "look at all that keeps this machine from building, and say how to mend it",
            "doctor --host farm.example.org", partial(doctor, PROGRAM), options=(*OPTIONS, *GUEST_OPTIONS, "--json"),
        ),
        Subcommand(
            "try", "build a working tree by a project's recipe, twice, without any server, and say what differs",
            "try testproject --source testproject/source --utf8", partial(try_project, PROGRAM), "PROJECT",
            options=("--platforms", "--no-cross", "--toolchains", "--time-limit", "--sandbox", "--readable",
                     "--allow-network", "--without", *TRYING, "--json"),
            words="[OPTIONS OF THE PROJECT]", more=True,
        ),
        Subcommand(
            "new-project", "write DIR/config.py, a project's configuration, from a look at its sources",
            "new-project farm/mine --source src/mine", new_project, "DIR", options=("--source", "--json"),
        ),
    )),
    {**OPTIONS, **GUEST_OPTIONS, **HOST_OPTIONS, **HISTORY_OPTIONS, **TRYING, **ROOT_OPTIONS, BASEDIR: HOW},
    EXIT_CODES | {
        EXIT_PROJECT: "what was tried does not build, by the project's or the recipe's fault",
        EXIT_UNAVAILABLE: "the metaserver cannot be reached: as many logins failed as --maxretries says",
        EXIT_REFUSED: "refused by the metaserver, which speaks another version of the protocol",
        EXIT_DIFFERS: "what was tried became something else when it was built again",
        EXIT_IDLE: "there was nothing to do for as long as --max-idle says, and everything is delivered",
        EXIT_NOT_RUNNING: "no build server of that name runs here, or it does not answer",
    },
)  # fmt: skip
"""Everything that can be said to the program."""

main = COMMAND_LINE.main
