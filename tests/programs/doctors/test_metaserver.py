"""The metaserver's doctor, by breaking each thing: real files, a real database, ports and mail servers."""

from __future__ import annotations

import json
import resource
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.sql.sqlite import SqliteDatabase
from buildtool.adapters.storage.directory_lock import DATABASE, DirectoryLock
from buildtool.adapters.tls.authority import Authority
from buildtool.adapters.tls.certificates import (
    DAY,
    certificate_text,
    key_text,
    new_authority,
    new_key,
    server_certificate,
)
from buildtool.configuration.given.names import ENVIRONMENT
from buildtool.programs.doctors import metaserver as program
from buildtool.programs.local.ground import free_ports
from buildtool.programs.metaserver.main import main
from tests.support.inline import run
from tests.support.smtp import Authority as MailAuthority
from tests.support.smtp import SmtpServer

Doctor = Callable[..., dict[str, dict[str, str]]]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def doctor(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Doctor:
    """Return the verdicts by what they are about, the worst of each, and check the exit code."""
    for name in ("BUILDTOOL_CONFIG", *ENVIRONMENT):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "one.py").write_text(
        "from buildtool.project import *\n"
        "def plan(wanted):\n    return Plan([Command(['make'])], ['x'])\n"
        "project = Project('lua', ProjectOptions((), ()), Recipe(1, plan), lambda source: 'https://git.example/x.git')\n"
    )
    for part, port in zip(("PB", "TRANSFER", "WEB"), free_ports(3), strict=True):
        monkeypatch.setenv(f"BUILDTOOL_{part}_PORT", str(port))
    monkeypatch.setenv("BUILDTOOL_STATE_DIR", str(state))

    def examine(text: str = "projects = [load('one.py')]\n", *words: str, well: bool) -> dict[str, dict[str, str]]:
        (tmp_path / "config.py").write_text(text)
        code = main(["doctor", "--json", *words, "--config", str(tmp_path / "config.py")])
        told: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert (code, told["ok"]) == ((0, True) if well else (1, False)), told
        found: dict[str, dict[str, str]] = {}
        for one in told["checks"]:
            if one["what"] not in found or found[one["what"]]["verdict"] == "ok":
                found[one["what"]] = one
            assert bool(one["mend"]) is (one["verdict"] != "ok")
        return found

    return examine


def test_a_state_directory_that_is_not_there_yet_is_well(doctor: Doctor) -> None:
    found = doctor(well=True)
    assert {what for what, one in found.items() if one["verdict"] != "ok"} == {"mail"}
    assert set(found) == {
        "configuration", "name", "port", "keys", "database", "disk", "mail", "compilers", "open files",
    }  # fmt: skip


def test_a_configuration_that_is_wrong(doctor: Doctor) -> None:
    assert "did you mean 'host'?" in doctor("hots = 'x'\n", well=False)["configuration"]["words"]
    assert "nothing to build" in doctor("projects = []\n", well=False)["configuration"]["words"]


def test_a_host_that_has_no_address(doctor: Doctor) -> None:
    found = doctor("host = 'farm.invalid'\nprojects = [load('one.py')]\n", well=False)
    assert found["name"]["verdict"] == "problem"


