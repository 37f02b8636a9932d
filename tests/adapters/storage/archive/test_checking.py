"""What packing makes is taken; what could harm whoever unpacks it is refused by name, in one line, in bounded time."""

import io
import stat
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from buildtool.adapters.storage.archive import packing
from buildtool.adapters.storage.archive.checking import check_archive
from buildtool.adapters.storage.archive.packing import make_zip
from buildtool.errors import UnsafeArchive
from buildtool.model import names

PARTS = st.sampled_from(["a", "b", "lib.so.1", "é", "a b", "雪"])
FILE = 0o100644 << 16


def checked(data: bytes) -> None:
    check_archive(lambda size, position: data[position : position + size], len(data))


def refused(data: bytes) -> str:
    with pytest.raises(UnsafeArchive) as raised:
        checked(data)
    words = str(raised.value)
    assert words.isprintable()
    assert len(words) < 1500
    return words


def zipped(*members: tuple[str, bytes, int], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip of members (name, content, external attributes), as Python's own library writes it."""
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", method) as archive:
        warnings.simplefilter("ignore")  # a name twice
        for name, content, attributes in members:
            info = zipfile.ZipInfo("x")
            info.filename, info.external_attr, info.compress_type = name, attributes, method
            archive.writestr(info, content)
    return file.getvalue()


@given(
    st.dictionaries(st.lists(PARTS, min_size=1, max_size=3).map("/".join), st.binary(max_size=99), max_size=6),
    st.booleans(),
)
def test_all_that_packing_makes_is_taken(tree: dict[str, bytes], link: bool) -> None:
    files = {name: data for name, data in tree.items() if not any(other.startswith(f"{name}/") for other in tree)}
    with TemporaryDirectory() as directory:
        root = Path(directory)
        for name, data in files.items():
            (root / "top" / name).parent.mkdir(parents=True, exist_ok=True)
            (root / "top" / name).write_bytes(data)
        (root / "file").touch()
        if link:
            (root / "link").symlink_to("./file")
        make_zip(root, ["file", *(["top"] if files else []), *(["link"] if link else [])], root / "out.zip")
        checked((root / "out.zip").read_bytes())


def test_one_of_more_members_than_the_plain_format_holds_is_taken() -> None:
    checked(zipped(*((f"d/{number}", b"", FILE) for number in range(66_000)), method=zipfile.ZIP_STORED))


def test_an_empty_one_is_taken() -> None:
    checked(zipped())


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../x", "a/../../x", "a/./b", "a//b", "a/", "C:x", "c:/x", "a\\b", "..\\x", "a\nb", "a\x1b[2Jb",
     "a\u2028b", "a\x85b", "a\x7f", "n" * 1001, "é" * 501, "con", "d/NUL", "aux", "COM1", "lpt9", "CONIN$", "a.",
     "a /b", "...", "a/.. /b", "photo\u202egpj.exe", "\u2066a"],
)  # fmt: skip
def test_a_name_that_packing_refuses_is_refused_here_and_named(name: str) -> None:
    words = refused(zipped(("fine", b"x", FILE), (name, b"x", FILE)))
    assert repr(name)[1:20] in words


def test_a_source_file_may_be_called_as_a_device_is_but_for_its_ending() -> None:
    checked(zipped(("include/aux.h", b"x", FILE), ("con.c", b"x", FILE)))


def test_a_nul_in_a_name_is_refused() -> None:
    assert "control characters" in refused(zipped(("aXb", b"x", FILE)).replace(b"aXb", b"a\0b"))


def test_a_name_that_is_not_what_it_says_to_be_is_refused() -> None:
    data = zipped(("aXb", b"x", FILE)).replace(b"aXb", b"a\xffb")
    assert "not UTF-8" in refused(data)


@given(st.text(max_size=20))
@example("a/b")
def test_exactly_the_names_that_packing_takes_are_taken(name: str) -> None:
    try:
        data = zipped((name, b"x", FILE))
    except UnicodeEncodeError:
        return
    if names.member_fault(name):
        refused(data)
    else:
        checked(data)


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        ("a/README", "a/readme", "take it for"),
        ("caf\xe9", "cafe\u0301", "take it for"),
        ("A/x", "a/X", "take it for"),
        ("stra\xdfe", "STRASSE", "take it for"),
        ("a", "A/b", "take it for"),
        (".git", ".g\u200cit", "take it for"),
        ("ﬀ", "FF", "take it for"),
        ("a", "a/b", "packed too, as a file"),
        ("a", "a", "twice"),
    ],
)
def test_two_names_that_some_system_takes_for_one_are_refused(one: str, other: str, why: str) -> None:
    assert why in refused(zipped((one, b"1", FILE), (other, b"2", FILE)))


