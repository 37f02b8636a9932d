"""``bin/metaserver bounce``: what a mail server's pipe gets for an answer."""

import io
import subprocess
import sys
from pathlib import Path

import pytest

from buildtool.programs.metaserver.main import main
from buildtool.programs.operating.bounce_command import EXIT_TRY_LATER
from tests.adapters.mail.test_returned import ADDRESS, POSTFIX

ROOT = Path(__file__).parents[3]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.py"
    path.write_text("mail = {'host': 'mail.test', 'sender': 'farm@example.org', 'bounces': 'b+{id}@example.org'}\n")
    return path


def bounced(config: Path, message: str, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(message.encode())))
    monkeypatch.setattr(sys, "argv", ["metaserver", "bounce", *words, "--config", str(config)])
    return main()


def test_what_is_no_report_is_taken_and_nothing_is_noted(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for message, words in (("", ()), ("To: somebody@example.org\n\nHello\n", (ADDRESS,))):
        assert bounced(config, message, monkeypatch, *words) == 0
        assert "nothing is noted" in capsys.readouterr().out


@pytest.mark.world
def test_without_a_metaserver_the_mail_server_is_to_try_again(config: Path) -> None:
    command = [sys.executable, str(ROOT / "bin/metaserver"), "bounce", "--config", str(config)]
    done = subprocess.run(command, input=POSTFIX.encode(), capture_output=True, check=False)
    assert done.returncode == EXIT_TRY_LATER
    assert b"no metaserver runs" in done.stderr


def test_with_a_wrong_configuration_the_mail_server_keeps_the_report(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text("mail = 7\n")
    assert bounced(config, POSTFIX, monkeypatch) == EXIT_TRY_LATER
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.world
def test_input_that_cannot_be_read_or_never_ends_is_one_line(config: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "bin/metaserver"), "bounce", "--config", str(config)]
    with Path("/dev/zero").open("rb") as endless:
        done = subprocess.run(command, stdin=endless, capture_output=True, check=False)
    assert (done.returncode, done.stdout.count(b"\n"), done.stderr) == (0, 1, b"")
    with (tmp_path / "written").open("wb") as unreadable:
        done = subprocess.run(command, stdin=unreadable, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (EXIT_TRY_LATER, b"", 1)
    assert b"standard input cannot be read" in done.stderr
