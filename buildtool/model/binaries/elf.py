"""ELF files: the programs of Linux and most other systems. The test is tests/model/binaries/test_recognition.py."""

from __future__ import annotations

from buildtool.model.binaries.target import BinaryFormat, BinaryKind, BinaryTarget, FileBytes, named_arch, unpacked

MAGIC = b"\x7fELF"

BITS = {1: 32, 2: 64}
ORDERS = {1: "little", 2: "big"}

_KINDS = {1: BinaryKind.OBJECT, 2: BinaryKind.PROGRAM, 3: BinaryKind.LIBRARY}
"""By ``e_type``. A program that may lie anywhere in memory says of itself that it is a library."""

# 0 is what linkers write for Linux and for systems that say it elsewhere, 3 is what they write for IFUNC.
_SYSTEMS = {
    0: "linux", 3: "linux", 97: "linux", 1: "hpux", 2: "netbsd", 6: "solaris", 7: "aix", 8: "irix", 9: "freebsd",
    12: "openbsd",
}  # fmt: skip

_BESIDE = frozenset({190, 224, 247})
"""Machines whose code a program gives to its graphics processor (CUDA, AMD) or kernel (BPF): it is no platform."""

MACHINES: dict[int, tuple[str, ...]] = {
    2: ("sparc",),
    3: ("i686",),
    4: ("m68k",),
    8: ("mips", "mipsel", "mips64", "mips64el"),
    15: ("hppa",),
    18: ("sparc",),
    20: ("ppc",),
    21: ("ppc64", "ppc64le"),
    22: ("s390x",),
    40: ("armv7l",),
    42: ("sh4",),
    43: ("sparc64",),
    50: ("ia64",),
    62: ("x86_64",),
    183: ("aarch64",),
    243: ("riscv64", "riscv32"),
    258: ("loongarch64",),
    0x9026: ("alpha",),
}
"""``e_machine`` of the System V ABI, as <elf.h> has them. Of ARM there is one number for all 32-bit processors."""


def elf_targets(data: FileBytes) -> tuple[BinaryTarget, ...]:
    """Return what an ELF file is for. It takes the first 20 bytes; x32 and big-endian ARM have no arch here."""
    head = data[:20]
    if len(head) < 20 or not head.startswith(MAGIC):  # noqa: PLR2004 - as far as e_machine
        return ()
    bits, order = BITS.get(head[4]), ORDERS.get(head[5])
    if bits is None or order is None:
        return ()
    kind, machine = unpacked("<HH" if order == "little" else ">HH", head, 16) or (0, 0)
    arch = named_arch(MACHINES.get(machine, ()), bits, order)
    part = BinaryKind.OTHER if machine in _BESIDE else _KINDS.get(kind, BinaryKind.OTHER)
    return (BinaryTarget(BinaryFormat.ELF, part, _SYSTEMS.get(head[7]), arch, bits, order, machine),)
