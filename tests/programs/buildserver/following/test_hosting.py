"""A build server that follows a repository ends when it is told to, whatever it waits for."""

import signal
import socket
from pathlib import Path

import pytest

from buildtool.programs.buildserver.main import main
from tests.programs.buildserver.following.conftest import Donor, config
from tests.programs.buildserver.test_main import started, unused_port

pytestmark = pytest.mark.world


def test_a_stop_does_not_wait_for_a_repository_that_does_not_answer(donor: Donor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60.0)
        url = f"git://127.0.0.1:{silent.getsockname()[1]}/x"
        words = ["--name", "attic", "--config", str(donor.own), "--port", str(unused_port()), "--sandbox", "none"]
        with started(*words, "--no-cross", "--follow-config", url, "--signed-by", str(donor.public)) as process:
            connection, _ = silent.accept()
            with connection:
                process.send_signal(signal.SIGTERM)
                assert process.wait(timeout=60) == 0


def test_a_start_that_could_not_check_signatures_is_refused_in_a_line(
    donor: Donor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    donor.public.write_text(config(1))
    words = ["--name", "attic", "--config", str(donor.own), "--sandbox", "none", "--no-cross", *donor.options]
    assert main(words) == 2
    assert capsys.readouterr().err.startswith(f"buildserver.py: --signed-by: {tmp_path / 'owner.pub'}: line 2: ")
