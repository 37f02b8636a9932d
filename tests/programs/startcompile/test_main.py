"""startcompile.py as a program: its files, its output, its last line."""

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console as RichConsole
from twisted.internet.task import Clock

from buildtool.errors import OutputUnread, UsageError
from buildtool.ports.requester import Tone
from buildtool.programs.startcompile.command_line import Arguments
from buildtool.programs.startcompile.consoles import LINE_LIMIT, JsonConsole, LogText, PlainConsole
from buildtool.programs.startcompile.destination import FilePlace, OutputPlace
from buildtool.programs.startcompile.errands import console_of, detected
from buildtool.programs.startcompile.main import main
from buildtool.programs.startcompile.reporting import report
from buildtool.programs.startcompile.terminal import TerminalConsole
from buildtool.project import ProjectOptions, choice, standard
from buildtool.requester.outcome import ExitCode, RequestResult
from tests import messages
from tests.programs.startcompile.test_command_line import project
from tests.support.warm_starts import finished

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- where the artifact goes --------------------------------------------------------------------------------


def test_the_artifact_keeps_its_name_unless_a_file_is_named(here: Path) -> None:
    (here / "there").mkdir()
    assert OutputPlace("").path("a.zip") == Path("a.zip")
    assert OutputPlace("there").path("a.zip") == Path("there/a.zip")
    assert OutputPlace("new/").path("a.zip") == Path("new/a.zip")
    assert OutputPlace("b.zip").path("a.zip") == Path("b.zip")


def test_a_directory_that_is_named_with_a_slash_is_made(here: Path) -> None:
    OutputPlace("new/").check()
    assert (here / "new").is_dir()


@pytest.mark.parametrize("output", ["no/such/file.zip", "no/such/", "file/below.zip"])
def test_a_place_that_there_is_not_is_one_line(here: Path, output: str) -> None:
    (here / "file").write_text("")
    with pytest.raises(UsageError, match="--output: ") as caught:
        OutputPlace(output).check()
    assert "\n" not in str(caught.value)


def test_a_directory_in_place_of_the_file_is_refused(here: Path) -> None:
    (here / "artifact.zip").mkdir()
    with pytest.raises(UsageError, match="is no file"):
        OutputPlace("").check()


def test_only_the_same_bytes_count_as_being_there(here: Path) -> None:
    import hashlib

    from buildtool.adapters.runtime.threads import Inline

    place = FilePlace(OutputPlace(""), Inline())
    (here / "x").write_bytes(b"abc")
    digest = hashlib.sha256(b"abc").hexdigest()

    def holds(path: str, size: int, digest: str) -> bool:
        coroutine = place.holds(path, size, digest)
        with pytest.raises(StopIteration) as done:
            coroutine.send(None)
        return bool(done.value.value)

    assert holds("x", 3, digest)
    assert not holds("x", 4, digest)
    assert not holds("x", 3, "0" * 64)
    assert not holds("y", 3, digest)


# --- this machine -----------------------------------------------------------------------------------------


def test_only_artifact_properties_that_the_project_looks_at_are_detected() -> None:
    ours = project(ProjectOptions(standard("arch", "os", "memory"), ()))
    found = detected(
        ours, {"arch": lambda _: "amd64", "os": lambda _: None, "memory": lambda _: 5, "bits": lambda _: 64}
    )
    assert found == {"arch": "x86_64"}


def test_a_machine_that_the_project_does_not_know_has_no_such_property() -> None:
    import attrs

    arch = attrs.evolve(standard("arch")[0], option=choice("arch", ["ppc"]))
    assert detected(project(ProjectOptions((arch,), ())), {"arch": lambda _: "x86_64"}) == {}


# --- consoles ---------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=60)))
def test_the_lines_of_a_log_are_printable_wherever_it_is_split(pieces: list[bytes]) -> None:
    text = LogText()
    said = [line for piece in pieces for line in text.feed(piece)]
    whole = LogText().feed(b"".join(pieces))
    assert said == whole
    assert all(line.isprintable() for line in said)


def test_a_log_without_line_ends_is_shown_in_bounded_pieces() -> None:
    text = LogText()
    said = [line for _ in range(10) for line in text.feed(b"x" * 1_000)]
    assert [len(line) for line in said] == [LINE_LIMIT] * 2


def test_plain_lines_go_to_the_stream_and_a_closed_one_is_no_error() -> None:
    stream = io.StringIO()
    console = PlainConsole(stream)
    console.say("one")
    console.log(b"\x1b[31mtwo\nthree")
    assert stream.getvalue() == "one\n| two\n"
    stream.close()
    console.say("four")


