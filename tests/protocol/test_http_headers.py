"""Which bytes a Range header asks for, and which tags match: for every header that a peer can send."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.protocol.http_headers import ByteSpan, asked_span, has_copy, is_unchanged

LONGEST = 16_384
"""Characters that all headers of a request may have together."""


@given(st.integers(0, 50), st.integers(0, 60), st.integers(0, 60))
def test_a_range_has_the_bytes_that_a_slice_has(length: int, first: int, last: int) -> None:
    whole = ByteSpan(0, length, length, partial=False)
    for header, start, end in (
        (f"bytes={first}-", first, length),
        (f"bytes={first}-{last}", first, last + 1),
        (f"bytes=-{last}", max(0, length - last), length),
    ):
        found, there = asked_span(header, length), bytes(length)[start:end]
        if found == whole:
            assert (header.startswith("bytes=-") and last == 0) or last < first
        else:
            assert (0 if found is None else found.end - found.start) == len(there)
            assert found is None or (found.start, found.content_range) == (
                start,
                f"bytes {start}-{start + len(there) - 1}/{length}",
            )


@given(st.text(st.characters(max_codepoint=255)) | st.from_regex(r"bytes=[0-9 ,-]{0,30}", fullmatch=True))
def test_whatever_a_header_says_no_other_bytes_are_given_out(header: str) -> None:
    found = asked_span(header, 10)
    assert found is None or 0 <= found.start < found.end <= 10
    has_copy(header, "a")
    is_unchanged(header, "a")


@pytest.mark.parametrize("header", [None, "", "bytes=", "bytes=-", "bytes=5-4", "bytes=0-1,3-4", "lines=1-2", "x"])
def test_what_is_no_single_range_asks_for_everything(header: str | None) -> None:
    assert asked_span(header, 10) == ByteSpan(0, 10, 10, partial=False)


def test_tags_match_as_the_two_headers_compare_them() -> None:
    for header in ('"a"', 'W/"a"', '"b", "a"', '"b",W/"a"', "*"):
        assert has_copy(header, "a")
    for other in (None, "", '"b"', '"A"', 'W/"b"'):
        assert not has_copy(other, "a")
    for same in (None, '"a"'):
        assert is_unchanged(same, "a")
    for header in ("", '"b"', 'W/"a"', "*", "Wed, 21 Oct 2015 07:28:00 GMT"):
        assert not is_unchanged(header, "a")


def test_the_longest_header_is_read_in_no_time() -> None:
    """Werkzeug's expressions are not ours to register, and peers' headers meet them in the reactor."""
    for part in (" ", '"', ",", '"a" ', '"a,', " ,", "W/", "0-0,", "9"):
        header = f'bytes=1-"a"{part * (LONGEST // len(part))}b'
        began = time.process_time()
        asked_span(header, 10)
        has_copy(header, "a")
        assert time.process_time() - began < 0.2, part
