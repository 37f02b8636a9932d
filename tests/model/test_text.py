"""Text from elsewhere: nothing of it moves a cursor, colours, turns around or adds a line, and the rest stays."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from buildtool.model.text import (
    CUT,
    UNSHOWN,
    VALUE_LIMIT,
    about,
    ahead_words,
    block,
    log_line,
    near_word,
    one_line,
    printable,
    quoted,
    size_words,
)

SEQUENCES = [
    "\x1b[31m", "\x1b[01;31m\x1b[K", "\x9b31m", "\x1b[38:2::255:0:0m", "\x1b[?25l", "\x1b[2J", "\x1b[10;10H", "\x9b2 q",
    "\x1b]0;pwned\x07", "\x1b]0;pwned\x1b\\", "\x9d0;pwned\x9c", "\x1b]8;;http://evil.example/\x1b\\",
    "\x1bP1$r0m\x1b\\", "\x90q#0;2\x9c", "\x1b_Gf=24;AAAA\x1b\\", "\x9fx\x9c", "\x1b^private\x1b\\", "\x1bXsos\x1b\\",
    "\x1bc", "\x1b(0", "\x1b#8", "\x1bM", "\x1b7", "\x1b",
]  # fmt: skip
FORMATS = "\u202e\u202a\u2066\u2069\u200e\u200f\u200b\u200d\u2060\ufeff\u00ad\U000e0041"
BLANK = "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0"
HOSTILE = st.text(
    st.one_of(
        st.characters(codec=None),
        st.sampled_from("\n\r\t\x00\x07\x08\x7f\x85\x90\x9b\x9c\x9d\x1b[];m\\\u2028\u2029\ud800" + FORMATS),
    )
)
MARKED = st.lists(st.one_of(HOSTILE, st.sampled_from(SEQUENCES))).map("".join)


@given(MARKED, st.integers(1, 60))
def test_a_line_is_printable_and_bounded_and_cleaning_it_again_changes_nothing(text: str, limit: int) -> None:
    for clean in (printable, one_line, log_line):
        line = clean(text, limit)
        assert line.isprintable()
        assert len(line) <= limit
        assert clean(line, limit) == line


class _Unsayable:
    def __repr__(self) -> str:
        raise ValueError


@given(st.one_of(HOSTILE, st.binary(), st.floats(), st.integers(), st.lists(HOSTILE), st.just(10**5000)))
def test_any_value_at_all_is_shown_in_one_short_harmless_line(value: object) -> None:
    for said in (quoted(value), quoted([value, _Unsayable()])):
        assert said.isprintable()
        assert 0 < len(said) <= VALUE_LIMIT


@given(MARKED)
def test_lines_hold_nothing_but_printable_characters_tabs_and_their_ends(text: str) -> None:
    assert block(text, 10_000).replace("\n", "").replace("\t", "").isprintable()


@given(st.text(st.characters(exclude_categories=["C", "Zs", "Zl", "Zp"], exclude_characters=BLANK) | st.just(" ")))
@example("Grüße, 你好, שלום, naïve, e\u0301, 👍🏽")
def test_what_people_write_stays_as_it_is(text: str) -> None:
    assert printable(text, 10_000) == text
    assert block(f"{text}\n\t{text}\n", 20_000) == f"{text}\n\t{text}\n"


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_of_a_control_sequence_nothing_is_left(sequence: str) -> None:
    for clean in (printable, one_line):
        assert clean(f"a{sequence} b") == "a b" or sequence == "\x1b"
    assert block(f"a{sequence}\nb", 100) == "a\nb"


def test_a_coloured_compiler_is_read_without_its_colours() -> None:
    said = (
        "\x1b[01m\x1b[Kf.c:1:5:\x1b[m\x1b[K \x1b[01;31m\x1b[Kerror: \x1b[m\x1b[Kexpected '\x1b[01m\x1b[K;\x1b[m\x1b[K'"
    )
    assert printable(said) == "f.c:1:5: error: expected ';'"


def test_a_control_string_without_an_end_hides_nothing() -> None:
    assert printable("a\x1b]0;it goes on") == "a0;it goes on"
    assert block("a\x1b]0;it goes\non\x07", 100) == f"a0;it goes\non{UNSHOWN}"


@pytest.mark.parametrize("char", FORMATS)
def test_what_is_invisible_or_turns_the_writing_around_is_taken_out(char: str) -> None:
    assert unicodedata.category(char) == "Cf"
    assert printable(f"a{char}b") == "ab"


@pytest.mark.parametrize("char", BLANK)
def test_a_letter_that_shows_nothing_is_taken_out_although_it_is_one(char: str) -> None:
    assert char.isprintable()
    assert printable(f"a{char}b") == one_line(f"a{char}b") == log_line(f"a{char}b") == "ab"


def test_separators_become_spaces_and_other_control_characters_are_seen_as_gone() -> None:
    assert printable("a\tb\nc\rd\u2028e\x85f\u00a0g") == "a b c d e f g"
    assert one_line("  a \n\n b\t") == "a b"
    assert printable("a\x00b\x08c\ud800d") == f"a{UNSHOWN}b{UNSHOWN}c{UNSHOWN}d"
    assert block("a\r\nb\rc", 10) == "a\nb c"


def test_what_is_too_long_is_cut_and_says_so() -> None:
    assert printable("x" * 11, 10) == "x" * 9 + CUT
    assert printable("x" * 10, 10) == "x" * 10


def test_of_a_progress_display_the_last_state_is_what_is_seen() -> None:
    assert log_line("10%\r50%\r100%\r") == "100%"
    assert log_line("50%\r\x1b[32mdone\x1b[0m\tin 3 s\r") == "done    in 3 s"


@pytest.mark.parametrize(
    "piece", ["\x1b", "\x1b]", "\x9d", "\x1b[", "\x9b1;", "\x90\x9d", "\x1b]a\x9d", "\u202e", "\r", "é"]
)
def test_the_time_grows_with_the_length_alone(piece: str) -> None:
    """With the square of it, this would take minutes."""
    text = piece * (400_000 // len(piece))
    assert printable(text, 10).isprintable()


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1024**2 - 1, "1.0 MiB"), (1_395_864_371, "1.3 GiB")],
)
def test_a_size_is_said_in_binary_units(count: int, said: str) -> None:
    assert size_words(count) == said


@given(st.integers(0, 2**62))
def test_a_size_never_shows_as_many_as_the_next_unit_holds(count: int) -> None:
    number, unit = size_words(count).split(" ")
    assert float(number.replace(",", "")) < 1024 or unit == "PiB"


def test_what_stands_before_a_build_is_counted_and_not_named() -> None:
    assert ahead_words(1, 0, 0) == "1 build waits before this one"
    assert ahead_words(5, 2, 2) == "5 builds wait before this one: 2 of the same requester, 3 of 2 others"


def test_an_estimate_says_about_unless_it_says_less_than() -> None:
    assert about(0.4) == "less than 1 s"
    assert about(40) == "about 40 s"


@pytest.mark.parametrize(
    ("said", "known", "near"),
    [
        ("pause", ("cpus", "nice", "patience"), ""),
        ("statsu", ("start", "status"), "status"),
        ("--max_builds", ("--max-builds", "--maxdelay"), "--max-builds"),
        ("hour", ("hours", "host"), "hours"),
        ("lunix", ("linux", "darwin"), "linux"),
        ("mem", ("memory", "name"), "memory"),
        ("soon", ("on", "none"), ""),
        ("", ("a",), ""),
    ],
)
def test_only_a_near_word_is_guessed(said: str, known: tuple[str, ...], near: str) -> None:
    assert near_word(said, known) == near


@given(st.text("abcdefgh", min_size=4, max_size=20), st.data())
def test_a_word_with_one_slip_in_it_is_guessed_and_one_of_other_letters_never(word: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(word) - 1))
    before, after = word[:at], word[at + 1 :]
    wrong = before + data.draw(st.sampled_from([after, f"x{word[at]}{after}", f"x{after}"]))
    assert near_word(wrong, ["uvwxyz" * 3, word]) == word
    assert not near_word(wrong, ["opqrst" * 3])