def test_a_terminal_shows_state_lines_and_a_bar_and_is_left_clean() -> None:
    clock, screen = Clock(), io.StringIO()
    console = TerminalConsole(clock, RichConsole(file=screen, force_terminal=True, width=100, highlight=False))
    console.state(messages.waiting(), 0.0)
    clock.advance(1)
    console.log(b"[bold]no markup[/bold]\n")
    console.say("[red]a line[/red]")
    console.state(messages.waiting(state="satisfied", build_state="succeeded"), 0.0)
    clock.advance(1)
    console.downloading("[b]x.zip", 1024, 3 * 1024 * 1024)
    clock.advance(1)
    console.downloading("[b]x.zip", 2 * 1024 * 1024, 3 * 1024 * 1024)
    clock.advance(1)
    console.downloading("[b]x.zip", 3 * 1024 * 1024, 3 * 1024 * 1024)
    console.close()
    shown = screen.getvalue()
    for words in (
        "build 17 on anna", "[bold]no markup[/bold]", "[red]a line[/red]", "build 17 succeeded", "[b]x.zip",
        "0.0/3.0 MiB", "2.0/3.0 MiB", "1.0 MiB/s",
    ):  # fmt: skip
        assert words in shown
    assert "/?" not in shown, "a size that is known is not asked for"
    assert not clock.getDelayedCalls()


def on_a_terminal(
    width: int = 100, surroundings: Mapping[str, str] = MappingProxyType({"TERM": "xterm"})
) -> tuple[Clock, io.StringIO, TerminalConsole]:
    clock, screen = Clock(), io.StringIO()
    rich = RichConsole(file=screen, force_terminal=True, width=width, highlight=False, _environ=dict(surroundings))
    return clock, screen, TerminalConsole(clock, rich)


def test_a_terminal_shows_how_far_a_build_is_beside_what_is_usual_and_why_another_waits() -> None:
    clock, screen, console = on_a_terminal()
    console.state(messages.waiting("queued", why=("  attic: busy until about 18:00",)), 60.0)
    clock.advance(5)
    console.state(messages.waiting(usual=120.0), 0.0)
    clock.pump([0.2] * 300)
    clock.pump([0.2] * 500)
    console.close()
    shown = screen.getvalue()
    for words in (
        "build 17 has waited for 60 s: attic: busy until about 18:00", "build 17 has waited for 65 s",
        "build 17 on anna", "60 s of usually 2 min", "longer than usual: 3 min so far, usually 2 min",
    ):  # fmt: skip
        assert words in shown
    assert not clock.getDelayedCalls()


