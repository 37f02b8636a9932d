"""What bin/metaserver makes of the operator's flags, and of what the running metaserver says."""

import argparse
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.trial.unittest import SynchronousTestCase

from buildtool.adapters.locks import DirectoryLock
from buildtool.entry.operator import ACTS, _asked, add_flags, chosen, standing_lines
from buildtool.errors import NotRunning
from buildtool.operator_protocol import (
    AbortBuild,
    Drain,
    PauseServer,
    PurgeBuiltBy,
    RebuildBuild,
    RunningTold,
    ServerStands,
    Standing,
    WaitingTold,
)
from buildtool.protocol import Turns
from buildtool.settings import load_settings

ROOT = Path(__file__).resolve().parent.parent.parent


def said(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False, allow_abbrev=False)
    add_flags(parser)
    found = parser.parse_args(words)
    assert chosen(parser, found) is bool(words)
    return found


def test_each_flag_becomes_its_act() -> None:
    assert ACTS["pause"](said("--pause", "anna", "--reason", "no disk")) == PauseServer("anna", "no disk")
    assert ACTS["abort"](said("--abort", "7")) == AbortBuild(7, "")
    assert ACTS["purge_built_by"](said("--purge-built-by", "anna")) == PurgeBuiltBy("anna", "")
    assert (ACTS["drain"](said("--drain")), ACTS["undrain"](said("--undrain"))) == (Drain(on=True), Drain(on=False))
    first, second = (ACTS["rebuild"](said("--rebuild", "7", "--mail", "a@b.org")) for _ in range(2))
    assert isinstance(first, RebuildBuild)
    assert isinstance(second, RebuildBuild)
    assert (first.build_id, first.email) == (7, "a@b.org")
    assert first.client_id != second.client_id, "each is an act of its own"


def test_without_any_of_them_nobody_is_asked() -> None:
    assert not chosen(argparse.ArgumentParser(), said())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--pause", "anna", "--drain"], "--pause and --drain are two different things"),
        (["--status", "--abort", "7"], "--status and --abort are two different things"),
        (["--resume", "anna", "--reason", "x"], "--reason goes with --pause"),
        (["--purge", "7", "--mail", "a@b.org"], "--mail goes with --rebuild"),
        (["--status", "--fsck"], "say them alone"),
        (["--json"], "--json goes with"),
        (["--abort", "seven"], "'seven' is no build: say its number"),
        (["--abort", "0"], "'0' is no build"),
        (["--rebuild", "9" * 30], "is no build"),
    ],
)
def test_what_says_nothing_together_is_one_line_and_exit_code_2(words: list[str], told: str) -> None:
    done = subprocess.run(
        [sys.executable, "bin/metaserver", *words], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert told in line


def test_how_everything_stands_is_told_in_lines_with_the_counts_of_what_is_left_out() -> None:
    told = Standing(
        requests=3,
        builds_running=2,
        builds_waiting=5,
        servers_connected=2,
        servers_known=9,
        mail_unsent=1,
        mail_refused=0,
        draining=True,
        problems=("the disk is full",),
        stands=(ServerStands("attic", "paused", "no disk", 1, 1), ServerStands("b", "idle", "", 0, 4)),
        running=(RunningTold(7, 2, "lua", "c" * 40, "attic", "building", 90.0),),
        waiting=(WaitingTold(8, "lua", "d" * 40, 1, 300.0, ("attic is paused: no disk",)),),
        turns=Turns(1_000, 0.05, 2.5, 31.0, 44.0, 12.5),
    )
    within = "half within 0.05 ms, 99 % 2.5, 99.9 % 31, the longest 44"
    assert standing_lines(told) == [
        "2 builds run, 5 wait; 3 requests wait; 2 of 9 build servers are connected; 1 mail is to be sent, 0 refused",
        "draining: no build is started any more, and it ends once none runs",
        f"turns of the reactor in the last minutes: {within}; pauses for garbage up to 12.5",
        "problem: the disk is full",
        "build servers:",
        "  attic  paused  1 of 1  no disk",
        "  b      idle    0 of 4",
        "  and 7 more",
        "what runs:",
        "  7.2 lua cccccccccccc on attic for 90 s, building",
        "  and 1 more",
        "what waits:",
        "  8 lua dddddddddddd for 5 min, 1 request",
        "    attic is paused: no disk",
        "  and 4 more",
    ]


def test_a_metaserver_that_does_not_run_is_said_with_how_to_start_it(tmp_path: Path) -> None:
    config = tmp_path / "config.py"
    config.write_text("state_dir = 'state'\n")
    for words in (["--status"], ["--drain", "--json"]):
        done = subprocess.run(
            [sys.executable, "bin/metaserver", "--config", str(config), *words],
            cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (7, "")
        nobody = f"no metaserver runs with {tmp_path / 'state'}"
        assert done.stderr == f"metaserver: {nobody}; start it with bin/metaserver --config {config}\n"
    assert list(tmp_path.iterdir()) == [config], "asking makes nothing"


def test_a_metaserver_that_hangs_is_said_to_run_with_the_process_to_kill(tmp_path: Path) -> None:
    config, state = tmp_path / "config.py", tmp_path / "state"
    config.write_text("state_dir = 'state'\n")
    reactor = MemoryReactorClock()
    with DirectoryLock(state, "metaserver"), socket.socket(socket.AF_UNIX) as silent:
        silent.bind(os.path.relpath(state / "control"))
        asking = Deferred.fromCoroutine(_asked(load_settings(config, secrets=False), cast(ReactorBase, reactor), never))
        ((_, factory, *_),) = reactor.unixClients
        factory.buildProtocol(None).makeConnection(StringTransport())
        reactor.advance(11)
    problem = SynchronousTestCase().failureResultOf(asking, NotRunning).value
    assert re.fullmatch(
        f"the metaserver of {re.escape(str(state))} runs but says nothing, it may hang: kill it "
        rf"\(metaserver, process {os.getpid()} on \S+, since [-0-9]+ [:0-9]+ UTC; nothing is lost\), "
        f"then start it with bin/metaserver --config {re.escape(str(config))}",
        str(problem),
    )


async def never(_there: object) -> None:
    raise AssertionError("there is nobody to ask")


def test_a_metaserver_that_was_killed_is_said_not_to_run_although_its_socket_is_there(tmp_path: Path) -> None:
    config = tmp_path / "config.py"
    config.write_text("state_dir = 'state'\n")
    (tmp_path / "state").mkdir()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(os.path.relpath(tmp_path / "state" / "control"))
    done = subprocess.run(
        [sys.executable, "bin/metaserver", "--config", str(config), "--status"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    nobody = f"no metaserver runs with {tmp_path / 'state'}"
    assert (done.returncode, done.stderr) == (
        7,
        f"metaserver: {nobody}; start it with bin/metaserver --config {config}\n",
    )
