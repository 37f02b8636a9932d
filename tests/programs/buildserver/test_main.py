"""``bin/buildserver.py`` as its owner meets it: one clear line for what is wrong, and an end when told to."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from buildtool.adapters.host.detectors import DETECTORS, Detected
from buildtool.adapters.storage.spool import Spool
from buildtool.configuration.given.names import ENVIRONMENT
from buildtool.configuration.settings import load_settings
from buildtool.errors import ConfigurationError
from buildtool.model.project_options import ProjectOptions
from buildtool.model.properties import STANDARD, Role, standard
from buildtool.model.records import AttemptEnd
from buildtool.model.servers import OfferKind
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.programs.buildserver.capability import announced
from buildtool.programs.buildserver.drain_signals import LOOK, watch
from buildtool.programs.buildserver.main import main
from buildtool.programs.common.program import StopRequest
from buildtool.protocol.messages import Ended
from tests.fakes_build import Immediate, project

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = ROOT / "bin/buildserver.py"
DETECTED: dict[str, Detected] = {
    "os": "linux",
    "arch": "x86_64",
    "cpu_level": "x86-64-v4",
    "tools": ("ar", "cc", "gcc"),
    "disk": 7,
    "cpus": 2,
}


@pytest.fixture(autouse=True)
def _own_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("BUILDTOOL_CONFIG", *ENVIRONMENT):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BUILDTOOL_BUILD_DIR", str(tmp_path / "builds"))


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Return the exit code and the one line on stderr."""
    code = main(arguments)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    return code, said.err.rstrip("\n")


@contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM), *arguments], stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=20)


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_json_without_anything_to_print_is_refused_before_anybody_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", "--name", "attic"]) == 2
    owners = (
        "status pause resume reload drain history config-diff accept-config add-toolchain add-platform list-platforms "
        "remove-platform"
    )
    commands = f"stop {owners} show-info check-config doctor try new-project".split()
    assert capsys.readouterr().err == f"buildserver.py: --json goes with {' or '.join(commands)}\n"


def test_a_machine_says_what_it_offers(capsys: pytest.CaptureFixture[str]) -> None:
    """As text for its owner and as JSON for programs; both say the same."""
    assert main(["show-info", "--json", "--name", "attic"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["name"] == "attic"
    assert data["sandbox"] in {level.value for level in SandboxLevel}
    assert data["sandbox"] == "strict" or data["sandbox_notes"], "what is wrong with it is said"
    assert set(data["detected"]) == set(DETECTORS)
    assert data["projects"] == [{"name": "testproject", "recipe": load_settings().projects[0].recipe.version}]
    assert main(["--show-info", "--name", "attic"]) == 0
    text = capsys.readouterr().out
    assert re.search(rf"^sandbox +{data['sandbox']}$", text, re.MULTILINE)
    for name, value in data["offers"][0]["platform"].items():
        assert f"{name}={value}" in text


def test_what_is_wrong_with_the_start_is_said_in_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "config.py"
    empty.write_text("")
    assert refused(capsys, "--name", "../up") == (
        2,
        "buildserver.py: --name '../up' is not usable: letters, digits, dot, - and _, at most 63",
    )
    assert refused(capsys, "--config", str(tmp_path / "none.py"))[0] == 2
    assert refused(capsys, "--config", str(empty)) == (
        2,
        f"buildserver.py: {empty}: projects is empty, so there is nothing to build",
    )
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BUILDTOOL_BUILD_DIR", str(tmp_path / "file"))
    code, line = refused(capsys, "--name", "one")
    assert (code, line) == (
        2,
        f"buildserver.py: build_dir: cannot write in {tmp_path}/file/one: Not a directory",
    )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--max-builds", "0"], "--max-builds: '0' is not a whole number from 1 to 64 (--help shows an example)"),
        (
            ["--port", "65\n536"],
            "--port: '65\\n536' is not a port: say a number from 1 to 65535 (--help shows an example)",
        ),
        (["--maxretries", "0"], "--maxretries: '0' is not a whole number from 1 to 1000000 (--help shows an example)"),
        (["--keepalive", "x"], "--keepalive: 'x' is not a whole number from 1 to 3600 (--help shows an example)"),
        (["--time-limit"], "--time-limit: needs a value (--help shows an example)"),
        (["--nme", "x"], "unknown option --nme (did you mean --name?)"),
    ],
)
def test_a_wrong_command_line_is_a_usage_error_in_one_line(
    capsys: pytest.CaptureFixture[str], wrong: list[str], said: str
) -> None:
    assert main(wrong) == 2
    assert capsys.readouterr() == ("", f"buildserver.py: {said}\n")


