"""What a file needs of its machine is measured in real files of each format, and bounded in all others."""

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.model.binaries.need import FileNeed
from buildtool.model.binaries.needs import needs_of
from buildtool.model.binaries.target import BinaryKind
from tests.fuzz.target import CORPUS
from tests.model.binaries.heads import macho, universal

REAL = {path.name: path.read_bytes() for path in sorted((CORPUS / "binaries").iterdir())}
"""Programs and libraries that zig and ld.lld made, stripped, and what the fuzzing found worth keeping."""


def need(name: str) -> FileNeed:
    (found,) = needs_of(REAL[name])
    return found


@pytest.mark.parametrize(
    ("name", "where", "libc", "version", "system"),
    [
        ("elf-x86_64-glibc", "linux on x86_64", "glibc", "2.34", None),
        ("elf-s390x-glibc", "linux on s390x", "glibc", "2.2", None),
        ("elf-mips-musl", "linux on mips", "musl", None, None),
        ("pe-aarch64", "windows on aarch64", "ucrt", None, "6.0"),
        ("macho-aarch64", "darwin on aarch64", "macos", "13.0", None),
        ("wasi", "wasi on wasm32", "wasi-libc", None, "preview1"),
    ],
)
def test_what_a_real_file_needs_is_what_its_linker_was_told(
    name: str, where: str, libc: str, version: str | None, system: str | None
) -> None:
    found = need(name)
    assert (found.target.words(), found.libc, found.libc_version, found.system) == (where, libc, version, system)
    assert found.whole


def test_a_program_that_may_lie_anywhere_is_a_program_by_its_loader() -> None:
    assert need("elf-x86_64-glibc").target.kind is BinaryKind.PROGRAM
    assert need("elf-s390x-glibc").target.kind is BinaryKind.LIBRARY


def test_of_a_universal_file_each_slice_is_measured() -> None:
    old = struct.pack("<IIII", 0x24, 16, 10 << 16 | 9 << 8 | 1, 0)
    new = struct.pack("<IIIIII", 0x32, 24, 1, 11 << 16, 0, 0)
    phone = struct.pack("<IIIIII", 0x32, 24, 2, 11 << 16, 0, 0)
    slices = [macho(0x01000007, commands=old, count=1), macho(0x0100000C, commands=new, count=1),
              macho(0x0100000C, commands=phone, count=1)]  # fmt: skip
    found = needs_of(universal(*slices))
    assert [(one.target.os, one.libc_version) for one in found] == [
        ("darwin", "10.9.1"), ("darwin", "11.0"), ("platform 2 of Apple", "11.0"),
    ]  # fmt: skip


def test_a_level_that_the_linker_wrote_down_is_told() -> None:
    """A segment of notes with the one property that says which level of x86-64 is needed."""
    note = struct.pack("<III", 4, 16, 5) + b"GNU\0" + struct.pack("<IIII", 0xC0008002, 4, 0b0101, 0)
    head = bytearray(b"\x7fELF\x02\x01\x01" + bytes(57))
    struct.pack_into("<HHIQQQIHHHHHH", head, 16, 2, 62, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 0x6474E553, 4, 120, 0, 0, len(note), len(note), 8)
    (found,) = needs_of(bytes(head) + segment + note)
    assert (found.cpu_level, found.libc, found.whole) == ("x86-64-v3", None, True)


def test_a_file_that_was_cut_says_that_not_all_of_it_was_read() -> None:
    data = REAL["elf-x86_64-glibc"]
    (found,) = needs_of(data[:900])
    assert not found.whole


@given(st.sampled_from(sorted(REAL)), st.data())
def test_whatever_is_in_a_file_it_is_measured_and_said_in_short_words(name: str, data: st.DataObject) -> None:
    real = REAL[name]
    place = data.draw(st.integers(0, min(len(real), 2_000)))
    other = data.draw(st.binary(max_size=16))
    for one in needs_of(real[:place] + other + real[place + len(other) :]):
        for word in (one.libc, one.libc_version, one.cpu_level, one.system):
            assert word is None or len(word) <= 24


@pytest.mark.parametrize("step", [1, 4, 16, 2**32 - 1])
def test_versions_that_lead_to_each_other_end(step: int) -> None:
    """The table of versions says that it has very many entries, each a few bytes after the one before or before it."""
    data = REAL["elf-x86_64-glibc"]
    first = struct.pack("<HH", 1, 2)
    found_at = (at for at in range(0, len(data), 4) if data[at : at + 4] == first)
    at = next(at for at in found_at if data[at + 8 : at + 12] == b"\x10\0\0\0")
    endless = struct.pack("<HHIII", 1, 65535, *struct.unpack_from("<II", data, at + 4), step)
    (found,) = needs_of(data[:at] + endless + data[at + 16 :])
    assert found.target.arch == "x86_64"


def test_every_file_of_this_machines_interpreter_is_measured_whole() -> None:
    (found,) = needs_of(Path("/proc/self/exe").read_bytes())
    assert found.whole
    assert found.libc is not None
