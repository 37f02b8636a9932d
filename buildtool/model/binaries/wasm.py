"""WebAssembly modules: programs for WASI, and libraries. The test is tests/model/binaries/test_recognition.py.

A module says what it imports, so that one for WASI can be told from one that a page of the web loads.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from attrs import frozen

from buildtool.model.binaries.target import BinaryFormat, BinaryKind, BinaryTarget, FileBytes

MAGIC = b"\0asm"

_VERSIONS = {b"\x01\0\0\0": "module", b"\x0d\0\x01\0": "component"}
_CUSTOM, _IMPORTS, _EXPORTS = 0, 2, 7
_SECTIONS_MOST = 1000
_ENTRIES_MOST = 100_000
_NAME_MOST = 10_000
_PREVIEW = re.compile(r"wasi_snapshot_preview[0-9]{1,3}\Z")
_STARTS = ("_start", "wasi:cli/run")


class _Cut(Exception):
    """The module ends, or is wrong, where more was expected."""


@frozen
class WasmModule:
    """The things that a module says of itself: the modules that it imports from, and whether it can be started.

    ``linking`` is whether it is an object file.
    """

    component: bool
    imports: frozenset[str]
    starts: bool
    linking: bool

    @property
    def wasi(self) -> str:
        """The version of WASI that it imports (``preview1``, ``preview2`` …), or an empty string."""
        for name in sorted(self.imports):
            if name == "wasi_unstable":
                return "preview0"
            if _PREVIEW.match(name):
                return name.removeprefix("wasi_snapshot_")
        return "preview2" if self.component else ""


class _Place:
    """A place in a module, from which numbers and names are read."""

    def __init__(self, data: FileBytes, start: int, end: int) -> None:
        self.data, self.at, self.end = data, start, end

    def byte(self) -> int:
        if self.at >= self.end:
            raise _Cut
        self.at += 1
        return self.data[self.at - 1 : self.at][0]

    def number(self) -> int:
        """Return a number of at most 32 bits, written in LEB128."""
        result = 0
        for shift in range(0, 35, 7):
            byte = self.byte()
            result |= (byte & 0x7F) << shift
            if byte < 0x80:  # noqa: PLR2004 - its last byte
                return result
        raise _Cut

    def name(self) -> str:
        size = self.number()
        if size > min(_NAME_MOST, self.end - self.at):
            raise _Cut
        self.at += size
        return self.data[self.at - size : self.at].decode("utf-8", "replace")


def wasm_module(data: FileBytes) -> WasmModule | None:
    """Return what a module says of itself, as far as its bytes are there, or None for another file."""
    form = _VERSIONS.get(data[4:8]) if data[:4] == MAGIC else None
    if form is None:
        return None
    imports: set[str] = set()
    starts = linking = False
    try:
        for kind, place in _sections(data):
            if kind == _CUSTOM:
                linking |= place.name() == "linking"
            elif form == "module" and kind == _IMPORTS:
                imports.update(_imports(place))
            elif form == "module" and kind == _EXPORTS:
                starts |= any(name in _STARTS for name in _exports(place))
    except _Cut:
        pass  # what there is says as much as it says
    return WasmModule(form == "component", frozenset(imports), starts or form == "component", linking)


def _sections(data: FileBytes) -> Iterator[tuple[int, _Place]]:
    place = _Place(data, 8, len(data))
    for _ in range(_SECTIONS_MOST):
        if place.at >= place.end:
            return
        kind, size = place.byte(), place.number()
        end = place.at + size
        yield kind, _Place(data, place.at, min(end, len(data)))
        place.at = end


def _imports(place: _Place) -> Iterator[str]:
    for _ in range(min(place.number(), _ENTRIES_MOST)):
        yield place.name()
        place.name()
        match place.byte():
            case 0:
                place.number()
            case 1:
                place.byte()
                _limits(place)
            case 2:
                _limits(place)
            case 3:
                place.byte()
                place.byte()
            case 4:
                place.byte()
                place.number()
            case _:
                raise _Cut


def _limits(place: _Place) -> None:
    flags = place.byte()
    place.number()
    if flags & 1:
        place.number()


def _exports(place: _Place) -> Iterator[str]:
    for _ in range(min(place.number(), _ENTRIES_MOST)):
        yield place.name()
        place.byte()
        place.number()


def wasm_targets(data: FileBytes) -> tuple[BinaryTarget, ...]:
    """Return what a WebAssembly file is for: os ``wasi`` where it imports from WASI, else none."""
    module = wasm_module(data)
    if module is None:
        return ()
    kind = BinaryKind.OBJECT if module.linking else BinaryKind.PROGRAM if module.starts else BinaryKind.LIBRARY
    return (BinaryTarget(BinaryFormat.WASM, kind, "wasi" if module.wasi else None, "wasm32", 32, "little"),)
