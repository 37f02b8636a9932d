"""Heads of files of programs, laid out as the descriptions of their formats say."""

import struct


def elf(bits: int, order: str, machine: int, kind: int = 3, system: int = 0) -> bytes:
    """The head of an ELF file, as the System V ABI lays it out."""
    ident = b"\x7fELF" + bytes([bits // 32, 1 if order == "little" else 2, 1, system]) + bytes(8)
    return ident + struct.pack("<HH" if order == "little" else ">HH", kind, machine)


def pe(machine: int, bits: int = 64, *, library: bool = False, subsystem: int = 3, managed: bool = False) -> bytes:
    """A PE file without sections, as Microsoft's PE Format lays it out."""
    stub = b"MZ" + bytes(58) + struct.pack("<I", 128) + bytes(64)
    size = 240 if bits == 64 else 224
    coff = struct.pack("<HHIIIHH", machine, 0, 0, 0, 0, size, 0x2000 if library else 0x0002)
    optional = bytearray(size)
    struct.pack_into("<H", optional, 0, 0x20B if bits == 64 else 0x10B)
    struct.pack_into("<HH", optional, 48, 6, 1)
    struct.pack_into("<H", optional, 68, subsystem)
    struct.pack_into("<I", optional, 108 if bits == 64 else 92, 16)
    struct.pack_into("<I", optional, (112 if bits == 64 else 96) + 8 * 14, 8192 if managed else 0)
    return stub + b"PE\0\0" + coff + bytes(optional)


def macho(cpu: int, kind: int = 2, commands: bytes = b"", count: int = 0) -> bytes:
    """A Mach-O file of one slice, as Apple's <mach-o/loader.h> lays it out."""
    order = ">" if cpu & 0xFF == 18 else "<"
    wide = cpu >> 24 & 1
    head = struct.pack(f"{order}IIIIIII", 0xFEEDFACE | wide, cpu, 0, kind, count, len(commands), 0)
    return head + bytes(4 * wide) + commands


def universal(*slices: bytes) -> bytes:
    """A universal Mach-O file, as Apple's <mach-o/fat.h> lays it out."""
    place = 4096
    table = struct.pack(">II", 0xCAFEBABE, len(slices))
    body = b""
    for one in slices:
        (cpu,) = struct.unpack("<I" if one[0] in {0xCE, 0xCF} else ">I", one[4:8])
        table += struct.pack(">IIIII", cpu, 0, place + len(body), len(one), 12)
        body += one
    return table.ljust(place, b"\0") + body


def wasm(*sections: tuple[int, bytes], version: bytes = b"\x01\0\0\0") -> bytes:
    """A WebAssembly module, as its specification's binary format lays it out; sections of less than 128 bytes."""
    return b"\0asm" + version + b"".join(bytes([kind, len(body)]) + body for kind, body in sections)


def named(*texts: str) -> bytes:
    """Names of WebAssembly, one after the other."""
    return b"".join(bytes([len(text)]) + text.encode() for text in texts)


WASI_IMPORT = (2, b"\x01" + named("wasi_snapshot_preview1", "fd_write") + b"\0\0")
START = (7, b"\x01" + named("_start") + b"\0\0")
