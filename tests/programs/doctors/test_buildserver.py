"""The build server's doctor finds whatever its start would refuse: both ask the same checks."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from buildtool.adapters.control.operator_endpoint import NAME, short_address
from buildtool.adapters.host.detectors import Detected
from buildtool.adapters.host.toolchains import Toolchain, ToolchainSurvey
from buildtool.adapters.tls.certificates import certificate_text, client_certificate, new_authority
from buildtool.adapters.tls.credentials import CredentialStore
from buildtool.configuration.given.names import ENVIRONMENT
from buildtool.configuration.settings import load_settings
from buildtool.model.checkup.verdicts import CheckVerdict
from buildtool.model.servers import OfferKind
from buildtool.programs.buildserver.capability import announced
from buildtool.programs.buildserver.main import COMMAND_LINE, main
from buildtool.programs.buildserver.starting import Start
from buildtool.programs.common.ending import EXIT_FAILED
from buildtool.programs.common.program import StopRequest
from buildtool.programs.doctors.buildserver import (
    _examined,
    compiler_results,
    follow_results,
    root_results,
    start_results,
    wish_results,
)
from buildtool.protocol.enrolment import Credentials
from tests.adapters.host.roots.test_store import add
from tests.fakes_build import project
from tests.programs.buildserver.roots.test_offers import offered
from tests.support.packages import require
from tests.support.signed_origin import make_key


@pytest.fixture
def builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the directory of a machine that has joined as attic."""
    for name in ("BUILDTOOL_CONFIG", *ENVIRONMENT):
        monkeypatch.delenv(name, raising=False)
    found = tmp_path / "builds"
    monkeypatch.setenv("BUILDTOOL_BUILD_DIR", str(found))
    authority, store = new_authority("farm", time.time()), CredentialStore(found / "identity")
    made = client_certificate(authority, store.key().public_key(), "attic", time.time(), 3600.0)
    roots = (certificate_text([authority.certificate]).decode(),)
    store.keep(Credentials("attic", "build server", certificate_text([made]).decode(), 0.0, roots), [("127.0.0.1", 1)])
    return found


@pytest.fixture
def troubles(builds: Path) -> Callable[[str], dict[str, str]]:
    """Return what would keep a start from its work where the owner's file says this."""

    def examine(text: str) -> dict[str, str]:
        (builds / "buildserver.toml").write_text(text)
        store = CredentialStore(builds / "identity")
        _, said = COMMAND_LINE.parse(["doctor"])
        found, _ = start_results(Start.of(load_settings(secrets=False), said, store, store.load()))
        return {one.what: one.words for one in found if one.verdict is CheckVerdict.PROBLEM}

    return examine