@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFDIR, 0o160000])
def test_what_is_neither_file_nor_link_is_refused(kind: int) -> None:
    assert "neither file nor link" in refused(zipped(("it", b"", (kind | 0o666) << 16)))


@pytest.mark.parametrize("bits", [stat.S_ISUID, stat.S_ISGID, stat.S_ISVTX])
def test_a_program_that_would_run_as_somebody_else_is_refused(bits: int) -> None:
    assert "rights" in refused(zipped(("it", b"", (stat.S_IFREG | bits | 0o755) << 16)))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize(
    "target",
    [b"/etc/passwd", b"../x", b"d/../../x", b"absent", b"", b"a\\b", b"f\n", b"\xff", b"f" * 5000, b"l", b"d/up/../x"],
)
def test_a_link_that_leads_out_nowhere_or_in_a_circle_is_refused(target: bytes, method: int) -> None:
    link = (stat.S_IFLNK | 0o777) << 16
    fine = [("f", b"x", FILE), ("d/e", b"x", FILE), ("d/up", b"..", link)]
    checked(zipped(*fine, method=method))
    assert "'l'" in refused(zipped(*fine, ("l", target, link), method=method))


def test_a_link_whose_bytes_are_a_bomb_is_not_unpacked() -> None:
    link = (stat.S_IFLNK | 0o777) << 16
    data = zipped(("l", b"a" * 1_000_000, link)).replace(struct.pack("<L", 1_000_000), struct.pack("<L", 1))
    assert "'l'" in refused(data)


def flags(data: bytes, bits: int) -> bytes:
    """Set bits of the flags of the only member, in both places."""
    directory = data.index(b"PK\1\2")
    edited = bytearray(data)
    for place in (6, directory + 8):
        edited[place : place + 2] = struct.pack("<H", struct.unpack_from("<H", data, place)[0] | bits)
    return bytes(edited)


@pytest.mark.parametrize("bits", [1, 0x40, 0x2000])
def test_an_encrypted_member_is_refused(bits: int) -> None:
    assert "encrypted" in refused(flags(zipped(("it", b"x", FILE)), bits))


def test_a_member_that_is_called_otherwise_where_its_bytes_are_is_refused() -> None:
    """Programs that read from front to back never look into the directory."""
    assert "called or packed otherwise" in refused(zipped(("a/aa", b"x", FILE)).replace(b"a/aa", b"../a", 1))


def test_a_second_name_is_refused() -> None:
    info = zipfile.ZipInfo("fine")
    info.extra = struct.pack("<2HBL", 0x7075, 9, 1, 0) + b"../x"
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(info, b"x")
    assert "second name" in refused(file.getvalue())


def test_what_packing_writes_for_a_member_beyond_31_bits_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "_ZIP64_FROM", 2)
    for name, data in (("a", b""), ("b", b"long " * 1000), ("c", b"x")):
        (tmp_path / name).write_bytes(data)
    packed = make_zip(tmp_path, ["a", "b", "c"], tmp_path / "out.zip")
    data = (tmp_path / "out.zip").read_bytes()
    check_archive(lambda size, position: data[position : position + size], packed.size, 5001)
    with pytest.raises(UnsafeArchive, match="more than the 5000 bytes"):
        check_archive(lambda size, position: data[position : position + size], packed.size, 5000)


def edited(data: bytes, place: int, form: str, number: int) -> bytes:
    """Return bytes in which a number stands at a place."""
    return data[:place] + struct.pack(form, number) + data[place + struct.calcsize(form) :]


def test_what_a_member_says_of_its_length_has_to_be_so_wherever_it_is_said(tmp_path: Path) -> None:
    """A program that reads from front to back would find other members inside of it."""
    data = zipped(("a", b"x" * 99, FILE), method=zipfile.ZIP_STORED)
    (tmp_path / "a").write_bytes(b"x" * 99)
    make_zip(tmp_path, ["a"], tmp_path / "out.zip")
    front_to_back = (tmp_path / "out.zip").read_bytes()
    after = front_to_back.index(b"PK\7\x08")
    for place in (14, 18, 22):
        assert "another length or check sum" in refused(edited(data, place, "<L", 1))
        assert "another length or check sum" in refused(edited(front_to_back, after + place - 10, "<L", 1))
    assert "another length or check sum" in refused(edited(front_to_back, after, "<L", 1))
    assert "another length or check sum" in refused(edited(front_to_back, 14, "<L", 1))
    assert "more bytes than can come of it" in refused(
        edited(front_to_back, front_to_back.index(b"PK\1\2") + 24, "<L", 10**9)
    )
    assert "more bytes than can come of it" in refused(edited(data, data.index(b"PK\1\2") + 24, "<L", 100))


