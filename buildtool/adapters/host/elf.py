"""For which architecture a program is, by the head of its file. Pure functions."""

from __future__ import annotations

import struct

from buildtool.model.platforms import ARCHES

HEAD = 20
"""How many bytes of a file say what it is."""

_MAGIC = b"\x7fELF"
_BITS = {1: 32, 2: 64}
_ORDERS = {1: "little", 2: "big"}
_MACHINES: dict[int, tuple[str, ...]] = {
    3: ("i686",),
    8: ("mips", "mipsel", "mips64el"),
    20: ("ppc",),
    21: ("ppc64", "ppc64le"),
    22: ("s390x",),
    40: ("armv7l",),
    62: ("x86_64",),
    183: ("aarch64",),
    243: ("riscv64",),
    258: ("loongarch64",),
}  # e_machine of the System V ABI, as <elf.h> has them


def elf_arch(head: bytes) -> str | None:
    """Return the architecture of the ELF file that begins like this; None for another file, x32 and big-endian ARM."""
    if len(head) < HEAD or not head.startswith(_MAGIC):
        return None
    bits, order = _BITS.get(head[4]), _ORDERS.get(head[5])
    if bits is None or order is None:
        return None
    (machine,) = struct.unpack_from("<H" if order == "little" else ">H", head, 18)
    names = (ARCHES[name] for name in _MACHINES.get(machine, ()))
    return next((arch.name for arch in names if (arch.bits, arch.byteorder) == (bits, order)), None)
