"""``bin/buildserver.py`` as its owner meets it: one clear line for what is wrong, and an end when told to."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.adapters.detect import DETECTORS, Detected
from buildtool.domain.model import OfferKind
from buildtool.domain.options import STANDARD, ProjectOptions, Role, standard
from buildtool.entry.buildserver import main
from buildtool.entry.capability import announced
from buildtool.errors import ConfigurationError
from buildtool.settings import ENVIRONMENT, load_settings
from tests.fakes_build import project

ROOT = Path(__file__).resolve().parent.parent.parent
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


def test_a_machine_says_what_it_offers(capsys: pytest.CaptureFixture[str]) -> None:
    """As text for its owner and as JSON for programs; both say the same."""
    assert main(["--show-info", "--json", "--name", "attic"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["name"] == "attic"
    assert set(data["detected"]) == set(DETECTORS)
    assert data["projects"] == [{"name": "testproject", "recipe": load_settings().projects[0].recipe.version}]
    assert main(["--show-info", "--name", "attic"]) == 0
    text = capsys.readouterr().out
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
        (["--port", "65\n536"], "--port: '65\\n536' is not a whole number from 1 to 65535 (--help shows an example)"),
        (["--time-limit"], "--time-limit: expected one argument (--help shows an example)"),
        (["--nme", "x"], "unknown option --nme (did you mean --name?)"),
    ],
)
def test_a_wrong_command_line_is_a_usage_error_in_one_line(
    capsys: pytest.CaptureFixture[str], wrong: list[str], said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(wrong)
    assert ended.value.code == 2
    assert capsys.readouterr() == ("", f"buildserver.py: {said}\n")


def test_help_has_an_example_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert "example:\n  bin/buildserver.py" in said
    assert "exit codes:\n  0" in said


def test_it_keeps_trying_while_there_is_no_metaserver_and_ends_when_told_to() -> None:
    """A second one of the same name on the same machine is turned away meanwhile."""
    port = unused_port()
    with started("--name", "one", "--port", str(port)) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert f"127.0.0.1:{port}" in line
        assert "next try in" in line
        with started("--name", "one", "--port", str(port)) as second:
            _, said = second.communicate(timeout=30)
            assert second.returncode == 2
            assert "another build server works in" in said
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=30)
        assert process.returncode == 0, rest
        assert "told to stop (SIGTERM)" in rest
        assert "Traceback" not in rest


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