def inserted(data: bytes, more: bytes) -> bytes:
    """Return a zip with bytes before its directory that are no member of it."""
    directory, end = data.index(b"PK\1\2"), data.rindex(b"PK\5\6")
    return edited(data[:directory] + more + data[directory:], end + len(more) + 16, "<L", directory + len(more))


def test_a_member_that_is_not_listed_and_members_that_share_their_bytes_are_refused() -> None:
    hidden = zipped(("../evil", b"x", FILE), method=zipfile.ZIP_STORED)
    assert "between its members and its directory" in refused(inserted(FINE, hidden[: hidden.index(b"PK\1\2")]))
    first, second = FINE.index(b"PK\1\2"), FINE.rindex(b"PK\1\2")
    begins = struct.unpack_from("<L", FINE, second + 42)[0]
    assert "'b/c'" in refused(edited(FINE, second + 42, "<L", 0))
    swapped = FINE[:first] + FINE[second : FINE.rindex(b"PK\5\6")] + FINE[first:second] + FINE[-22:]
    assert begins
    assert "does not begin where the member before it ends" in refused(swapped)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_member_that_not_all_programs_can_unpack_is_refused(method: int) -> None:
    assert "not all programs" in refused(zipped(("it", b"x", FILE), method=method))


FINE = zipped(("a", b"some bytes", FILE), ("b/c", b"others", FILE))
HARM: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "no zip": lambda _: b"#!/bin/sh\nrm -rf /\n" * 10,
    "something before it": lambda data: b"MZ" + data,
    "something after it": lambda data: data + b"\0",
    "cut off": lambda data: data[:-1],
    "its end alone": lambda data: data[-22:],
    "a comment": lambda data: data[:-2] + b"\1\0!",
    "another directory after it": lambda data: data + zipped(("../x", b"", FILE)),
    "more members than listed": lambda data: data[:-14] + struct.pack("<2H", 3, 3) + data[-10:],
    "fewer members than listed": lambda data: data[:-14] + struct.pack("<2H", 1, 1) + data[-10:],
    "as many as fit": lambda data: data[:-14] + b"\xff" * 4 + data[-10:],
}


@pytest.mark.parametrize("how", HARM)
def test_what_is_no_zip_as_it_is_packed_is_refused(how: str) -> None:
    assert "no zip" in refused(HARM[how](FINE))


@given(st.data())
def test_whatever_is_changed_in_it_it_is_taken_or_refused_in_one_line(data: st.DataObject) -> None:
    edited = bytearray(data.draw(st.sampled_from([FINE, zipped(("l", b"f", 0o120777 << 16), ("f", b"", FILE))])))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(edited) - 1))
        edited[place : place + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
        if not edited:
            break
    try:
        checked(bytes(edited))
    except UnsafeArchive:
        refused(bytes(edited))


@given(st.binary(max_size=300))
def test_any_bytes_are_taken_or_refused(data: bytes) -> None:
    try:
        checked(data)
    except UnsafeArchive:
        return
    assert zipfile.is_zipfile(io.BytesIO(data))


def test_a_directory_longer_than_packing_makes_is_not_read() -> None:
    """The file may be of any length; what is read of it into memory may not."""
    size = 2**32
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 60_000, 60_000, size - 22 - 100, 100, 0)

    def read(length: int, position: int) -> bytes:
        assert length <= 100
        return (end if position == size - 22 else bytes(length))[:length]

    with pytest.raises(UnsafeArchive, match="more than packing makes"):
        check_archive(read, size)


def test_links_that_lead_through_each_other_again_and_again_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "_LINK_STEPS", 100)
    link = (stat.S_IFLNK | 0o777) << 16
    chain = [(f"l{number}", f"l{number + 1}".encode(), link) for number in range(30)]
    assert "too many directories" in refused(zipped(("l30", b"", FILE), *chain))


def test_names_too_many_to_compare_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few long names with many directories would otherwise take all memory."""
    monkeypatch.setattr(names, "MEMBER_NAMES_LIMIT", 10_000)
    assert "names of more than 10000" in refused(zipped(("/".join("a" * 300), b"", FILE)))
