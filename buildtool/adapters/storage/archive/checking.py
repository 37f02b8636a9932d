"""What a build server uploaded, before it is kept: a zip as packing makes it, whose members harm nobody who unpacks it.

Build servers pack with ``packing``, and a hostile one with something else. Programs differ in how they read a zip, so
what one of them could read otherwise is refused: the end of the directory ends the file, each member is called the same
and as long in the directory and where its bytes are, and they stand one after the other with nothing between them. No
member is unpacked but the targets of links, of a thousand bytes each.
"""

from __future__ import annotations

import stat
import zlib
from collections.abc import Callable

from buildtool.adapters.storage.archive.directory import (
    DEFLATED,
    ENCRYPTED,
    MOST_DEFLATED,
    STORED,
    ListedMember,
    Read,
    listed_members,
    no_zip,
    place_of,
    read_directory,
    refused,
)
from buildtool.errors import UnsafeArchive
from buildtool.model.names import MEMBER_NAME_LIMIT, MEMBER_NAMES_LIMIT, link_fault, members_fault

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def check_archive(read: Callable[[int, int], bytes], size: int, most: int | None = None) -> None:
    """Check a zip of ``size`` bytes that ``read(size, position)`` reads. Blocks for at most some seconds.

    Its files have at most ``most`` bytes together, if that is said. Raises UnsafeArchive, in one line with the name at
    fault: for what is no zip, or one that programs could read in two ways; for encrypted members, ones that are neither
    files nor links, and names or links that packing refuses.
    """

    def at(position: int, length: int) -> bytes:
        return read(length, position)

    start, end, count = read_directory(at, size)
    members: dict[str, str] = {}
    length = place = unpacked = 0
    for listed in listed_members(at, start, end, count):
        length += len(listed.name)
        if length > MEMBER_NAMES_LIMIT:
            raise UnsafeArchive(f"its names have more than {MEMBER_NAMES_LIMIT} characters")
        if listed.name in members:
            raise refused(listed.name, "it is there twice")
        unpacked += listed.size
        if most is not None and unpacked > most:
            raise UnsafeArchive(f"its files have more than the {most} bytes that they may have together")
        if listed.offset != place:
            raise refused(listed.name, "it does not begin where the member before it ends")
        members[listed.name], place = _looked_at(at, start, listed)
    if place != start:
        raise no_zip("there is something between its members and its directory")
    wrong = members_fault(members)
    if wrong is not None:
        raise refused(*wrong)


def _looked_at(at: Read, limit: int, listed: ListedMember) -> tuple[str, int]:
    """Return the target of a link, an empty string for a file, and where the member ends.

    Raises UnsafeArchive for anything else.
    """
    if listed.flags & ENCRYPTED:
        raise refused(listed.name, "it is encrypted")
    mode = listed.attributes >> 16
    kind = stat.S_IFMT(mode)
    if kind not in {0, stat.S_IFREG, stat.S_IFLNK}:
        raise refused(listed.name, f"it is {_KINDS.get(kind, 'something else')}, neither file nor link")
    if mode & (stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX):
        raise refused(listed.name, "it would run with the rights of its owner or group")
    if listed.method not in {STORED, DEFLATED}:
        raise refused(listed.name, "not all programs know the way in which it is packed")
    if listed.size > (listed.packed if listed.method == STORED else listed.packed * MOST_DEFLATED):
        raise refused(listed.name, "it says to have more bytes than can come of it")
    data, end = place_of(at, limit, listed)
    if kind != stat.S_IFLNK:
        return "", end
    if listed.packed > 2 * MEMBER_NAME_LIMIT or listed.size > MEMBER_NAME_LIMIT:
        raise refused(listed.name, f"it is a link to a name longer than {MEMBER_NAME_LIMIT} bytes")
    try:
        target = _unpacked(at(data, listed.packed), listed).decode()
    except (zlib.error, ValueError):
        raise refused(listed.name, "it is a link whose target cannot be read") from None
    why = link_fault(listed.name, target)
    if why:
        raise refused(listed.name, why)
    return target, end


def _unpacked(data: bytes, listed: ListedMember) -> bytes:
    """Return the bytes of a short member. Raises ValueError and zlib.error for what is not so."""
    if listed.method == STORED:
        content = data
    elif listed.method == DEFLATED:
        inflating = zlib.decompressobj(-zlib.MAX_WBITS)
        content = inflating.decompress(data, listed.size + 1)
    else:
        content = b""
    if len(content) != listed.size:
        raise ValueError(listed.method)
    return content
