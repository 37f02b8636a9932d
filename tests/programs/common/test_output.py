"""What is printed: every line arrives in whatever encoding, and output that cannot be written is told once."""

import io
import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from buildtool.errors import OutputLost, OutputUnread
from buildtool.programs.common.output import LINE_LIMIT, called, complain, put, say, say_line
from buildtool.programs.startcompile.consoles import PlainConsole

ENCODINGS = [
    "ascii",
    "latin-1",
    "iso8859-15",
    "cp1252",
    "koi8-r",
    "cp437",
    "shift_jis",
    "euc_jp",
    "gb2312",
    "utf-8",
    "utf-16",
]
TYPESET = "\u2018x\u2019 \u201cy\u201d \u2013 \u2026 \u20ac für"
LINES = st.lists(st.text(st.characters(exclude_characters="\n\r")), max_size=8)


def written(lines: list[str], encoding: str) -> list[str]:
    """What a reader of that encoding sees of lines."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, newline="")
    for line in lines:
        put(stream, f"{line}\n")
    return raw.getvalue().decode(encoding).split("\n")[:-1]


@given(LINES, st.sampled_from(ENCODINGS))
@example(["main.c:3: error: \N{LEFT SINGLE QUOTATION MARK}x\N{RIGHT SINGLE QUOTATION MARK} undeclared"], "ascii")
@example(["\x1f"], "ascii")
@example(["a name in no encoding: \udcfc\ud800"], "utf-8")
def test_every_line_arrives_in_any_encoding_with_each_character_that_it_has(lines: list[str], encoding: str) -> None:
    seen = written(lines, encoding)
    assert len(seen) == len(lines)
    for line, shown in zip(lines, seen, strict=True):
        plain = "".join(char for char in line if char.isascii() and char.isprintable())
        rest = iter(shown)
        assert all(char in rest for char in plain)
        if line and not shown.strip("\N{NO-BREAK SPACE} "):
            assert not line.strip("\N{NO-BREAK SPACE} ")


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("ascii", """'x' "y" - ... ? f?r"""), ("latin-1", """'x' "y" - ... ? für"""), ("utf-8", TYPESET)],
)
def test_a_character_that_is_not_there_becomes_one_that_looks_like_it_or_a_question_mark(
    encoding: str, shown: str
) -> None:
    assert written([TYPESET], encoding) == [shown]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_console_whose_output_is_full_goes_on_and_knows_it() -> None:
    with io.TextIOWrapper(io.FileIO("/dev/full", "w"), write_through=True) as full:
        console = PlainConsole(full)
        console.say("one")
        console.log(b"two\n")
        assert str(console.lost).endswith("No space left on device")


def test_a_closed_stream_and_one_that_nobody_reads_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, ours = os.pipe()
    os.close(theirs)
    with io.TextIOWrapper(io.FileIO(ours, "w"), write_through=True) as unread:
        monkeypatch.setattr("sys.stdout", unread)
        with pytest.raises(OutputUnread):
            say("hello")
    with pytest.raises(OutputLost, match="it is closed"):
        say("hello")
    monkeypatch.setattr("sys.stdout", None)
    with pytest.raises(OutputLost, match="it is closed"):
        say("hello")


def test_what_standard_error_does_not_take_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr("sys.stderr", closed)
    complain("nobody hears this")
    with pytest.raises(OSError, match="closed"):
        put(closed, "x")


@given(st.text())
@example("a\r\nb\x1b[2J\u2028c\x85d")
def test_a_line_with_words_of_others_is_one_line(text: str) -> None:
    with pytest.MonkeyPatch.context() as patched:
        stream = io.StringIO()
        patched.setattr("sys.stdout", stream)
        say_line(text)
    line = stream.getvalue().removesuffix("\n")
    assert not line or line.isprintable()
    assert len(line) <= LINE_LIMIT


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ("/usr/bin/metaserver", "buildserver.py"),
        ("bin/metaserver", "bin/buildserver.py"),
        ("/srv/checkout/bin/metaserver", "bin/buildserver.py"),
        ("/usr/bin/pytest", "bin/buildserver.py"),
        ("", "bin/buildserver.py"),
    ],
)
def test_programs_are_named_as_they_are_called_in_a_checkout_or_where_they_are_installed(
    own: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "bin:/usr/sbin:/usr/bin")
    monkeypatch.setattr("sys.argv", [own])
    assert called("buildserver.py") == expected


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("is bin/metaserver running?", "is metaserver running?"),
        ("join with `bin/startcompile.py login ADDRESS`", "join with `startcompile.py login ADDRESS`"),
        ("start /srv/bin/metaserver or ./bin/webserver", "start /srv/bin/metaserver or ./bin/webserver"),
        ("bin/metaserver-old and bin/metaserver/x", "bin/metaserver-old and bin/metaserver/x"),
    ],
)
def test_what_any_part_says_of_programs_is_shown_as_they_are_called_where_they_are_installed(
    said: str, shown: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin")
    monkeypatch.setattr("sys.argv", ["bin/metaserver"])
    complain(said)
    monkeypatch.setattr("sys.argv", ["/usr/bin/metaserver"])
    complain(said)
    assert capsys.readouterr().err == f"{said}\n{shown}\n"


def test_what_a_build_wrote_is_shown_as_it_was_whatever_it_says_of_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin")
    monkeypatch.setattr("sys.argv", ["/usr/bin/startcompile.py"])
    stream = io.StringIO()
    console = PlainConsole(stream)
    console.say("ask bin/metaserver")
    console.log(b"installed bin/metaserver\n")
    assert stream.getvalue() == "ask metaserver\n| installed bin/metaserver\n"
