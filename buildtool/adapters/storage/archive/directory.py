"""What a zip says that it holds, read strictly: its directory, and where the bytes of each member are.

Whoever reads it reads no more of it than was asked for. Covered by tests/adapters/storage/archive/test_checking.py.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from attrs import define, field, frozen

from buildtool.errors import UnsafeArchive
from buildtool.model.names import MEMBER_LIMIT, MEMBER_NAMES_LIMIT, member_fault, shortened

Read = Callable[[int, int], bytes]
"""Returns so many bytes from a position, fewer at the end of the file."""

# Of the ZIP format (APPNOTE.TXT 6.3.10): 4.3.16, 4.3.15, 4.3.14, 4.3.12, 4.3.7.
_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_EXTRA = struct.Struct("<2H")
_AFTER = struct.Struct("<4s3L")
_AFTER64 = struct.Struct("<4sL2Q")

_FULL_16, _FULL_32 = 0xFFFF, 0xFFFFFFFF
ENCRYPTED = 0x1 | 0x40 | 0x2000
_UTF8 = 0x800
_LENGTH_AFTER = 0x8
"""The flag of a member whose lengths stand after its bytes, as where the zip was written from front to back."""
STORED, DEFLATED = 0, 8
MOST_DEFLATED = 1_032
"""Into so many bytes one byte can be inflated at most."""

_OTHER_NAME = 0x7075
"""The extra field by which some programs call a member otherwise."""

_WINDOW = 256 * 1024
_HEADROOM = 64
"""Bytes that an entry of the directory may have on average besides its fixed part and its name."""

_DIRECTORY_LIMIT = 3 * MEMBER_NAMES_LIMIT + MEMBER_LIMIT * (_ENTRY.size + _HEADROOM)


@frozen
class ListedMember:
    """A member as the directory of the zip has it."""

    name: str
    raw: bytes
    flags: int
    method: int
    checksum: int
    packed: int
    size: int
    offset: int
    attributes: int


def refused(name: str, why: str) -> UnsafeArchive:
    """Return the refusal of a member."""
    return UnsafeArchive(f"{shortened(name)!r} in it may harm: {why}")


def no_zip(why: str) -> UnsafeArchive:
    """Return the refusal of a whole file."""
    return UnsafeArchive(f"it is no zip as build servers pack it: {why}")


def read_directory(at: Read, size: int) -> tuple[int, int, int]:
    """Return where the directory of a zip of ``size`` bytes begins and ends, and how many members it lists.

    Raises UnsafeArchive.
    """
    position = max(0, size - _END.size)
    tail = at(position, _END.size)
    if len(tail) < _END.size or not tail.startswith(b"PK\5\6"):
        raise no_zip("it does not end with the end of a directory")
    _, disk, first, here, count, length, start, comment = _END.unpack(tail)
    said = (here, count, length, start)
    locator = at(position - _LOCATOR.size, _LOCATOR.size) if position >= _LOCATOR.size else b""
    if locator.startswith(b"PK\6\7"):
        position -= _LOCATOR.size + _END64.size
        large = at(position, _END64.size) if position >= 0 else b""
        _, number, where, disks = _LOCATOR.unpack(locator)
        if len(large) < _END64.size or not large.startswith(b"PK\6\6") or (number, where, disks) != (0, position, 1):
            raise no_zip("the end of its directory contradicts itself")
        _, rest, _, _, disk64, first64, here, count, length, start = _END64.unpack(large)
        full = (_FULL_16, _FULL_16, _FULL_32, _FULL_32)
        pairs = zip(said, full, (here, count, length, start), strict=True)
        if rest != _END64.size - 12 or disk64 or first64 or any(one not in {most, true} for one, most, true in pairs):
            raise no_zip("the end of its directory contradicts itself")
    if disk or first or here != count or comment or start + length != position:
        raise no_zip("the end of its directory contradicts itself")
    if count > MEMBER_LIMIT or length > _DIRECTORY_LIMIT:
        raise UnsafeArchive(f"it has {count} members in a directory of {length} bytes, more than packing makes")
    if count and at(0, 4) != b"PK\3\4":
        raise no_zip("it does not begin with a member")
    return start, position, count


def listed_members(at: Read, start: int, end: int, count: int) -> Iterator[ListedMember]:
    """Yield the members as the directory has them. Raises UnsafeArchive."""
    window = _Window(at, end)
    for _ in range(count):
        raw = window.bytes(start, _ENTRY.size)
        if not raw.startswith(b"PK\1\2"):
            raise no_zip("its directory is cut off")
        fields = _ENTRY.unpack(raw)
        flags, method, packed, size = fields[3], fields[4], fields[8], fields[9]
        name_length, extra_length, comment, disk, attributes, offset = *fields[10:14], *fields[15:17]
        variable = window.bytes(start + _ENTRY.size, name_length + extra_length)
        raw_name, extra = variable[:name_length], variable[name_length:]
        name = _name(raw_name, flags)
        if comment or disk not in {0, _FULL_16}:
            raise refused(name, "it has a comment, or is on another disk")
        large = iter(_extra(name, extra))
        sizes = [next(large, -1) if one == _FULL_32 else one for one in (size, packed, offset)]
        yield ListedMember(name, raw_name, flags, method, fields[7], sizes[1], sizes[0], sizes[2], attributes)
        start += _ENTRY.size + len(variable)
    if start != end:
        raise no_zip("its directory is longer than its members")


@define
class _Window:
    """The bytes before ``end``, read in large pieces from front to back."""

    at: Read
    end: int
    _from: int = field(default=0, init=False)
    _held: bytes = field(default=b"", init=False)

    def bytes(self, position: int, length: int) -> bytes:
        """Return ``length`` bytes from a position. Raises UnsafeArchive if there are fewer."""
        if position + length > self.end:
            raise no_zip("its directory is cut off")
        if not self._from <= position <= position + length <= self._from + len(self._held):
            self._held = self.at(position, min(max(_WINDOW, length), self.end - position))
            self._from = position
        there = position - self._from
        return self._held[there : there + length]


def _name(raw: bytes, flags: int) -> str:
    """Return a member's name. Raises UnsafeArchive for one that packing refuses, or that is not UTF-8."""
    try:
        name = raw.decode("utf-8" if flags & _UTF8 else "ascii")
    except UnicodeDecodeError:
        name = raw.decode("utf-8", "backslashreplace")
        raise refused(name, "it is not UTF-8, or does not say so") from None
    why = member_fault(name)
    if why:
        raise refused(name, why)
    return name