def test_help_has_an_example_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert "example:\n  bin/buildserver.py" in said
    assert "exit codes:\n    0  all went well" in said


def test_it_keeps_trying_while_there_is_no_metaserver_and_ends_when_told_to() -> None:
    """A second one of the same name on the same machine is turned away meanwhile."""
    port = unused_port()
    with started("--name", "one", "--port", str(port), "--sandbox", "none") as process:
        assert process.stderr is not None
        if os.geteuid() == 0:
            assert "give the build server an account of its own" in said_of(process, "runs as root")
        assert f"127.0.0.1:{port}" in said_of(process, "next try in")
        with started("--name", "one", "--port", str(port)) as second:
            _, said = second.communicate(timeout=30)
            assert second.returncode == 2
            assert "another build server works in" in said
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=30)
        assert process.returncode == 0, rest
        assert "told to stop (SIGTERM)" in rest
        assert "Traceback" not in rest


def said_of(process: subprocess.Popen[str], words: str) -> str:
    """Return the first line of stderr that says this. A program that does not is ended after a minute."""
    assert process.stderr is not None
    too_late = threading.Timer(60, process.kill)
    too_late.start()
    try:
        for line in process.stderr:
            if words in line:
                return line
    finally:
        too_late.cancel()
    raise AssertionError(f"it ended without saying {words!r}")


def spooled(tmp_path: Path) -> Path:
    """The end of a build that an earlier run of build server ``one`` could not tell; return where it is kept."""
    spool = Spool(tmp_path / "builds" / "one" / "spool", Immediate())
    ended = Ended(17, 2, AttemptEnd.FAILED, "make: exited with code 2", "error: no\n")
    keeping = spool.keep(ended)
    with pytest.raises(StopIteration):
        keeping.send(None)
    return spool.path(17, 2)


def test_it_gives_up_when_as_many_logins_failed_as_it_was_told_and_keeps_what_is_not_delivered(tmp_path: Path) -> None:
    """The exit code is its own: a supervisor can tell it from what does not mend itself."""
    kept = spooled(tmp_path)
    port = str(unused_port())
    with started("--name", "one", "--port", port, "--maxretries", "2", "--maxdelay", "1") as process:
        _, said = process.communicate(timeout=60)
    lines = said.splitlines()
    assert process.returncode == 7, said
    assert sum("finished builds of an earlier run that wait to be delivered: 1" in line for line in lines) == 1
    assert lines[-1].startswith("buildserver.py: 2 logins in a row failed, the last one so: no metaserver answers at")
    assert sum("next try in" in line for line in lines) == 1
    assert "Traceback" not in said
    assert (kept / "end.json").exists()


def test_a_build_server_that_has_nothing_to_do_ends_with_a_code_of_its_own() -> None:
    """It was neither told to end, which is 0, nor has it given the metaserver up, which is 7."""
    with started("--name", "one", "--port", str(unused_port()), "--max-idle", "1") as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 13, said
    assert "draining: nothing to do for 1 s (--max-idle)" in said


@pytest.mark.parametrize("how", ["signal", "stamp"])
def test_it_drains_on_sighup_and_when_the_stamp_is_touched(how: str, tmp_path: Path) -> None:
    """With nothing to finish it ends at once, as one that all went well for. An old stamp asks for nothing."""
    stamp = tmp_path / "builds" / "one" / "shutdown.stamp"
    stamp.parent.mkdir(parents=True)
    stamp.touch()
    with started("--name", "one", "--port", str(unused_port())) as process:
        said_of(process, "next try in")
        assert not stamp.exists()
        if how == "signal":
            process.send_signal(signal.SIGHUP)
        else:
            stamp.touch()
        said_of(process, "draining: the build server was told to drain (SIGHUP)" if how == "signal" else "stamp was")
        said_of(process, "drained: everything is delivered")
        assert process.wait(timeout=30) == 0