@pytest.mark.parametrize(("more", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_an_end_has_its_colour_unless_no_colours_are_wanted(more: dict[str, str], coloured: bool) -> None:
    _, screen, console = on_a_terminal(surroundings={"TERM": "xterm-256color", **more})
    console.say("build 17 failed", Tone.BAD)
    console.state(messages.waiting(usual=60.0), 30.0)
    console.close()
    colours = re.findall(r"\x1b\[[0-9;]*3[0-9](?:;[0-9;]*)?m", screen.getvalue())
    assert bool(colours) is coloured, screen.getvalue()


def test_what_is_at_the_bottom_stays_one_line_on_a_narrow_terminal() -> None:
    clock, screen, console = on_a_terminal(width=30)
    console.state(messages.waiting("queued", why=("  " + "a reason without end " * 20,)), 0.0)
    clock.advance(0.2)
    console.close()
    assert screen.getvalue().count("\n") == 1, "but the one that is taken back at the end"


def test_events_are_lines_of_json_each_with_its_kind_and_time() -> None:
    stream, times = io.StringIO(), iter(range(100))
    console = JsonConsole(lambda: float(next(times)), stream)
    console.say("queued as build 17", Tone.PLAIN)
    console.state(messages.waiting(), 0.0)
    console.log(b"one\ntwo")
    console.downloading("a.zip", 1, 3)
    console.downloading("a.zip", 3, 3)
    console.moved(messages.told(), "request 12, build 17: satisfied")
    console.close()
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [event["event"] for event in events] == ["note", "state", "log", "download", "download", "state", "log"]
    assert events[1]["build_state"] == "running"
    assert "token" not in events[1]
    assert [event["lines"] for event in events if event["event"] == "log"] == [["one"], ["two"]]
    assert all("at" in event for event in events)


def test_of_a_fast_download_a_line_a_second_is_told() -> None:
    stream, now = io.StringIO(), [0.0]
    console = JsonConsole(lambda: now[0], stream)
    for received in range(1_001):
        now[0] = received / 500
        console.downloading("a.zip", received, 1_000)
    assert [json.loads(line)["received"] for line in stream.getvalue().splitlines()] == [0, 500, 1_000]


def test_a_last_line_that_was_never_ended_is_shown_at_the_end() -> None:
    stream = io.StringIO()
    console = PlainConsole(stream, mark="")
    console.log(b"one\nand no more")
    console.close()
    console.close()
    assert stream.getvalue() == "one\nand no more\n"


@pytest.mark.parametrize(("term", "kind"), [("dumb", PlainConsole), ("", PlainConsole), ("xterm", TerminalConsole)])
def test_a_terminal_that_shows_no_more_than_lines_gets_lines(
    term: str, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setenv("TERM", term)
    assert type(console_of(Arguments(None), Clock())) is kind


def test_what_can_be_copied_is_one_line_on_however_narrow_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """What is printed beside a live display is not broken by it either."""
    command = "cancel with: bin/startcompile.py cancel 12-0123456789abcdef0123456789abcdef0123456789abcdef"
    clock, screen = Clock(), io.StringIO()
    console = TerminalConsole(clock, RichConsole(file=screen, force_terminal=True, width=40, highlight=False))
    console.state(messages.waiting(), 0.0)
    console.say(command)
    print(command, file=sys.stderr)
    console.close()
    assert command in screen.getvalue()
    assert capsys.readouterr().err == f"{command}\n"


# --- the program ------------------------------------------------------------------------------------------


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "BUILDTOOL_PB_PORT": "1"}
    environment.pop("BUILDTOOL_CONFIG", None)
    return finished([sys.executable, str(ROOT / "bin" / "startcompile.py"), *arguments], env=environment, cwd=cwd)


def test_no_metaserver_is_one_line_and_an_exit_code(tmp_path: Path) -> None:
    done = run("anna@mail.example", cwd=tmp_path)
    assert done.returncode == 7
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("startcompile.py: no metaserver answers at 127.0.0.1:1")


def test_json_is_one_object_on_standard_output_also_for_an_error(tmp_path: Path) -> None:
    done = run("--json", "anna@mail.example", cwd=tmp_path)
    assert json.loads(done.stdout)["exit"] == done.returncode == 7
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize("config", [str(ROOT / "config.py"), "config.py"])
def test_a_current_directory_that_was_deleted_is_said_to_be_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], config: str
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert main(["--explain", "--config", config]) == ExitCode.USAGE
    (line,) = capsys.readouterr().err.splitlines()
    assert "is not there any more" in line
    assert line.endswith("cd to another one")
    monkeypatch.chdir(tmp_path)


def test_a_wrong_command_line_is_one_line(tmp_path: Path) -> None:
    """Nobody listens who could know more of the project."""

    def said(*words: str) -> subprocess.CompletedProcess[str]:
        return finished(
            [sys.executable, str(ROOT / "bin" / "startcompile.py"), "--port", "9", *words],
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)},
        )

    plain = said("--nonsense", "anna@mail.example")
    assert (plain.returncode, plain.stdout) == (2, "")
    assert plain.stderr.startswith("startcompile.py: unknown option --nonsense")
    assert plain.stderr.count("\n") == 1
    assert json.loads(said("--json", "--nonsense").stdout)["error"]["code"] == "usage"


def test_help_is_printed_and_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "example:" in capsys.readouterr().out


def test_no_artifact_goes_to_standard_output_or_over_a_file_that_is_read_only(here: Path) -> None:
    with pytest.raises(UsageError, match="does not go to standard output"):
        OutputPlace("-").check()
    OutputPlace("./-").check()
    kept = here / "kept.zip"
    kept.write_bytes(b"kept")
    OutputPlace("kept.zip").check()
    kept.chmod(0o444)
    with pytest.raises(UsageError, match="is there and read-only"):
        OutputPlace("kept.zip").check()
    with pytest.raises(UsageError, match="is there and read-only"):
        OutputPlace("").check("kept.zip")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("wants_json", [True, False])
def test_a_request_whose_answer_could_not_be_printed_can_still_be_taken_back(
    wants_json: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with io.TextIOWrapper(io.FileIO("/dev/full", "w"), write_through=True) as full:
        monkeypatch.setattr("sys.stdout", full)
        console = PlainConsole()
        if not wants_json:
            console.say("cancel with: ...")
        code = report([RequestResult(ExitCode.OK, messages.waiting())], console.lost, wants_json=wants_json)
    said = capsys.readouterr().err
    assert code == ExitCode.INTERNAL
    assert "standard output cannot be written, and not everything was printed: No space left on device" in said
    assert "request 12-abcdef goes on; the command cancel takes it back" in said


def test_what_nobody_reads_to_its_end_is_not_worth_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    unread = OutputUnread("nobody reads it")
    assert report([RequestResult(ExitCode.OK, messages.waiting())], unread, wants_json=False) == ExitCode.UNREAD
    assert report([RequestResult(ExitCode.FAILED, messages.waiting())], unread, wants_json=False) == ExitCode.FAILED
    assert capsys.readouterr().err == ""
