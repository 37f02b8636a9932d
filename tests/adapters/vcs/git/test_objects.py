"""What a commit says of itself is a line of a name, a line of a subject and a time, whatever is in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.adapters.vcs.git.objects import note_of
from buildtool.model.search.commits import SUBJECT_LIMIT, CommitNote

TREE = b"tree " + b"0" * 40 + b"\n"
PARTS = (
    b"author ", b"encoding ", b"rot13", b"zlib", b"latin-1", b"\n", b"\n\n", b"<a@b>", b" 1700000000 +0100", b"\xff",
    b" 9" * 40, b"\x1b[2J", "\u202e".encode(), b"committer ", b"tree ", b">", b"<", b"Ada",
)  # fmt: skip


@given(st.binary(max_size=60) | st.lists(st.sampled_from(PARTS), max_size=12).map(b"".join))
def test_whatever_a_commit_holds_is_two_harmless_lines_and_a_time(content: bytes) -> None:
    for commit in (content, TREE + content):
        note = note_of(commit)
        for text in (note.subject, note.author):
            assert text.isprintable()
            assert len(text) <= SUBJECT_LIMIT
        assert 0.0 <= note.at < 1e11


@pytest.mark.parametrize(
    ("commit", "note"),
    [
        (
            TREE
            + b"author Ada <ada@example.org> 1700000000 +0100\ncommitter Bob <b@x> 1 +0000\n\nMend\nit\n\nAt last.\n",
            CommitNote("Mend it", "Ada", 1.7e9),
        ),
        (
            TREE + b"author J\xf6rg <j@x> 12 +0000\nencoding ISO-8859-1\n\n\n\nGr\xfc\xdfe\n",
            CommitNote("Gr\u00fc\u00dfe", "J\u00f6rg", 12.0),
        ),
        (TREE + b"author <> x\nauthor Eve <e@x> 5 +0000\n\n", CommitNote("", "", 0.0)),
        (TREE + b"author A <a> <b> 7 +0000\n\n" + b"x" * 5_000, CommitNote("x" * 199 + "…", "A", 7.0)),
        (TREE + b"encoding unicode_escape\n\n\\x41", CommitNote("\\x41", "", 0.0)),
        (b"", CommitNote("", "", 0.0)),
    ],
    ids=["plain", "another encoding", "the first author counts", "long", "no program", "nothing"],
)
def test_a_commit_is_its_first_paragraph_and_its_first_author(commit: bytes, note: CommitNote) -> None:
    assert note_of(commit) == note
