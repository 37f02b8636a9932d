"""``bin/webserver``: the pages, in a process of their own that only reads what the metaserver writes."""

from __future__ import annotations

import argparse
import json
import os
from functools import partial

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.base import ReactorBase
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IProtocolFactory, IReactorTime
from twisted.logger import Logger

from buildtool.adapters.network.open_files import allow_open
from buildtool.adapters.runtime.clock import WallClock
from buildtool.adapters.runtime.service_manager import SignsOfLife
from buildtool.adapters.tls.contexts import ANY_HTTP, ServerTls
from buildtool.concurrency.periodic import PeriodicTask
from buildtool.configuration.description import as_object, describe
from buildtool.configuration.given.values import given_to
from buildtool.configuration.port_settings import UNIX, Part
from buildtool.configuration.settings import Settings
from buildtool.errors import UsageError
from buildtool.model.access.metaserver_addresses import MetaserverAddress, read_addresses
from buildtool.model.addresses import at_port
from buildtool.programs.common.ending import EXIT_CODES, EXIT_OK
from buildtool.programs.common.farm_tls import LOOK_EVERY, FarmTls, kept_certificates
from buildtool.programs.common.given.settings_of import origin_lines, origin_objects, origins, settings_of
from buildtool.programs.common.joining import renewal, said_join_line
from buildtool.programs.common.listening import adopt, handed_over, listen
from buildtool.programs.common.output import TextSink, called, say
from buildtool.programs.common.program import StopRequest, run
from buildtool.programs.common.subcommands import REACHING, Several, Subcommand, Subcommands, number, switch, valued
from buildtool.programs.common.visitors import HttpVisitors
from buildtool.programs.serving.detaching import serves
from buildtool.programs.serving.hosting import hosted, restart_command, stop_command
from buildtool.programs.serving.options import HOST_OPTIONS
from buildtool.programs.webserver.asking import addresses_said, joined, questions_to
from buildtool.programs.webserver.site import StateReader, tools_for, web_site
from buildtool.web.live.hub import LiveHub
from buildtool.web.live.places import StreamPlaces
from buildtool.web.section import Upstream

PROGRAM = "webserver"

STREAMS = 1_200
"""How many browsers hear at once what changes: for each there is a connection."""

OPEN_FILES = 2_048
"""Files and connections at once, where the system allows it."""

_log = Logger()


def _read(said: argparse.Namespace) -> Settings:
    """Return the settings. Raises ConfigurationError, and UsageError for a port where there is none."""
    settings = settings_of(said, secrets=False)
    if said.port is not None and (bind := settings.place(Part.WEB).bind).startswith(UNIX):
        raise UsageError(f"--port {said.port} is not usable: the pages listen on {bind} (web_bind), which has no port")
    return settings


def _serve(said: argparse.Namespace, log: TextSink | None) -> int:
    settings = _read(said)
    addresses = addresses_said(said, settings)
    return run(PROGRAM, partial(serve, settings, said.port, addresses, said.share_port), verbose=said.verbose, log=log)


def _check(said: argparse.Namespace) -> None:
    addresses_said(said, _read(said))


def _join(said: argparse.Namespace) -> int:
    line = said_join_line(said.target, given_to(said))
    if line is None:
        raise UsageError("join needs the line of an invitation: itself, a file with it, - or $BUILDTOOL_JOIN")
    return run(PROGRAM, partial(joined, line, said.json), verbose=said.verbose)


def _check_config(said: argparse.Namespace) -> int:
    settings = _read(said)
    asked = [one.where for one in addresses_said(said, settings)]
    port = settings.web_port if said.port is None else said.port
    if said.json:
        told = {**as_object(settings), "web_port": port, "asked": asked, "set": origin_objects(origins(said, settings))}
        say(json.dumps(told))
        return EXIT_OK
    say("\n".join([*describe(settings), *origin_lines(origins(said, settings))]))
    if said.port is not None:
        say(f"--port          {port}, in place of the web port")
    if asked:
        say(f"--host          {', '.join(asked)}, asked with the key of this account")
    return EXIT_OK


