"""A body is passed on whole, or not at all, and unpacked within its bounds."""

import base64
import os
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.errors import DecodeError
from buildtool.model.hooks.signing import HOOK_LIMIT
from buildtool.protocol.hooks.messages import PACKED, packed_body, unpacked_body


@given(st.binary(max_size=200))
def test_a_body_comes_out_as_it_went_in(body: bytes) -> None:
    assert unpacked_body(packed_body(body)) == body


def test_the_largest_that_shrinks_goes_and_what_is_larger_or_does_not_shrink_is_left_out() -> None:
    most = b'{"a": 1}' * (HOOK_LIMIT // 8)
    assert unpacked_body(packed_body(most)) == most
    assert len(packed_body(most)) <= PACKED
    assert packed_body(most + b" ") == packed_body(os.urandom(HOOK_LIMIT)) == ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "!",
        "AAAA",
        "\u00fc",
        packed_body(b"whole")[:-8],
        base64.b64encode(zlib.compress(b"x" * 9 * HOOK_LIMIT)).decode(),
    ],
)
def test_what_is_not_packed_cut_off_or_a_bomb_is_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        unpacked_body(text)
