"""What makes a line of output an error or a warning, and what of a log is shown around the first one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.model.logs.error_lines import JUDGED, Excerpt, end_of, first_error, judge, judged_in, shown_line

ERRORS = [
    b"lua.c:12:5: error: expected ';' before '}' token",
    b"\x1b[01m\x1b[Klua.c:1:2:\x1b[m\x1b[K \x1b[01;31m\x1b[Kerror: \x1b[m\x1b[Kno such thing",
    b"<command-line>: fatal error: x.h: No such file or directory",
    b"error[E0308]: mismatched types",
    b"\x1b[0m\x1b[1m\x1b[38;5;9merror\x1b[0m\x1b[0m\x1b[1m: could not compile `x`",
    b"configure: error: no acceptable C compiler found in $PATH",
    b"program.c(12) : error C2143: syntax error",
    b"x.obj : error LNK2019: unresolved external symbol main",
    b"make[2]: *** [Makefile:12: lua.o] Error 1",
    b"gmake: *** No rule to make target 'x'.  Stop.",
    b"Traceback (most recent call last):",
    b"ModuleNotFoundError: No module named 'x'",
    b"java.lang.NullPointerException: at 3",
    b"FAILED tests/test_x.py::test_y - assert 1 == 2",
    b"FAILED: src/x.o",
    b"[  FAILED  ] Suite.Case (3 ms)",
    b"--- FAIL: TestX (0.00s)",
    b"FAIL: check-one",
    b"FAIL\texample.org/x\t0.1s",
    b"ERROR collecting tests/test_x.py",
    b"12/40 Test #3: x ...............***Failed    0.01 sec",
    b"x.c:(.text+0x1): undefined reference to `foo'",
    b"/usr/bin/ld: cannot find -lz: No such file or directory",
    b"collect2: error: ld returned 1 exit status",
    b"CMake Error at CMakeLists.txt:3 (find_package):",
    b"npm ERR! code ENOENT",
    b"fatal: not a git repository",
    b"thread 'main' panicked at src/main.rs:2:5:",
    b"panic: runtime error: index out of range",
    b"make: line 1: foo: command not found",
    b"Segmentation fault (core dumped)",
    b"a.out: x.c:3: main: Assertion `0' failed.",
    b"error: with a carriage return\r",
]
WARNINGS = [
    b"lua.c:3:1: warning: unused variable 'x' [-Wunused-variable]",
    b"x.c(3): warning C4996: deprecated",
    b"warning[unused]: x",
    b"CMake Warning at CMakeLists.txt:3:",
    b"x.py:3: DeprecationWarning: invalid escape",
    b"npm WARN deprecated x@1",
    b"ld: warning: x.o: missing .note.GNU-stack section",
]
NEITHER = [
    b"",
    b"cc -O2 -Wall -Werror -Wno-error=x -c error.c -o error.o",
    b"checking for strerror... yes",
    b"0 FAILED, 3 passed",
    b"FAILED: 0",
    b"1000 tests passed, no errors",
    b"test error_is_told ... ok",
    b"copying default.error",
    b"*** Welcome ***",
    b"failed to open the cache, going on without",
    b"Warnings are shown below",
    b"x" * JUDGED + b" error: too far to the right",
]


def found(line: bytes) -> bool | None:
    return next((it.error for it in judged_in(line)), None)


@pytest.mark.parametrize("line", ERRORS)
def test_it_is_an_error(line: bytes) -> None:
    assert found(line) is True
    assert judge(line) is True


@pytest.mark.parametrize("line", WARNINGS)
def test_it_is_a_warning(line: bytes) -> None:
    assert found(line) is False


@pytest.mark.parametrize("line", NEITHER)
def test_it_is_neither(line: bytes) -> None:
    assert found(line) is None
    assert judge(line) is None


@given(st.lists(st.sampled_from(ERRORS + WARNINGS + NEITHER), max_size=12))
def test_each_line_is_judged_by_itself(lines: list[bytes]) -> None:
    text, at, expected = b"\n".join(lines), 0, []
    for line in lines:
        if (verdict := judge(line)) is not None:
            expected.append((at, verdict))
        at += len(line) + 1
    assert [(it.start, it.error) for it in judged_in(text)] == expected


def test_the_first_error_is_shown_with_what_is_around_it() -> None:
    text = b"one\ntwo\nthree\nfour\nx.c:1: error: no\nsix\nseven\n"
    lines = ("two", "three", "four", "x.c:1: error: no", "six", "seven")
    assert first_error(text) == Excerpt(2, lines, 3)
    assert first_error(text, around=1) == Excerpt(4, ("four", "x.c:1: error: no", "six"), 1)
    assert first_error(text, number=100) == Excerpt(101, lines, 3)
    assert first_error(text, number=0) == Excerpt(0, lines, 3)
    assert first_error(b"error: at once") == Excerpt(1, ("error: at once",), 0)
    assert first_error(b"all is well\n") is None


@given(st.binary(max_size=2000))
def test_a_shown_line_is_harmless_whatever_it_was(line: bytes) -> None:
    shown = shown_line(line, 40)
    assert len(shown) <= 40
    assert shown.isprintable() or not shown


@given(st.text(alphabet="aé€𝄞\n ", max_size=60), st.integers(0, 80))
def test_the_end_of_a_text_has_whole_characters_and_whole_lines(text: str, limit: int) -> None:
    end = end_of(text, limit)
    assert text.endswith(end)
    assert len(end.encode()) <= limit or end == text
    before = text[: len(text) - len(end)]
    cut_off = text.encode()[-limit:] if limit else b""
    if end and before and not before.endswith("\n"):  # no line fitted
        assert b"\n" not in cut_off[: len(cut_off) - 1] or not cut_off.partition(b"\n")[2]
