"""Commands of versions end in time, and what failed is said in one line; readiness is asked without proxies."""

import http.server
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from buildtool.programs.updating.commands import asked, run_command
from tests.adapters.processes.test_runner import alive
from tests.e2e.test_operator import wait_until

pytestmark = pytest.mark.world


def test_what_a_command_prints_is_returned_and_the_last_line_says_why_it_failed(tmp_path: Path) -> None:
    assert run_command(("sh", "-c", "echo 17"), tmp_path, 30.0).out == "17\n"
    ended = run_command(("sh", "-c", "echo one >&2; echo two >&2; exit 3"), tmp_path, 30.0)
    assert ended.why == "sh ended with code 3: two"
    assert run_command(("sh", "-c", "kill -9 $$"), tmp_path, 30.0).why == "sh ended with signal 9"
    assert run_command(("bin/none",), tmp_path, 30.0).why == "bin/none cannot be run: No such file or directory"


def test_a_command_with_a_slash_lies_in_the_version_and_hears_nothing_that_is_for_updates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUILDTOOL_UPDATE_SOURCE", "https://x:secret@example.org/x.git")
    monkeypatch.setenv("BUILDTOOL_CONFIG", "/etc/x")
    (tmp_path / "tell").write_text("#!/bin/sh\nenv | grep ^BUILDTOOL_\n")
    (tmp_path / "tell").chmod(0o755)
    told = run_command(("./tell",), tmp_path, 30.0).out.splitlines()
    assert "BUILDTOOL_CONFIG=/etc/x" in told
    assert not any("secret" in line for line in told)


def test_a_command_that_takes_too_long_is_ended_with_what_it_started(tmp_path: Path) -> None:
    words = ("sh", "-c", "sleep 600 & echo $! > started; wait")
    assert run_command(words, tmp_path, 0.5).why == "sh took longer than 0.5 s"
    started = int((tmp_path / "started").read_text())
    wait_until(lambda: not alive(started))  # it was told so, and is nobody's child to wait for


def test_on_a_full_disk_a_command_runs_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    assert run_command(("sh", "-c", "echo 17; echo > ran"), tmp_path, 30.0).why == ""
    assert (tmp_path / "ran").exists()
    assert run_command(("sh", "-c", "exit 3"), tmp_path, 30.0).why == "sh ended with code 3"


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers with what the path says, or without an end."""

    over = threading.Event()

    def do_GET(self) -> None:
        if self.path == "/drips":
            with suppress(OSError):  # who asks goes away
                while not self.over.wait(0.02):
                    self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return
        self.send_response(int(self.path[1:]))
        self.send_header("Location", "/200")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the library calls it
        """Say nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    with http.server.HTTPServer(("127.0.0.1", 0), Answers) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        Answers.over.clear()
        yield int(server.server_address[1])
        Answers.over.set()
        server.shutdown()
        serving.join()


def test_only_200_is_ready_and_the_way_to_it_is_direct(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert asked(f"http://127.0.0.1:{port}/200", 30.0) == ""
    assert asked(f"http://127.0.0.1:{port}/503", 30.0) == f"http://127.0.0.1:{port}/503 answered 503"
    assert asked(f"http://127.0.0.1:{port}/204", 30.0) == f"http://127.0.0.1:{port}/204 answered 204"
    assert asked(f"http://127.0.0.1:{port}/302", 30.0) == f"http://127.0.0.1:{port}/302 answered 302", (
        "nor where it leads"
    )
    assert asked("http://127.0.0.1:1/x", 30.0) == "http://127.0.0.1:1/x does not answer: Connection refused"


def test_an_answer_that_comes_bit_by_bit_and_never_ends_is_not_waited_for(port: int) -> None:
    assert asked(f"http://127.0.0.1:{port}/drips", 0.3) == f"http://127.0.0.1:{port}/drips took longer than 0.3 s"
