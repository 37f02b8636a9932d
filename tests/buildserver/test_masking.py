"""Masking of a stream is masking of the whole, wherever the stream is cut."""

from hypothesis import given
from hypothesis import strategies as st

from buildtool.buildserver.masking import LONGEST, MASK, SHORTEST, Masker, values_of

few = st.sampled_from([b"a", b"b", b"ab", b"aab", b"x", b"\n"])
values = st.lists(st.lists(few, min_size=1, max_size=5).map(b"".join).filter(lambda v: b"\n" not in v), max_size=4)
pieces = st.lists(st.lists(few, max_size=6).map(b"".join), max_size=8)


def naive(data: bytes, secret: list[bytes]) -> bytes:
    """Return ``data`` with the longest value at each place masked, from the beginning on."""
    done, at = b"", 0
    while at < len(data):
        here = max((value for value in secret if data.startswith(value, at)), key=len, default=b"")
        done += MASK if here else data[at : at + 1]
        at += len(here) or 1
    return done


@given(values, pieces)
def test_masking_pieces_is_masking_the_whole(secret: list[bytes], cut: list[bytes]) -> None:
    masker = Masker(secret)
    streamed = b"".join([masker.feed(piece) for piece in cut] + [masker.end()])
    assert streamed == naive(b"".join(cut), secret)


@given(values, pieces)
def test_nothing_is_held_back_but_what_may_begin_a_value(secret: list[bytes], cut: list[bytes]) -> None:
    masker = Masker(secret)
    for piece in cut:
        masker.feed(piece)
        held = masker._held
        assert not held or any(value.startswith(held) and value != held for value in secret)
        if piece.endswith(b"\n"):
            assert not held


def test_a_secret_that_comes_byte_by_byte_is_never_seen() -> None:
    masker = Masker([b"hunter2-hunter2"])
    said = b"".join(masker.feed(bytes((byte,))) for byte in b"password is hunter2-hunter2, good\n")
    assert said == b"password is ***, good\n"


def test_lines_and_values_of_a_file_are_secret_and_its_frame_is_not() -> None:
    pem = b"-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqG\nSM49AgEG\n-----END PRIVATE KEY-----\n"
    assert values_of(pem) == (b"MIGHAgEAMBMGByqG", b"SM49AgEG")
    assert b"s3cr3t-token" in values_of(b'API_TOKEN="s3cr3t-token"\r\n')
    assert values_of(b"abc\n\n12345\n" + b"x" * 5_000) == (b"x" * LONGEST,)
    assert all(len(value) >= SHORTEST for value in values_of(b"a=b\nuser: me\n"))


def test_without_values_everything_goes_through_at_once() -> None:
    assert Masker().feed(b"abc") == b"abc"
    assert (Masker().end(), Masker().whole("a\udcff")) == (b"", "a\udcff")