def _extra(name: str, extra: bytes) -> list[int]:
    """Return the numbers of the field for large files. Raises UnsafeArchive for a field that gives another name."""
    numbers: list[int] = []
    place = 0
    while place + _EXTRA.size <= len(extra):
        kind, length = _EXTRA.unpack_from(extra, place)
        place += _EXTRA.size
        if kind == _OTHER_NAME:
            raise refused(name, "it has a second name")
        if kind == 1 and not numbers:
            field_bytes = extra[place : place + length]
            numbers = [int.from_bytes(field_bytes[at : at + 8], "little") for at in range(0, len(field_bytes) - 7, 8)]
        place += length
    if place != len(extra):
        raise refused(name, "what is said of it besides its name is cut off")
    return numbers


def place_of(at: Read, limit: int, listed: ListedMember) -> tuple[int, int]:
    """Return where a member's bytes begin, and where the member ends; ``limit`` is where the directory begins (bytes).

    Raises UnsafeArchive if it is called otherwise there, has another length, or is not there.
    """
    head = at(listed.offset, _LOCAL.size + len(listed.raw)) if 0 <= listed.offset < limit else b""
    if len(head) < _LOCAL.size or not head.startswith(b"PK\3\4"):
        raise refused(listed.name, "its bytes are not where the directory says")
    fields = _LOCAL.unpack_from(head)
    flags, method, name_length, extra_length = fields[2], fields[3], fields[9], fields[10]
    if (head[_LOCAL.size :], flags, method) != (listed.raw, listed.flags, listed.method):
        raise refused(listed.name, "it is called or packed otherwise where its bytes are")
    if name_length != len(listed.raw):
        raise refused(listed.name, "it is called or packed otherwise where its bytes are")
    place = listed.offset + _LOCAL.size + name_length
    large = _extra(listed.name, at(place, extra_length)) if extra_length else []
    said = (listed.checksum, listed.packed, listed.size)
    data: int = place + extra_length
    end = data + listed.packed
    if listed.flags & _LENGTH_AFTER:
        form = _AFTER64 if large else _AFTER
        after = at(end, form.size) if 0 <= listed.packed <= limit else b""
        same = fields[6] == 0 and len(after) == form.size and form.unpack(after) == (b"PK\7\x08", *said)
        end += form.size
    else:
        numbers = iter(large)
        size, packed = (next(numbers, -1) if one == _FULL_32 else one for one in (fields[8], fields[7]))
        same = (fields[6], packed, size) == said
    if listed.packed < 0 or end > limit:
        raise refused(listed.name, "its bytes are not where the directory says")
    if not same:
        raise refused(listed.name, "it has another length or check sum where its bytes are")
    return data, end