def test_a_port_that_another_program_has_and_one_that_a_running_metaserver_does_not_answer(
    doctor: Doctor, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUILDTOOL_TRUSTED", "loopback")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setenv("BUILDTOOL_PB_PORT", str(taken.getsockname()[1]))
        assert "cannot be used" in doctor(well=False)["port"]["words"]
        monkeypatch.setenv("BUILDTOOL_TRANSFER_PORT", str(free_ports(1)[0]))
        lock = DirectoryLock(state, "metaserver")
        found = doctor(well=False)
        lock.close()
    assert "the metaserver runs, but transfer_port" in found["port"]["words"]


def test_the_web_port_is_needed_by_a_start_with_web_only(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setenv("BUILDTOOL_WEB_PORT", str(taken.getsockname()[1]))
        found = doctor(well=True)["port"]
        assert found["verdict"] == "warning"
        assert "--web" in found["mend"]
        assert "web_port 127.0.0.1:" in doctor("projects = [load('one.py')]\n", "--web", well=False)["port"]["words"]
    assert doctor("projects = [load('one.py')]\n", "--web", well=True)["port"]["verdict"] == "ok"


def test_keys_that_others_can_read_that_are_damaged_or_expired(doctor: Doctor, state: Path) -> None:
    authority = Authority.load(state / "tls", time.time())
    authority.server(["127.0.0.1"], time.time())
    found = doctor(well=True)
    assert authority.fingerprint in found["fingerprint"]["words"]
    (state / "tls" / "authority-1.pem").chmod(0o644)
    assert "chmod 600" in doctor(well=False)["keys"]["mend"]
    (state / "tls" / "authority-1.pem").chmod(0o600)
    (state / "tls" / "server.pem").unlink()
    authority.server(["127.0.0.1"], time.time() - 40 * DAY)
    assert "server.pem has expired" in doctor(well=False)["certificate"]["words"]
    (state / "tls" / "authority-1.pem").write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
    told = doctor(well=False)["keys"]
    assert "is encrypted" in told["words"]
    assert told["mend"] == "bin/metaserver restore --passphrase-file FILE makes it usable"
    (state / "tls" / "authority-1.pem").write_text("x")
    assert "backup" in doctor(well=False)["keys"]["mend"]


def test_a_socket_in_a_directory_and_a_certificate_of_the_operator_s_are_looked_at_too(
    doctor: Doctor, tmp_path: Path
) -> None:
    """Each part may listen elsewhere, and browsers may be shown another certificate."""
    text = f"transfer_bind = 'unix:{tmp_path}/run/transfer'\nprojects = [load('one.py')]\n"
    assert f"there is no directory {tmp_path}/run" in doctor(text, well=False)["port"]["words"]
    (tmp_path / "run").mkdir()
    assert doctor(text, well=True)["port"]["verdict"] == "ok"
    authority = new_authority("somebody", time.time())
    key = new_key()
    late = server_certificate(authority, key.public_key(), ["127.0.0.1"], time.time() - 40 * DAY)
    (tmp_path / "own.pem").write_bytes(certificate_text([late]))
    (tmp_path / "own.key").write_bytes(key_text(key))
    own = f"tls_certificate = '{tmp_path}/own.pem'\ntls_key = '{tmp_path}/own.key'\nprojects = [load('one.py')]\n"
    assert "own.pem has expired" in doctor(own, well=False)["certificate"]["words"]
    (tmp_path / "own.key").write_bytes(key_text(new_key()))
    assert "is not the key of" in doctor(own, well=False)["certificate"]["words"], "a start ends with that"


def test_a_database_that_is_none_or_damaged(doctor: Doctor, state: Path) -> None:
    state.mkdir()
    database = run(SqliteDatabase.open(state / DATABASE, Inline()))
    run(database.close())
    assert doctor(well=True)["database"]["words"].endswith("is sound")
    path = state / DATABASE
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert doctor(well=False)["database"]["verdict"] == "problem"
    path.write_bytes(b"not a database at all, but long enough to be looked at" * 100)
    assert "fsck" in doctor(well=False)["database"]["mend"]


def test_a_mail_server_that_is_away_refuses_or_has_no_name(doctor: Doctor) -> None:
    server = SmtpServer()
    server.start()
    try:
        config = (
            f"projects = [load('one.py')]\nmail = {{'host': '127.0.0.1', 'port': {server.port}, "
            "'sender': 'farm@example.org', 'starttls': 'never'}\n"
        )
        said = "takes mail from farm@example.org, for addresses with letters from a to z"
        assert said in doctor(config, well=True)["mail"]["words"]
        server.at_sender = "refuse"
        assert "550" in doctor(config, well=False)["mail"]["words"]
        secure = config.replace("'never'", "'required'")
        assert "STARTTLS" in doctor(secure, well=False)["mail"]["words"]
    finally:
        server.end()
    assert "refused" in doctor(config, well=False)["mail"]["words"]
    assert "has no address" in doctor(config.replace("127.0.0.1", "mail.invalid"), well=False)["mail"]["words"]


def test_a_mail_server_that_begins_with_tls_and_takes_any_letters(
    doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = MailAuthority(tmp_path)
    (tmp_path / "authority.pem").write_bytes(authority.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    server = SmtpServer(tls=authority.server("127.0.0.1", asks=True), implicit=True, utf8=True)
    server.start()
    try:
        config = (
            f"projects = [load('one.py')]\nmail = {{'host': '127.0.0.1', 'port': {server.port}, "
            f"'sender': 'höf@example.org', 'implicit_tls': True, "
            f"'certificate_file': {str(authority.file('farm.example.org'))!r}}}\n"
        )
        said = "takes mail from höf@example.org, for addresses with any letters"
        assert said in doctor(config, well=True)["mail"]["words"]
    finally:
        server.end()


def test_a_password_is_not_told_to_a_mail_server_in_the_clear(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARM_MAIL", "s3cret")
    server = SmtpServer(login=("farm", "s3cret"), login_in_clear=True)
    server.start()
    try:
        config = (
            f"projects = [load('one.py')]\nmail = {{'host': '127.0.0.1', 'port': {server.port}, "
            "'sender': 'farm@example.org', 'starttls': 'opportunistic', "
            "'username': 'farm', 'password_env': 'FARM_MAIL'}\n"
        )
        assert "STARTTLS" in doctor(config, well=False)["mail"]["words"]
        assert doctor(config.replace("opportunistic", "never"), well=True)["mail"]["verdict"] == "ok"
    finally:
        server.end()


def test_a_disk_and_a_limit_of_open_files_that_are_too_small(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "NEED", 2**62)
    assert doctor(well=False)["disk"]["verdict"] == "problem"
    monkeypatch.setattr(program, "NEED", 1)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    monkeypatch.setattr(program, "OPEN_FILES", hard + 1)
    assert "LimitNOFILE" in doctor(well=True)["open files"]["mend"]


def test_a_machine_without_git(doctor: Doctor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor(well=False)["compilers"]["mend"] == "install git by hand"