def test_the_doctor_looks_at_the_configuration_that_is_followed(builds: Path, tmp_path: Path) -> None:
    def told(text: str) -> list[tuple[str, CheckVerdict, str]]:
        (builds / "buildserver.toml").write_text(text)
        store = CredentialStore(builds / "identity")
        _, said = COMMAND_LINE.parse(["doctor"])
        _, found = follow_results(Start.of(load_settings(secrets=False), said, store, store.load()))
        return [(one.what, one.verdict, one.words) for one in found]

    require("ssh-keygen", "openssh-client")
    assert told("") == []
    (_, verdict, words) = told('follow_config = "/srv/x.git"\n')[0]
    assert verdict is CheckVerdict.PROBLEM
    assert "--follow-config needs --signed-by" in words
    text = 'follow_config = "/srv/x.git#main"\nsigned_by = ["keys"]\n'
    assert told(text)[0][2] == f"--signed-by: {builds / 'keys'} cannot be read: No such file or directory"
    make_key(tmp_path / "key").rename(builds / "keys")
    assert told(text) == [("follow-config", CheckVerdict.OK, "/srv/x.git#main: no commit of it is used yet")]


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the line with which a start ends."""
    assert main([]) == 2
    return capsys.readouterr().err.removeprefix("buildserver.py: ").rstrip("\n")


@pytest.mark.parametrize(
    ("text", "what", "words"),
    [
        ('name = "rita"\n', "machine", "has joined as attic"),
        ('platforms = ["plan9"]\n', "platforms", "is no platform"),
        ('toolchains = "none.toml"\n', "platforms", "none.toml"),
        ('secret_files = ["nope"]\n', "secret files", "nope cannot be read"),
    ],
)
def test_what_the_start_refuses_the_doctor_tells_in_the_same_words(
    text: str, what: str, words: str, troubles: Callable[[str], dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    found = troubles(text)
    assert set(found) == {what}
    assert words in found[what]
    assert refusal(capsys) == found[what]


def test_everything_that_is_wrong_is_told_at_once(
    troubles: Callable[[str], dict[str, str]], builds: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert troubles("") == {}
    found = troubles('name = "rita"\nplatforms = ["plan9"]\nsecret_files = ["nope"]\n')
    assert set(found) == {"machine", "platforms", "secret files"}
    (builds / "attic").write_text("a file in the place of the directory")
    assert "Not a directory" in troubles("")["build_dir"]
    assert refusal(capsys).startswith("build_dir: cannot write in")


def test_the_doctor_says_what_each_wish_means_now(builds: Path) -> None:
    def told(text: str) -> list[str]:
        (builds / "guest.toml").write_text(text)
        store = CredentialStore(builds / "identity")
        _, said = COMMAND_LINE.parse(["doctor"])
        found = wish_results(Start.of(load_settings(secrets=False), said, store, store.load()), None)
        assert [one.what for one in found][-1] in ("running", "wishes")
        return [one.words for one in found if one.what == "wishes"]

    assert told("") == ["nothing that its owner asks for is in the way now"]
    full, away = told("disk = 1000000\naway = ['2000-01-01..2200-01-01']")
    assert full == "no build begins now: its owner keeps what is left of its disk until 1e+06 GiB of it are free"
    assert away.startswith("no build begins now: its owner said that it is away (2000-01-01..2200-01-01)")
    (skipped,) = told("disk = -1")
    assert skipped.startswith("skipped: hours, presence, power and disk, because ")
    assert "disk = '-1' is not a whole number" in skipped


def test_the_doctor_tells_of_each_other_system_whether_it_is_offered_and_else_why_and_what_helps(
    tmp_path: Path,
) -> None:
    (none,) = root_results(offered(tmp_path))
    assert none.verdict is CheckVerdict.OK
    assert "bin/buildserver.py add-platform arm64 --suite bookworm adds one" in none.words
    add(tmp_path)
    (one,) = root_results(offered(tmp_path))
    assert (one.verdict, one.words) == (
        CheckVerdict.OK, "bullseye-amd64: native, debian-11, glibc 2.31, gcc-10.2.1",
    )  # fmt: skip
    (wrong,) = root_results(offered(tmp_path, why="nothing runs it"))
    assert (wrong.verdict, wrong.words, wrong.mend) == (
        CheckVerdict.WARNING, "bullseye-amd64 is not offered: nothing runs it", "mend it",
    )  # fmt: skip
    damaged, other = root_results(offered(tmp_path), ["sid-amd64"])
    assert (damaged.verdict, damaged.words, other.verdict) == (
        CheckVerdict.WARNING, "sid-amd64 is damaged", CheckVerdict.OK,
    )  # fmt: skip
    assert damaged.mend.endswith("remove-platform sid-amd64 removes it")


def test_the_doctor_names_the_packages_whose_compilers_make_programs_for_what_nothing_here_does() -> None:
    detected: dict[str, Detected] = {"os": "linux", "arch": "x86_64", "libc": "glibc"}
    musl = Toolchain("x86_64", OfferKind.CROSS, "musl", "1.0", {"CC": "musl-gcc"}, packaged=True)
    wasi = Toolchain("wasm32", OfferKind.CROSS, "wasi-libc", None, {"CC": "clang"}, "wasi", packaged=True)

    def told(*there: Toolchain) -> str:
        survey = ToolchainSurvey(there)
        found = announced([project()], detected, max_builds=1, admin="", software="", found=survey)
        (one,) = compiler_results(found)
        assert one.verdict is CheckVerdict.OK, "nothing is wrong without"
        return one.words

    install = "apt-get install --no-install-recommends"
    assert f"musl ({install} musl-tools)" in told()
    assert f"WASI ({install} clang lld llvm wasi-libc libclang-rt-dev-wasm32)" in told(musl)
    assert "musl" not in told(musl)
    assert f"programs for Windows ({install} gcc-mingw-w64-x86-64); zig" in told(wasi, musl)


@pytest.mark.world
def test_the_doctor_says_what_a_build_server_that_runs_says_of_itself(builds: Path) -> None:
    def running() -> tuple[CheckVerdict, str, str]:
        store = CredentialStore(builds / "identity")
        _, said = COMMAND_LINE.parse(["doctor"])
        last = wish_results(Start.of(load_settings(secrets=False), said, store, store.load()), None)[-1]
        assert last.what == "running"
        return last.verdict, last.words, last.mend

    verdict, words, _ = running()
    assert verdict is CheckVerdict.OK
    assert "no build server named attic runs" in words
    for answer, expected in (
        ({"takes": True}, (CheckVerdict.OK, "attic runs and takes builds", "")),
        (
            {"takes": False, "why": "its owner paused it"},
            (
                CheckVerdict.WARNING,
                "attic runs and takes no builds: its owner paused it",
                "bin/buildserver.py resume ends a pause",
            ),
        ),
    ):
        with answering(builds / "attic" / NAME, answer):
            assert running() == expected


def test_after_wrong_options_the_doctor_says_what_it_skipped_and_why(
    builds: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (builds / "buildserver.toml").write_text("nonsense = 1\n")
    _, said = COMMAND_LINE.parse(["doctor", "--json"])
    unused = cast(ReactorBase, Clock())
    ended = Deferred.fromCoroutine(_examined(said, load_settings(secrets=False), unused, StopRequest()))
    assert ended.result == EXIT_FAILED
    told = {one["what"]: one for one in json.loads(capsys.readouterr().out)["checks"]}
    assert told["options"]["verdict"] == "problem"
    assert told["metaserver"]["words"].startswith("skipped: what comes after that, up to the metaserver, because ")
    assert "nonsense" in told["metaserver"]["words"]
    assert told["metaserver"]["verdict"] == "warning"


@contextmanager
def answering(path: Path, answer: object) -> Iterator[None]:
    """Let something answer once at a build server's socket."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as listening, short_address(path) as address:
        listening.bind(address)
        listening.listen()

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(json.dumps(answer).encode() + b"\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield
        thread.join(60)
    path.unlink()