async def serve(
    settings: Settings,
    port: int | None,
    addresses: tuple[MetaserverAddress, ...],
    shared: bool,  # noqa: FBT001 - what was said, as partial has it
    reactor: ReactorBase,
    stop: StopRequest,
) -> int:
    """Serve the pages until told to stop; the metaserver is asked at ``addresses``, if there are any.

    That is at the socket that a service manager hands over, if it does, else at a port of its own, or one that is
    ``shared`` with others.

    Raises StorageUnavailable, NewerDatabase, PortTaken, UsageError.
    """
    life = SignsOfLife.here(reactor)
    questions, feed, farm = await questions_to(reactor, settings, addresses)
    allow_open(OPEN_FILES)
    reader = StateReader(reactor, settings.state_dir)
    timers, looking = IReactorTime(reactor), list[PeriodicTask]()
    clock = WallClock()
    access = HttpVisitors(lambda: settings, clock)
    live = LiveHub(reader.news, clock, timers, StreamPlaces(STREAMS))
    if farm is not None:
        looking.append(renewal(farm, timers))
    try:
        await reader.pages.health()
        await reader.pages.prepare()
        upstream = Upstream(questions, questions, live, reader.contents)
        tools = tools_for(timers, lambda: settings, reader.artifacts)
        site = web_site(settings, reader.pages, reader.logs, clock, upstream, access, tools)
        place, flag = settings.place(Part.WEB), "" if port is None else "--port"
        factory: IProtocolFactory = site
        if settings.speaks_tls(Part.WEB):
            certificates = partial(kept_certificates, settings.state_dir)
            tls = FarmTls(ServerTls(*certificates()), clock, timers, certificates, site.handshake)
            tls.take(settings)
            looking.append(PeriodicTask("the look at certificates", timers, tls.look))
            looking[-1].start(LOOK_EVERY)
            factory = tls.listener({ANY_HTTP: site})
        given = handed_over(os.environ, [Part.WEB.value]).get(Part.WEB.value, ())
        listening = [adopt(reactor, factory, descriptor) for descriptor in given] or [
            listen(reactor, factory, place.bind, place.port if port is None else port, "web_port", flag, shared=shared)
        ]
        where = ", ".join(_told(settings, one.getHost()) for one in listening)
        _log.info("pages on {at}", at=where)
        live.start(feed)
        life.start(f"pages on {where}")
        serves()
        _log.info("{reason}", reason=await stop.asked())
        for one in listening:
            await maybeDeferred(one.stopListening)
    finally:
        await life.stop(stop.reason)
        for task in looking:
            await task.stop()
        questions.close()
        await live.stop()
        await reader.close()
    return EXIT_OK


def _told(settings: Settings, address: object) -> str:
    """Return where the pages are, for people."""
    if not isinstance(address, IPv4Address | IPv6Address):
        return settings.place(Part.WEB).bind
    return f"http{'s' if settings.speaks_tls(Part.WEB) else ''}://{at_port(address.host, address.port)}/"


def read_host(text: str) -> tuple[MetaserverAddress, ...]:
    """Return the addresses that ``--host`` says, for argparse. Raises UsageError."""
    return read_addresses(text, "--host")


_PORT = number(0, 65_535, "is no port: say a number from 1 to 65535, or 0 for a free one")

_SERVE = ("--port", "--share-port", "--host", "--use-tls", *HOST_OPTIONS)

COMMAND_LINE: Subcommands[int] = Subcommands(
    PROGRAM,
    "Show builds, build servers and logs as web pages. Reads the metaserver's state directory and writes nothing:\n"
    f"start {called('metaserver')} first.",
    (
        Subcommand(
            "serve", "serve the pages until it is told to stop", "--config /etc/buildtool/config.py --port 8080",
            hosted(PROGRAM, _serve), options=_SERVE,
        ),
        stop_command(PROGRAM),
        restart_command(PROGRAM, _serve, _SERVE, _check),
        Subcommand(
            "check-config", "read the configuration, say what was understood, and end",
            "check-config --config /etc/buildtool/config.py", _check_config,
            options=("--port", "--host", "--use-tls", "--json"),
        ),
        Subcommand(
            "join", "become the pages of a farm with the line of an invitation (or a file with it, or -)",
            "join invitation.txt", _join, "[LINE]", options=("--json",),
        ),
    ),
    {
        "--port": valued("listen on this port (default: the configured web_port)", "N", _PORT),
        "--share-port": switch("share the port with other bin/webserver of this account that say so too"),
        "--host": valued(
            "ask the metaserver here, with the key of this account, or at an endpoint string such as tls:HOST:PORT; "
            "may be said several times, and is tried in turn (default: over the socket in its state directory)", "HOST",
            read_host, action=Several,
        ),
        "--use-tls": REACHING["--use-tls"],
        **HOST_OPTIONS,
    },
    EXIT_CODES,
)  # fmt: skip
"""Everything that can be said to the program."""

main = COMMAND_LINE.main
