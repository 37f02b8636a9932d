"""``bin/webserver``: the pages, in a process of their own that only reads what the metaserver writes."""

from __future__ import annotations

import argparse
import json
from functools import partial

from twisted.internet.base import ReactorBase
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from buildtool.adapters.control.page_questions import MetaserverQuestions
from buildtool.adapters.network.endpoints import machine_at
from buildtool.adapters.runtime.clock import WallClock
from buildtool.configuration.description import as_object, describe
from buildtool.configuration.settings import Settings, load_settings
from buildtool.model.addresses import at_port
from buildtool.programs.common.listening import listen
from buildtool.programs.common.output import say
from buildtool.programs.common.program import EXIT_CODES, EXIT_OK, StopRequest, run
from buildtool.programs.common.subcommands import Subcommand, Subcommands, number, valued
from buildtool.programs.webserver.site import StateReader, web_site

PROGRAM = "webserver"

_log = Logger()


def _serve(said: argparse.Namespace) -> int:
    settings = load_settings(said.config, secrets=False)
    return run(PROGRAM, partial(serve, settings, said.port), verbose=said.verbose)


def _check_config(said: argparse.Namespace) -> int:
    settings = load_settings(said.config, secrets=False)
    port = settings.web_port if said.port is None else said.port
    if said.json:
        say(json.dumps({**as_object(settings), "web_port": port}))
        return EXIT_OK
    say("\n".join(describe(settings)))
    if said.port is not None:
        say(f"--port          {port}, in place of the web port")
    return EXIT_OK


async def serve(settings: Settings, port: int | None, reactor: ReactorBase, stop: StopRequest) -> int:
    """Serve the pages until told to stop. Raises StorageUnavailable, NewerDatabase, PortTaken."""
    reader = StateReader(reactor, settings.state_dir)
    endpoint = machine_at(reactor, settings.host, settings.pb_port)
    where = at_port(settings.host, settings.pb_port)
    questions = MetaserverQuestions(endpoint, where, IReactorTime(reactor))
    try:
        await reader.pages.health()
        site = web_site(settings, reader.pages, reader.logs, WallClock(), questions, questions)
        which, flag = (settings.web_port, "") if port is None else (port, "--port")
        listening = listen(reactor, site, settings.bind, which, "web_port", flag)
        at = listening.getHost()
        _log.info("pages on http://{at}/", at=at_port(at.host, at.port))  # type: ignore[attr-defined] # TCP has both
        _log.info("{reason}", reason=await stop.asked())
        await maybeDeferred(listening.stopListening)
    finally:
        questions.close()
        await reader.close()
    return EXIT_OK


_PORT = number(0, 65_535, "is no port: say a number from 1 to 65535, or 0 for a free one")

COMMAND_LINE: Subcommands[int] = Subcommands(
    PROGRAM,
    "Show builds, build servers and logs as web pages. Reads the metaserver's state directory and writes nothing:\n"
    "start bin/metaserver first.",
    (
        Subcommand(
            "serve", "serve the pages until it is told to stop", "--config /etc/buildtool/config.py --port 8080",
            _serve, options=("--port",),
        ),
        Subcommand(
            "check-config", "read the configuration, say what was understood, and end",
            "check-config --config /etc/buildtool/config.py", _check_config, options=("--port", "--json"),
        ),
    ),
    {"--port": valued("listen on this port (default: the configured web_port)", "N", _PORT)},
    EXIT_CODES,
)  # fmt: skip
"""Everything that can be said to the program."""

main = COMMAND_LINE.main
