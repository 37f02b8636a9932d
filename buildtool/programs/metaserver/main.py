"""``bin/metaserver``: the broker.

Each command imports by itself what only it needs: the broker is 800 modules, and a question to it needs a third.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from buildtool.configuration.description import as_object, describe
from buildtool.configuration.finding import find_config
from buildtool.configuration.settings import Settings, check_projects
from buildtool.model.properties import TOOLS, nearest
from buildtool.programs.common.ending import EXIT_FAILED, EXIT_OK
from buildtool.programs.common.given.settings_of import origin_lines, origin_objects, origins, settings_of
from buildtool.programs.common.launch import loading
from buildtool.programs.common.output import TextSink, say, say_line
from buildtool.programs.common.program import StopRequest, run
from buildtool.programs.common.shutdown import last_resort
from buildtool.programs.common.subcommands import Subcommand, Subcommands, number, switch, valued
from buildtool.programs.metaserver import offline_commands, operator_commands
from buildtool.programs.metaserver.access import hook, new_secret
from buildtool.programs.metaserver.checking import FILE_PATIENCE, apart, within
from buildtool.programs.metaserver.monitoring import files as monitoring
from buildtool.programs.operating import bounce_command, token_commands
from buildtool.programs.serving.detaching import serves
from buildtool.programs.serving.hosting import hosted, restart_command, stop_command
from buildtool.programs.serving.options import HOST_OPTIONS
from buildtool.project.definition import tools_named
from buildtool.project.recipe_check import Within

if TYPE_CHECKING:
    from buildtool.programs.metaserver.state_directory import StartOptions

log = Logger()

PROGRAM = "metaserver"
SWITCH = 0.0005
"""Seconds after which a thread that computes lets others go on: the reactor needs that after each system call."""

MOST_LOCAL = 16
"""Most build servers inside this process."""

GARBAGE_LOOK = 0.5
"""Seconds between two looks whether it is time to look for garbage."""


def _serve(said: argparse.Namespace, log_file: TextSink | None) -> int:
    settings = _checked(said)
    with loading():
        from buildtool.programs.metaserver import service  # noqa: F401 - all that ``_served`` takes
        from buildtool.programs.metaserver.mail import check_mail
        from buildtool.programs.metaserver.state_directory import StartOptions
        from buildtool.programs.metaserver.tell.telling import check_told
    with within(FILE_PATIENCE):
        check_mail(settings)
        check_told(settings)
    beginning = StartOptions(said.accept_new_database, said.restored)
    return run(
        PROGRAM,
        lambda reactor, stop: _served(settings, reactor, stop, beginning, pages=said.web),
        verbose=said.verbose,
        log=log_file,
    )


def _check_config(said: argparse.Namespace) -> int:
    from buildtool.programs.common.farm_tls import check_own_files
    from buildtool.programs.metaserver.mail import check_mail
    from buildtool.programs.metaserver.tell.telling import check_told

    file = find_config(said.config)

    def check(limit: Within) -> str:
        with within(FILE_PATIENCE):
            settings = settings_of(said)
            check_told(settings)
            check_own_files(settings, time.time())
        check_projects(settings, thorough=True, within=limit)
        with limit("a template of mail"):
            notes = [*check_mail(settings), *_not_here(settings)]
        set_ = origins(said, settings)
        if said.json:
            return json.dumps({**as_object(settings), "set": origin_objects(set_), "notes": notes})
        return "\n".join([*describe(settings), *origin_lines(set_), *(f"note            {line}" for line in notes)])

    say(apart(check, file))
    return EXIT_OK


def _doctor(said: argparse.Namespace) -> int:
    from buildtool.programs.doctors.metaserver import doctor

    def load() -> Settings:
        with within(FILE_PATIENCE):
            return settings_of(said)

    return doctor(load, said)


def _checked(said: argparse.Namespace) -> Settings:
    """Return the settings; recipes have answered once. Raises ConfigurationError."""
    with within(FILE_PATIENCE):
        settings = settings_of(said)
    apart(lambda limit: check_projects(settings, within=limit), settings.path)
    return settings


def _local(said: argparse.Namespace) -> int:
    with loading():
        from buildtool.programs.local.running import local
    return local(PROGRAM, said)


def _mail_test(said: argparse.Namespace) -> int:
    from buildtool.programs.metaserver.mail import send_test_mail

    settings = _checked(said)

    async def send(reactor: ReactorBase, _stop: StopRequest) -> int:
        words = await send_test_mail(settings, said.target, reactor)
        say(json.dumps({"address": said.target, "words": words})) if said.json else say_line(words)
        return EXIT_OK

    return run(PROGRAM, send, verbose=said.verbose)


def _not_here(settings: Settings) -> list[str]:
    """Return a note for every program that recipes name and this machine has not: other machines may, or nobody."""
    missing = [name for name in sorted(tools_named(settings.projects)) if shutil.which(name) is None]
    return [f"recipes need {name}, which is not on this machine{_meant(name)}" for name in missing]


def _meant(name: str) -> str:
    near = nearest(name, TOOLS)
    return near if near.startswith(":") else ": build servers that have it are given what needs it"


def _make_room() -> None:
    """Raise the limit of open files for a farm of a thousand build servers, and log it if that cannot be."""
    from buildtool.adapters.network.open_files import OPEN_FILES, allow_open

    allowed = allow_open(OPEN_FILES)
    if allowed < OPEN_FILES:
        log.warn(
            "at most {count} files and connections may be open at once, a full farm needs {wanted}: raise ulimit -n",
            count=allowed,
            wanted=OPEN_FILES,
        )


async def _served(
    settings: Settings, reactor: ReactorBase, stop: StopRequest, beginning: StartOptions, *, pages: bool
) -> int:
    from buildtool.adapters.runtime.memory import GarbageSearch
    from buildtool.adapters.runtime.service_manager import SignsOfLife
    from buildtool.adapters.storage.private_directories import OTHERS_WRITE, tighten
    from buildtool.configuration.current import CurrentConfiguration
    from buildtool.programs.metaserver.reload import on_hangup
    from buildtool.programs.metaserver.service import Metaserver

    life = SignsOfLife.here(reactor)
    _make_room()
    for line in tighten(settings.state_dir, OTHERS_WRITE):
        log.warn("{line}", line=line)
    Deferred.fromCoroutine(_in_time(stop))
    metaserver = Metaserver(CurrentConfiguration(settings), reactor, pages, stop.ask, beginning)
    on_hangup(reactor, metaserver.reload)
    await metaserver.start()
    sys.setswitchinterval(SWITCH)
    serves()
    garbage = GarbageSearch()
    garbage.begin()
    LoopingCall(garbage.look).start(GARBAGE_LOOK, now=False)
    log.info(
        "ready: control port {pb}{transfer}{web}, state in {state}",
        pb=settings.pb_port,
        transfer=f", transfer port {settings.transfer_port}" if settings.transfer_apart else "",
        web=f", pages at {settings.public_url}" if pages else "",
        state=settings.state_dir,
    )
    life.turns = metaserver.turns
    life.start(f"serves {len(settings.projects)} projects")
    reason = await stop.asked()
    log.info("stopping: {reason}", reason=reason)
    await life.stop(reason)
    await metaserver.stop()
    return EXIT_FAILED if metaserver.lost else EXIT_OK


async def _in_time(stop: StopRequest) -> None:
    """Wait until the program is asked to stop, also while it starts; force it to end in time from then on."""
    await stop.asked()
    last_resort(PROGRAM)


_SERVE = ("--web", "--restored", "--accept-new-database", *HOST_OPTIONS)

COMMAND_LINE: Subcommands[int] = Subcommands(
    PROGRAM,
    "The broker: takes requests, answers from the cache, gives builds to build servers, sends the mail.",
    (
        Subcommand(
            "serve", "take requests and give out builds, until it is told to stop",
            "--config /etc/buildtool/config.py --web", hosted(PROGRAM, _serve),
            options=_SERVE,
        ),
        stop_command(PROGRAM),
        restart_command(PROGRAM, _serve, _SERVE, _checked),
        Subcommand(
            "check-config", "validate the configuration, and say what was understood",
            "check-config --config /etc/buildtool/config.py", _check_config, options=("--json",),
        ),
        Subcommand(
            "doctor", "look at all that keeps the metaserver from its work, and say how to mend it", "doctor --web",
            _doctor, options=("--web", "--json"),
        ),
        Subcommand(
            "local", "try things out: a whole farm in this process, with N build servers, that leaves nothing",
            "local 2 --recipe farm/mine/config.py", _local, "[N]", number(1, MOST_LOCAL),
            options=("--recipe", "--project", "--platforms"),
        ),
        Subcommand(
            "mail-test", "send one mail to ADDRESS now, and say how it went", "mail-test you@example.org",
            _mail_test, "ADDRESS", options=("--json",),
        ),
        monitoring.COMMAND,
        new_secret.COMMAND,
        hook.COMMAND,
        bounce_command.COMMAND,
        *offline_commands.COMMANDS,
        *operator_commands.commands((*operator_commands.ACTS, *token_commands.ACTS)),
    ),
    {
        "--web": switch("serve the pages too, on web_port"),
        "--recipe": valued("a project's config.py (default: --config, else the example)", "FILE", Path),
        "--platforms": valued("offer only these, as bin/buildserver.py does: native, ppc, zig (default: all)", "NAMES"),
        "--restored": switch("this state directory comes from a snapshot of a machine"),
        "--accept-new-database": switch("start with an empty database beside files of an earlier one"),
        **HOST_OPTIONS,
        **offline_commands.OPTIONS,
        **operator_commands.OPTIONS,
        **token_commands.OPTIONS,
    },
    offline_commands.METASERVER_CODES,
)  # fmt: skip
"""Everything that can be said to the program."""

main = COMMAND_LINE.main
