"""Where two artifacts differ is found, however long they are and wherever that is."""

import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from buildtool.adapters.storage.archive.comparing import _CHUNK, differences, first_difference

PLACES = (b"/builds/tree-0", b"/builds/tree-1000")


def zipped(path: Path, members: dict[str, bytes], mode: int = 0o644) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o100000 | mode) << 16
            archive.writestr(info, content)
    return path


def test_members_that_one_lacks_and_modes_that_differ_are_named(tmp_path: Path) -> None:
    one = zipped(tmp_path / "1.zip", {"same": b"x", "old": b""})
    two = zipped(tmp_path / "2.zip", {"same": b"x", "new": b""}, mode=0o755)
    found = {each.name: each for each in differences(one, two, PLACES)}
    assert {name: each.only_in for name, each in found.items()} == {"old": 1, "new": 2, "same": 0}
    assert (found["same"].modes, found["same"].offset) == (("100644", "100755"), -1)


def test_a_member_that_names_where_it_was_built_is_told_apart_from_others(tmp_path: Path) -> None:
    lead = b"." * (_CHUNK - 5)  # so that the name lies across two pieces
    one = zipped(tmp_path / "1.zip", {"a": lead + PLACES[0] + b"/x.c", "b": b"1"})
    two = zipped(tmp_path / "2.zip", {"a": lead + PLACES[1] + b"/x.c", "b": b"2"})
    a, b = differences(one, two, PLACES)
    assert (a.offset, a.names_place) == (len(lead) + len(b"/builds/tree-"), True)
    assert a.texts[0].endswith(b"tree-0/x.c")
    assert (b.offset, b.names_place) == (0, False)
    assert differences(one, one, PLACES) == ()


@given(st.binary(max_size=40), st.binary(max_size=5), st.binary(max_size=5))
def test_the_first_byte_that_differs_is_found(common: bytes, one: bytes, two: bytes) -> None:
    at = first_difference(common + one, common + two)
    assert at >= len(common)
    assert (common + one)[:at] == (common + two)[:at]
    assert (common + one)[at : at + 1] != (common + two)[at : at + 1] or one == two


@given(st.integers(0, 40), st.integers(-3, 3))
def test_a_difference_is_found_on_both_sides_of_a_piece_s_end(length: int, beside: int) -> None:
    before = b"." * max(0, _CHUNK + beside)
    with TemporaryDirectory() as place:
        one = zipped(Path(place, "1.zip"), {"a": before + b"1" + b"x" * length})
        two = zipped(Path(place, "2.zip"), {"a": before + b"2" + b"x" * length})
        (found,) = differences(one, two, PLACES)
    assert found.offset == len(before)
    assert found.texts[0].replace(b"1", b"2") == found.texts[1]
    assert b"1" in found.texts[0]
