"""What a file is for is told by its bytes, whatever its format, and whatever they are."""

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.model.binaries.recognition import HEAD, targets_of
from buildtool.model.binaries.target import BinaryKind, BinaryTarget
from buildtool.model.platforms import ARCHES
from tests.model.binaries.heads import START, WASI_IMPORT, elf, macho, named, pe, universal, wasm

PROGRAM, LIBRARY, OBJECT, OTHER = BinaryKind.PROGRAM, BinaryKind.LIBRARY, BinaryKind.OBJECT, BinaryKind.OTHER


def told(data: bytes) -> list[tuple[str | None, str | None, BinaryKind]]:
    """Os, arch and kind of each target."""
    return [(target.os, target.arch, target.kind) for target in targets_of(data)]


@pytest.mark.parametrize(
    ("head", "arch"),
    [
        (elf(32, "big", 20), "ppc"), (elf(64, "big", 21), "ppc64"), (elf(64, "little", 21), "ppc64le"),
        (elf(64, "little", 183), "aarch64"), (elf(64, "little", 243), "riscv64"), (elf(64, "big", 22), "s390x"),
        (elf(64, "little", 62), "x86_64"), (elf(32, "little", 3), "i686"), (elf(32, "little", 40), "armv7l"),
        (elf(32, "big", 8), "mips"), (elf(64, "big", 8), "mips64"), (elf(32, "little", 243), "riscv32"),
        (elf(32, "little", 62), None), (elf(32, "big", 22), None), (elf(64, "little", 4711), None),
    ],
)  # fmt: skip
def test_an_elf_file_says_for_which_machine_it_is(head: bytes, arch: str | None) -> None:
    assert told(head) == [("linux", arch, LIBRARY)]


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (elf(64, "little", 62, kind=2), [("linux", "x86_64", PROGRAM)]),
        (elf(64, "little", 62, kind=1), [("linux", "x86_64", OBJECT)]),
        (elf(64, "little", 62, kind=4), [("linux", "x86_64", OTHER)]),
        (elf(64, "little", 62, kind=2, system=9), [("freebsd", "x86_64", PROGRAM)]),
        (pe(0x8664), [("windows", "x86_64", PROGRAM)]),
        (pe(0x8664, library=True), [("windows", "x86_64", LIBRARY)]),
        (pe(0x14C, 32), [("windows", "i686", PROGRAM)]),
        (pe(0xAA64, subsystem=2), [("windows", "aarch64", PROGRAM)]),
        (pe(0x14C, 64), [("windows", None, PROGRAM)]),
        (pe(0x14C, 32, managed=True), [(None, "i686", OTHER)]),
        (pe(0x8664, subsystem=10), [(None, "x86_64", OTHER)]),
        (macho(0x01000007), [("darwin", "x86_64", PROGRAM)]),
        (macho(0x0100000C, kind=6), [("darwin", "aarch64", LIBRARY)]),
        (macho(7, kind=1), [("darwin", "i686", OBJECT)]),
        (macho(18), [("darwin", "ppc", PROGRAM)]),
        (macho(0x01000007, kind=10), [("darwin", "x86_64", OTHER)]),
        (
            universal(macho(0x01000007), macho(0x0100000C, kind=6)),
            [("darwin", "x86_64", PROGRAM), ("darwin", "aarch64", LIBRARY)],
        ),
        (
            universal(macho(18), macho(0x0100000C))[:HEAD],
            [("darwin", "ppc", PROGRAM), ("darwin", "aarch64", PROGRAM)],
        ),
        (wasm(WASI_IMPORT, START), [("wasi", "wasm32", PROGRAM)]),
        (wasm(WASI_IMPORT), [("wasi", "wasm32", LIBRARY)]),
        (wasm((2, b"\x01" + named("env", "print") + b"\0\0"), START), [(None, "wasm32", PROGRAM)]),
        (wasm(WASI_IMPORT, (0, named("linking"))), [("wasi", "wasm32", OBJECT)]),
        (wasm(version=b"\x0d\0\x01\0"), [("wasi", "wasm32", PROGRAM)]),
        (wasm(version=b"\x02\0\0\0"), []),
        (b"\xca\xfe\xba\xbe\0\0\0\x34" + bytes(400), []),  # a class file of Java
        (b"MZ is how this text begins", []),
        (b"#!/bin/sh\nexit\n", []),
        (elf(32, "big", 20)[:-1], []),
        (b"", []),
    ],
)
def test_a_file_says_for_which_system_and_processor_it_is_and_what_part_it_plays(
    data: bytes, found: list[tuple[str | None, str | None, BinaryKind]]
) -> None:
    assert told(data) == found


_HEADS = [
    elf(64, "little", 62), pe(0x8664), pe(0x14C, 32), macho(0x0100000C), universal(macho(7), macho(18)),
    wasm(WASI_IMPORT, START),
]  # fmt: skip


@given(st.sampled_from(_HEADS), st.data())
def test_whatever_the_bytes_are_what_is_named_has_the_bits_and_the_order_of_the_name(
    sound: bytes, data: st.DataObject
) -> None:
    """Each sound head with a part of it replaced, and cut somewhere."""
    place = data.draw(st.integers(0, min(len(sound), 400)))
    other = data.draw(st.binary(max_size=12))
    spoilt = (sound[:place] + other + sound[place + len(other) :])[: data.draw(st.integers(0, len(sound)))]
    for target in targets_of(spoilt):
        assert isinstance(target, BinaryTarget)
        if target.arch is not None and target.format.name != "MACHO":
            assert (ARCHES[target.arch].bits, ARCHES[target.arch].byteorder) == (target.bits, target.byteorder)


def test_this_interpreter_is_for_this_machine() -> None:
    (target,) = targets_of(Path(sys.executable).read_bytes()[:HEAD])
    assert (target.os, target.arch in ARCHES) == (sys.platform, True)


def test_what_a_file_is_for_is_told_in_words() -> None:
    assert targets_of(elf(32, "big", 20))[0].words() == "linux on ppc"
    assert targets_of(elf(64, "little", 247))[0].words() == "linux on machine 0xf7 with 64 bits"
    assert targets_of(wasm())[0].words() == "wasm32"
