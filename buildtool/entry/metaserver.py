"""``bin/metaserver``: the broker."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from buildtool.adapters.descriptors import allow_open
from buildtool.adapters.memory import Garbage
from buildtool.adapters.privacy import OTHERS_WRITE, tighten
from buildtool.configfile import find_config
from buildtool.domain.known import TOOLS, nearest
from buildtool.entry import operator, upkeep
from buildtool.entry.checking import FILE_PATIENCE, apart, within
from buildtool.entry.closing import last_resort
from buildtool.entry.common import EXIT_FAILED, EXIT_OK, Stop, command_line, run, whole
from buildtool.entry.metaserver_service import Beginning, Metaserver, send_test_mail
from buildtool.entry.output import say
from buildtool.entry.reloading import on_hangup
from buildtool.project import tools_named
from buildtool.recipecheck import Within
from buildtool.settings import Settings, check_projects, describe, load_settings

log = Logger()

PROGRAM = "metaserver"
OPEN_FILES = 4_096
"""Files and connections at once: what the control port and the transfer port bound, pages, and room for files."""

SWITCH = 0.0005
"""Seconds after which a thread that computes lets others go on: the reactor needs that after each system call."""

GARBAGE_LOOK = 0.5
"""Seconds between two looks whether it is time to look for garbage."""


def main() -> int:
    """Run the program and return its exit code."""
    return whole(PROGRAM, _run)


def _run() -> int:
    parser = _parser()
    arguments = parser.parse_args()
    if _consistent(parser, arguments):
        return operator.operate(arguments)
    if arguments.fsck or arguments.backup is not None:
        return _upkeep(arguments)
    if arguments.check_config:
        say(_understood(arguments.config))
        return EXIT_OK
    with within(FILE_PATIENCE):
        settings = load_settings(arguments.config)
    apart(lambda limit: check_projects(settings, within=limit), settings.path)
    if arguments.mail_test is not None:
        return run(PROGRAM, lambda reactor, _stop: _mail(settings, arguments.mail_test, reactor))
    beginning = Beginning(arguments.accept_new_database, arguments.restored)
    return run(
        PROGRAM,
        lambda reactor, stop: _serve(settings, reactor, stop, beginning, pages=arguments.web),
        verbose=arguments.verbose,
    )


def _understood(config: Path | None) -> str:
    """Return what was understood of the configuration, every recipe tried. Raises ConfigurationError."""
    file = find_config(config)

    def check(limit: Within) -> str:
        with within(FILE_PATIENCE):
            settings = load_settings(file)
        check_projects(settings, thorough=True, within=limit)
        return "\n".join([*describe(settings), *_not_here(settings)])

    return apart(check, file)


def _not_here(settings: Settings) -> list[str]:
    """Return a note for every program that recipes name and this machine has not: other machines may, or nobody."""
    missing = [name for name in sorted(tools_named(settings.projects)) if shutil.which(name) is None]
    return [f"note            recipes need {name}, which is not on this machine{_meant(name)}" for name in missing]


def _meant(name: str) -> str:
    near = nearest(name, TOOLS)
    return near if near.startswith(":") else ": build servers that have it are given what needs it"


def _parser() -> argparse.ArgumentParser:
    parser = command_line(
        PROGRAM,
        "The broker: takes requests, answers from the cache, gives builds to build servers, sends the mail.",
        "bin/metaserver --config /etc/buildtool/config.py --web",
        upkeep.METASERVER_CODES,
    )
    parser.add_argument("--web", action="store_true", help="serve the pages too, on web_port")
    parser.add_argument(
        "--check-config", action="store_true", help="validate the configuration, say what was understood, and end"
    )
    parser.add_argument("--mail-test", metavar="ADDRESS", help="send one mail to ADDRESS now, say how it went, and end")
    parser.add_argument(
        "--fsck", action="store_true", help="look for damage in the state directory, explain it, and end"
    )
    parser.add_argument("--repair", action="store_true", help="with --fsck: mend what can be mended safely")
    parser.add_argument(
        "--backup", metavar="DIR", type=Path, help="copy the state directory to DIR, also while it is used, and end"
    )
    parser.add_argument(
        "--restored",
        action="store_true",
        help="this state directory comes from a snapshot of a machine",
    )
    parser.add_argument(
        "--accept-new-database", action="store_true", help="start with an empty database beside files of an earlier one"
    )
    parser.add_argument("--json", action="store_true", help="answer for programs, where something is asked for")
    operator.add_flags(parser)
    return parser


def _consistent(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> bool:
    """End the program when flags are combined that say nothing together; say if the running metaserver is asked."""
    if arguments.fsck and arguments.backup is not None:
        parser.error("--fsck and --backup are two different things: say one of them")
    if arguments.repair and not arguments.fsck:
        parser.error("--repair says what --fsck does with what it finds: say --fsck --repair")
    asked = operator.chosen(parser, arguments)
    start = next((name for name in ("restored", "accept_new_database") if getattr(arguments, name)), "")
    if start and (asked or arguments.fsck or arguments.backup is not None or arguments.check_config):
        parser.error(f"--{start.replace('_', '-')} says how the metaserver starts: say it alone, or with --web")
    if asked and (arguments.fsck or arguments.backup is not None):
        parser.error("--fsck and --backup are not asked of the metaserver that runs: say them alone")
    if arguments.json and not arguments.fsck and arguments.backup is None and not asked:
        parser.error("--json goes with --fsck, --backup or what is asked of the metaserver that runs")
    return asked


def _upkeep(arguments: argparse.Namespace) -> int:
    """Look after the state directory, for which neither projects nor passwords have to be right."""
    settings = load_settings(arguments.config, secrets=False)
    if arguments.fsck:
        return upkeep.fsck(settings, repair=arguments.repair, as_json=arguments.json)
    return upkeep.backup(settings, arguments.backup, as_json=arguments.json)


def _make_room() -> None:
    """See to it that a farm of a thousand build servers finds its connections, or say that it will not."""
    allowed = allow_open(OPEN_FILES)
    if allowed < OPEN_FILES:
        log.warn(
            "at most {count} files and connections may be open at once, a full farm needs {wanted}: raise ulimit -n",
            count=allowed,
            wanted=OPEN_FILES,
        )


async def _serve(settings: Settings, reactor: ReactorBase, stop: Stop, beginning: Beginning, *, pages: bool) -> int:
    _make_room()
    for line in tighten(settings.state_dir, OTHERS_WRITE):
        log.warn("{line}", line=line)
    Deferred.fromCoroutine(_in_time(stop))
    metaserver = Metaserver(settings, reactor, pages, stop.ask, beginning)
    on_hangup(reactor, metaserver.reload)
    await metaserver.start()
    sys.setswitchinterval(SWITCH)
    garbage = Garbage()
    garbage.begin()
    LoopingCall(garbage.look).start(GARBAGE_LOOK, now=False)
    log.info(
        "ready: control port {pb}, transfer port {transfer}{web}, state in {state}",
        pb=settings.pb_port,
        transfer=settings.transfer_port,
        web=f", pages at {settings.public_url}" if pages else "",
        state=settings.state_dir,
    )
    log.info("stopping: {reason}", reason=await stop.asked())
    await metaserver.stop()
    return EXIT_FAILED if metaserver.lost else EXIT_OK


async def _in_time(stop: Stop) -> None:
    """See to it that the program ends in time once it is asked to, also while it starts."""
    await stop.asked()
    last_resort(PROGRAM)


async def _mail(settings: Settings, address: str, reactor: ReactorBase) -> int:
    say(await send_test_mail(settings, address, reactor))
    return EXIT_OK
