"""What bin/metaserver makes of the operator's commands, and of what the running metaserver says."""

import os
import re
import socket
import subprocess
import sys
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, cast, get_args, get_origin

import attrs
import pytest
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.trial.unittest import SynchronousTestCase

from buildtool.adapters.storage.directory_lock import DirectoryLock
from buildtool.configuration.settings import load_settings
from buildtool.errors import NotRunning
from buildtool.programs.metaserver.main import COMMAND_LINE, main
from buildtool.programs.metaserver.operator_commands import ACTS
from buildtool.programs.operating.acts import OperatorAct, _asked, status_lines
from buildtool.protocol.messages import Cancel, ReactorTurns
from buildtool.protocol.operator import (
    AbortBuild,
    Drain,
    DrainServer,
    FarmStatus,
    LowerRequest,
    PauseServer,
    PurgeBuiltBy,
    RaiseRequest,
    RebuildBuild,
    ResumeServer,
    RunningBuildStatus,
    ServerStatus,
    WaitingBuildStatus,
)
from tests.support.packages import require_that

HOSTILE = "\x1b]0;pwned\x07\x1b[2J\x9b31m\u202eevil\r\nok\u2028three\u2066\x08\x85{name}\x1b[5"
ROOT = Path(__file__).resolve().parents[3]


def made(*words: str) -> object:
    """Return the act that a command asks for."""
    command, said = COMMAND_LINE.parse(words)
    acting = cast("partial[int]", command.run).args[0]
    return OperatorAct.of(acting.name, said).message


def test_each_command_becomes_its_act() -> None:
    assert made("pause", "anna", "--reason", "no disk") == PauseServer("anna", "no disk")
    assert made("abort", "7") == AbortBuild(7, "")
    assert made("purge-built-by", "anna") == PurgeBuiltBy("anna", "")
    assert (made("drain"), made("undrain")) == (Drain(on=True), Drain(on=False))
    assert (made("--drain"), made("--drain", "--json")) == (Drain(on=True), Drain(on=True))
    assert made("drain", "anna", "--reason", "no disk") == made("--drain", "anna", "--reason", "no disk")
    assert made("--drain=anna") == DrainServer("anna")
    assert (made("undrain", "anna"), made("cancel", "7")) == (ResumeServer("anna"), Cancel(7, ""))
    assert made("raise", "7", "--rounds", "20") == RaiseRequest(7, 20)
    assert made("lower", "7", "--rounds", "0") == LowerRequest(7, 0)
    first, second = (made("rebuild", "7", "--mail", "a@b.org") for _ in range(2))
    assert isinstance(first, RebuildBuild)
    assert isinstance(second, RebuildBuild)
    assert (first.build_id, first.email) == (7, "a@b.org")
    assert first.client_id != second.client_id, "each is an act of its own"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--pause", "anna", "--drain"], "--pause and --drain are two different things"),
        (["status", "--abort", "7"], "status and --abort are two different things"),
        (["--status", "--fsck"], "--status and --fsck are two different things"),
        (["--resume", "anna", "--reason", "x"], "--reason goes with pause or drain or abort"),
        (["purge", "7", "--mail", "a@b.org"], "--mail goes with rebuild, not with purge"),
        (["--json"], "--json goes with"),
        (["status", "--restored"], "--restored goes with serve or restart, not with status"),
        (["--abort", "seven"], "'seven' is no build: say its number"),
        (["abort", "0"], "'0' is no build"),
        (["--rebuild", "9" * 30], "is no build"),
        (["pause"], "SERVER"),
        (["--pause"], "--pause needs SERVER"),
        (["pause", "anna", "bert"], "'bert' is too much"),
        (["--status=yes"], "--status takes no value"),
        (["puase", "anna"], "there is no command 'puase': did you mean pause?"),
        (["status", "--reson"], "unknown option --reson"),
    ],
)
def test_what_says_nothing_together_is_one_line_and_exit_code_2(
    words: list[str], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["metaserver", *words])
    try:
        code: object = main()
    except SystemExit as ended:
        code = ended.code
    shown = capsys.readouterr()
    assert (code, shown.out) == (2, "")
    (line,) = shown.err.splitlines()
    assert told in line
    assert line.startswith("metaserver")


def test_how_everything_stands_is_told_in_lines_with_the_counts_of_what_is_left_out() -> None:
    told = FarmStatus(
        requests=3,
        builds_running=2,
        builds_waiting=5,
        servers_connected=2,
        servers_known=9,
        mail_unsent=1,
        mail_refused=0,
        draining=True,
        problems=("the disk is full",),
        stands=(ServerStatus("attic", "paused", "no disk", 1, 1), ServerStatus("b", "idle", "", 0, 4)),
        running=(RunningBuildStatus(7, 2, "lua", "c" * 40, "attic", "building", 90.0),),
        waiting=(WaitingBuildStatus(8, "lua", "d" * 40, 1, 300.0, ("attic is paused: no disk",)),),
        turns=ReactorTurns(1_000, 0.05, 2.5, 31.0, 44.0, 12.5),
    )
    within = "half within 0.05 ms, 99 % 2.5, 99.9 % 31, the longest 44"
    assert status_lines(told) == [
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


def test_who_may_not_look_into_the_state_directory_is_told_to_use_the_account_of_the_metaserver(tmp_path: Path) -> None:
    require_that(present=os.geteuid() == 0, what="another account is tried", remedy="run the tests as root")
    config, state = tmp_path / "config.py", tmp_path / "state"
    config.write_text("state_dir = 'state'\n")
    settings = load_settings(config, secrets=False)
    state.mkdir(mode=0o700)
    os.seteuid(65_534)
    try:
        asking = Deferred.fromCoroutine(_asked(settings, cast(ReactorBase, MemoryReactorClock()), never))
    finally:
        os.seteuid(0)
    problem = SynchronousTestCase().failureResultOf(asking, NotRunning).value
    denied = f"no metaserver can be asked with {state}: Permission denied; use the account of the metaserver"
    assert str(problem) == denied


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


def filled(kind: Any, text: str) -> Any:
    """Return a value of a type, all of whose texts are this one."""
    kind = getattr(kind, "__value__", kind)
    if attrs.has(kind):
        attrs.resolve_types(kind)
        return kind(**{one.name: filled(one.type, text) for one in attrs.fields(kind) if one.init})
    origin, parts = get_origin(kind), get_args(kind)
    if origin is tuple:
        return tuple(filled(one, text) for one in parts if one is not ...)
    if parts:  # one of several
        return filled(parts[0], text)
    if kind is str:
        return text
    return next(iter(kind)) if isinstance(kind, type) and issubclass(kind, Enum) else kind(1)


@pytest.mark.parametrize("name", [one.name for one in ACTS])
def test_no_text_in_an_answer_reaches_a_terminal_or_begins_a_line_of_its_own(name: str) -> None:
    """Names, owners and reasons are what peers chose."""
    acting = OperatorAct(name, Drain(on=True))
    told = acting.told(filled(acting.answer.kind, HOSTILE), as_json=False)
    plain = acting.told(filled(acting.answer.kind, "plain"), as_json=False)
    assert told.count("\n") == plain.count("\n")
    assert all(line.isprintable() for line in told.split("\n")), ascii(told)
    assert acting.told(filled(acting.answer.kind, HOSTILE), as_json=True).isascii()