def test_who_drains_in_vain_may_be_told_to_stop(tmp_path: Path) -> None:
    """What cannot be delivered keeps a build server that drains; SIGTERM ends it, and it is on disk still."""
    kept = spooled(tmp_path)
    with started("--name", "one", "--port", str(unused_port())) as process:
        said_of(process, "next try in")
        process.send_signal(signal.SIGHUP)
        said_of(process, "draining:")
        process.send_signal(signal.SIGTERM)
        said_of(process, "told to stop (SIGTERM)")
        assert process.wait(timeout=30) == 0
    assert (kept / "end.json").exists()


class Ticking(Clock):
    """A reactor as far as the watch for draining needs it."""

    def callFromThread(self, what: Callable[..., object], *arguments: object) -> None:
        self.callLater(0, what, *arguments)


@contextmanager
def sighup(how: signal.Handlers) -> Iterator[None]:
    """SIGHUP as it is when a program starts."""
    before = signal.signal(signal.SIGHUP, how)
    try:
        yield
        assert signal.getsignal(signal.SIGHUP) is how, "who stops watching leaves no trace"
    finally:
        signal.signal(signal.SIGHUP, before)


def test_sighup_asks_to_drain(tmp_path: Path) -> None:
    reactor, drain = Ticking(), StopRequest()
    with sighup(signal.SIG_DFL):
        end = watch(cast(ReactorBase, reactor), tmp_path / "shutdown.stamp", drain)
        os.kill(os.getpid(), signal.SIGHUP)
        reactor.advance(0)
        end()
    assert drain.reason == "the build server was told to drain (SIGHUP)"
    assert reactor.getDelayedCalls() == []


def test_where_sighup_is_ignored_only_the_stamp_asks_to_drain(tmp_path: Path) -> None:
    """``nohup`` ignores it: what is started under it shall not leave when a terminal closes."""
    reactor, drain = Ticking(), StopRequest()
    asked: list[str] = []
    Deferred.fromCoroutine(drain.asked()).addCallback(asked.append)
    with sighup(signal.SIG_IGN):
        end = watch(cast(ReactorBase, reactor), tmp_path / "shutdown.stamp", drain)
        os.kill(os.getpid(), signal.SIGHUP)
        reactor.advance(60)
        assert not asked
        (tmp_path / "shutdown.stamp").touch()
        reactor.advance(LOOK)
        end()
    assert asked == ["shutdown.stamp was touched"]
    assert reactor.getDelayedCalls() == []


# --- what is announced --------------------------------------------------------------------------------------


def test_the_native_offer_is_what_recipes_target() -> None:
    """The processor's own level is not announced: binaries are made for the lowest, unless more is asked for."""
    found = announced([project()], DETECTED, max_builds=3, admin="me", software="x")
    (offer,) = found.offers
    assert (offer.kind, dict(offer.platform)) == (
        OfferKind.NATIVE,
        {"os": "linux", "arch": "x86_64", "cpu_level": "x86-64-v1"},
    )
    assert dict(offer.tools) == {"CC": "gcc", "AR": "ar"}
    capability = found.capability({"disk": 99, "sun": 1})
    assert dict(capability.machine) == {"tools": ("ar", "cc", "gcc"), "disk": 99, "cpus": 2}
    assert capability.max_builds == 3
    skill = capability.skill("paint")
    assert skill is not None
    assert (skill.recipe_version, skill.options_digest) == (3, project().options.digest())


@given(st.dictionaries(st.sampled_from(sorted(DETECTORS)), st.none() | st.text() | st.integers() | st.just(("a", "b"))))
def test_whatever_is_detected_only_valid_properties_are_announced(detected: dict[str, Detected]) -> None:
    """A machine that is something unheard of offers less, and announces nothing that the metaserver would refuse."""
    found = announced([], detected, max_builds=1, admin="", software="")
    for name, value in {**found.platform, **found.machine}.items():
        assert STANDARD[name].option.check(value) == value
    assert all(STANDARD[name].role is Role.ARTIFACT for name in found.platform)


def test_a_property_that_names_no_detector_is_a_configuration_error() -> None:
    odd = attrs.evolve(standard("os")[0], detector="moon_phase")
    with pytest.raises(ConfigurationError, match="property os names the detector 'moon_phase'"):
        announced([project(options=ProjectOptions((odd,), ()))], DETECTED, max_builds=1, admin="", software="")
