"""What PE, Mach-O and WebAssembly files need, and one function for all formats.

The test is tests/model/binaries/test_need.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from attrs import evolve

from buildtool.model.binaries.elf_need import elf_need
from buildtool.model.binaries.macho import Slice, slices
from buildtool.model.binaries.need import FileNeed, name_at
from buildtool.model.binaries.pe import PeHead, pe_head, pe_targets
from buildtool.model.binaries.target import BinaryKind, FileBytes, unpacked
from buildtool.model.binaries.wasm import wasm_module, wasm_targets

SECTIONS_MOST = 96
IMPORTS_MOST = 1000
COMMANDS_MOST = 4096

_IMPORTS = 1
_UCRT = re.compile(r"api-ms-win-crt-.*|ucrtbase.*\.dll|vcruntime.*\.dll", re.IGNORECASE)
_BUILD_VERSION, _MACOS = 0x32, 1
_VERSION_MIN = {0x24: "darwin", 0x25: "ios", 0x2F: "tvos", 0x30: "watchos"}


def needs_of(data: FileBytes) -> tuple[FileNeed, ...]:
    """Return what a file of any format needs: once, once for each slice of a universal file, or not at all."""
    return elf_need(data) or pe_need(data) or macho_need(data) or wasm_need(data)


def pe_need(data: FileBytes) -> tuple[FileNeed, ...]:
    """Return what a PE file needs: its C library by what it imports, and the version of Windows in its head."""
    head, targets = pe_head(data), pe_targets(data)
    if head is None or targets[0].kind is BinaryKind.OTHER:
        return tuple(map(FileNeed, targets))
    names = list(_imported(data, head))
    libc = next((family for family, found in (
        ("ucrt", any(map(_UCRT.fullmatch, names))), ("msvcrt", "msvcrt.dll" in map(str.lower, names))
    ) if found), None)  # fmt: skip
    return (FileNeed(targets[0], libc, system="{}.{}".format(*head.subsystem_version), whole=True),)


def _imported(data: FileBytes, head: PeHead) -> Iterator[str]:
    place = _offset(data, head, head.directory(data, _IMPORTS)[0])
    for number in range(IMPORTS_MOST):
        entry = unpacked("<IIIII", data, place + 20 * number) if place >= 0 else None
        if entry is None or not entry[3]:
            return
        name = name_at(data, _offset(data, head, entry[3]))
        if name is not None:
            yield name


def _offset(data: FileBytes, head: PeHead, address: int) -> int:
    """Return where in the file is what is loaded at an address, in bytes; -1 for what is not in it."""
    for number in range(min(head.section_count, SECTIONS_MOST) if address else 0):
        section = unpacked("<IIII", data, head.sections + 40 * number + 8)
        if section is None:
            return -1
        _, start, size, offset = section
        if start <= address < start + size:
            return offset + address - start
    return -1


def macho_need(data: FileBytes) -> tuple[FileNeed, ...]:
    """Return the oldest macOS that each slice of a Mach-O file needs."""
    return tuple(_slice_need(data, one) for one in slices(data))


def _slice_need(data: FileBytes, one: Slice) -> FileNeed:
    order = "<" if one.byteorder == "little" else ">"
    target, found, whole = one.target(), None, True
    head = unpacked(f"{order}II", data, one.offset + 16)
    at = one.offset + (32 if one.bits == 64 else 28)  # noqa: PLR2004 - bits
    for _ in range(min(head[0], COMMANDS_MOST) if head else 0):
        command = unpacked(f"{order}II", data, at)
        if command is None or command[1] < 8:  # noqa: PLR2004 - its own two numbers
            whole = False
            break
        kind, size = command
        body = unpacked(f"{order}II", data, at + 8) if kind == _BUILD_VERSION or kind in _VERSION_MIN else None
        if body is not None and kind == _BUILD_VERSION:
            target = target if body[0] == _MACOS else evolve(target, os=f"platform {body[0]} of Apple")
            found = body[1]
        elif body is not None:
            target, found = evolve(target, os=_VERSION_MIN[kind]), body[0]
        at += size
    version = (
        None if found is None else f"{found >> 16}.{found >> 8 & 255}" + (f".{found & 255}" if found & 255 else "")
    )
    return FileNeed(target, "macos" if target.os == "darwin" else None, version, whole=whole and head is not None)


def wasm_need(data: FileBytes) -> tuple[FileNeed, ...]:
    """Return the version of WASI that a WebAssembly file imports."""
    module = wasm_module(data)
    if module is None:
        return ()
    libc = "wasi-libc" if module.wasi else None
    return tuple(FileNeed(target, libc, system=module.wasi or None, whole=True) for target in wasm_targets(data))
