"""``bin/webserver``: the pages, in a process of their own that only reads what the metaserver writes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial

from twisted.internet.base import ReactorBase
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from buildtool.adapters.control.page_questions import MetaserverQuestions
from buildtool.adapters.network.endpoints import machine_at
from buildtool.adapters.runtime.clock import WallClock
from buildtool.configuration.description import describe
from buildtool.configuration.settings import Settings, load_settings
from buildtool.model.hosts import at_port
from buildtool.programs.common.listening import listen
from buildtool.programs.common.output import say
from buildtool.programs.common.program import EXIT_OK, Stop, command_line, run, whole
from buildtool.programs.webserver.site import StateReader, web_site

PROGRAM = "webserver"

_log = Logger()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    return whole(PROGRAM, partial(_run, argv))


def _run(argv: Sequence[str] | None) -> int:
    arguments = parser().parse_args(argv)
    settings = load_settings(arguments.config, secrets=False)
    if arguments.check_config:
        say("\n".join(describe(settings)))
        if arguments.port is not None:
            say(f"--port          {arguments.port}, in place of the web port")
        return EXIT_OK
    return run(PROGRAM, partial(serve, settings, arguments.port), verbose=arguments.verbose)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = command_line(
        PROGRAM,
        "Show builds, build servers and logs as web pages. Reads the metaserver's state directory and writes nothing:\n"
        "start bin/metaserver first.",
        "bin/webserver --config /etc/buildtool/config.py --port 8080",
    )
    made.add_argument("--port", type=_port, metavar="N", help="listen on this port (default: the configured web_port)")
    made.add_argument(
        "--check-config", action="store_true", help="read the configuration, say what was understood, and end"
    )
    return made


async def serve(settings: Settings, port: int | None, reactor: ReactorBase, stop: Stop) -> int:
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


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 <= int(text[:6]) <= 65_535:  # noqa: PLR2004 - of TCP
        raise argparse.ArgumentTypeError(f"{text[:20]!r} is no port: say a number from 1 to 65535, or 0 for a free one")
    return int(text[:6])
