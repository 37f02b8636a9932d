"""``make farm``: a whole farm on this machine until Ctrl-C, in place of four terminals.

It has a metaserver with its pages, a mail server that keeps everything in a Maildir, and two build servers. What they
log is shown. State is kept between two runs.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from buildtool.demo.local_farm import FarmError, LocalFarm, free_ports, held, import_sources, is_free
from buildtool.demo.narrator import ROOT, registered, step, stop_at_signals
from buildtool.model.addresses import is_port
from buildtool.model.text import one_line
from buildtool.programs.common.output import complain, say

BUILD_SERVERS = ("anna", "bert")

PORTS = {
    "BUILDTOOL_PB_PORT": ("the control port", 23432),
    "BUILDTOOL_TRANSFER_PORT": ("the transfer port", 23433),
    "BUILDTOOL_WEB_PORT": ("the port of the pages", 8080),
    "BUILDTOOL_MAIL_PORT": ("the port for mail", 2525),
}
"""What each variable sets, and the port that is taken without it, as long as it is free."""

LOOK = 0.2
"""Seconds between two looks at what the programs said."""


def main() -> int:
    """Run the farm until it is told to stop; return 0 unless something failed, which is said in one line."""
    parser = argparse.ArgumentParser(prog="farm", description="A whole farm on this machine, until Ctrl-C.")
    parser.add_argument("--directory", type=Path, default=ROOT / "var" / "farm", help="where it keeps everything")
    directory: Path = parser.parse_args().directory.resolve()
    if not (ROOT / "config.py").exists():
        complain("make farm runs in a checkout, which has config.py and testproject/")
        return 1
    stop_at_signals()
    try:
        with _locked(directory):
            ports, notes = choose_ports(os.environ)
            farm = LocalFarm(directory, directory / "config.py", ports=ports, keep_ports=True, popen=held())
            try:
                _start(farm, notes)
                _show_logs(farm)
            finally:
                farm.stop()
    except KeyboardInterrupt:
        say(f"stopped; `make farm` goes on with what lies in {directory}")
    except (FarmError, OSError) as error:
        complain(f"make farm: {error}")
        return 1
    return 0


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keep other farms out of the directory. Raises FarmError when one runs there, OSError."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / "lock").open("ab") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
    except BlockingIOError as error:
        raise FarmError(f"a farm runs in {directory} already: stop that one, or name another --directory") from error


def choose_ports(environment: Mapping[str, str]) -> tuple[dict[str, int], list[str]]:
    """Return a free port for each variable, and a line for each that is another one than usual.

    Raises FarmError for a port that was asked for and is taken, or is none.
    """
    ports: dict[str, int] = {}
    notes = []
    others = iter(free_ports(len(PORTS)))
    for variable, (what, usual) in PORTS.items():
        said = environment.get(variable, "")
        if said and not is_port(said):
            raise FarmError(f"${variable} = {one_line(said)[:40]!r} is no port: it is a number from 1 to 65535")
        port = int(said) if said else usual
        if port in ports.values() or not is_free(port):
            if said:
                raise FarmError(f"port {port} is taken by another program: set {variable} to a free one, or not at all")
            port = next(others)
            notes.append(f"port {usual} is taken, so {what} is {port}; {variable} chooses another")
        ports[variable] = port
    return ports, notes


def configuration(directory: Path, ports: Mapping[str, int]) -> str:
    """Return the configuration of a farm below ``directory``, with the projects of the checkout's own."""
    return f'''"""Written by `make farm` at each start: what to change stands in {ROOT}/config.py, or in variables."""

host = "127.0.0.1"
trusted = "loopback"
pb_port = {ports["BUILDTOOL_PB_PORT"]}
transfer_port = {ports["BUILDTOOL_TRANSFER_PORT"]}
web_port = {ports["BUILDTOOL_WEB_PORT"]}
state_dir = {str(directory / "metaserver")!r}
build_dir = {str(directory / "buildserver")!r}
mail = {{"host": "127.0.0.1", "port": {ports["BUILDTOOL_MAIL_PORT"]}, "sender": "farm@localhost"}}
projects = [load({str(ROOT / "config.py")!r})]
'''


def _start(farm: LocalFarm, notes: list[str]) -> None:
    """Start all programs, and say what to type. Raises FarmError."""
    for note in notes:
        step(note)
    farm.config.write_text(configuration(farm.directory, farm.ports), encoding="utf-8")
    repository = Path(os.environ.get("BUILDTOOL_TESTPROJECT_REPOSITORY") or ROOT / "var" / "testproject.git")
    if not repository.exists():
        commit = import_sources(ROOT / "testproject" / "source", repository)
        step(f"testproject's sources are now a git repository, commit {commit[:12]}: {repository}")
    farm.start_mail(farm.ports["BUILDTOOL_MAIL_PORT"])
    step(f"a mail server keeps every mail in {farm.mailbox / 'new'}")
    farm.start_metaserver("--web")
    step(f"the metaserver runs; its pages are at {farm.public_url}/")
    for name in BUILD_SERVERS:
        registered(farm.start_build_server(name))
    say("\n".join(what_to_type(farm.config)))


def what_to_type(config: Path) -> Iterator[str]:
    """Yield the lines that say how to use the farm from another terminal."""
    request = "bin/startcompile.py --checksum=fnv1a"
    yield f"\nNow, in another terminal in {ROOT}:\n"
    yield f"  export BUILDTOOL_CONFIG={config}"
    for words, what in (
        (f"{request} --foreground you@example.org", "a build"),
        (f"{request} you@example.org", "the same again: a hit"),
        ("bin/metaserver status", "the status of the farm"),
        ("bin/metaserver --help", "what else it can be told"),
    ):
        yield f"  {words:<75} # {what}"
    yield "\nCtrl-C here ends the farm. What its programs log:\n"


def _show_logs(farm: LocalFarm) -> None:
    """Print what the programs log until one of them ends, which raises FarmError."""
    shown = {program.name: len(program.lines) for program in farm.programs}
    width = max(map(len, shown))
    while True:
        for program in farm.programs:
            code = program.process.poll()
            fresh = program.lines[shown[program.name] :]
            shown[program.name] += len(fresh)
            for line in fresh:
                say(f"{program.name:<{width}} | {line}")
            if code is not None:
                raise FarmError(f"{program.name} has ended, with exit code {code}")
        time.sleep(LOOK)


if __name__ == "__main__":
    sys.exit(main())
