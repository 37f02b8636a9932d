"""What is different in two artifacts that should be the same: which members, from which byte on, and what that is."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from buildtool.project.trial import MemberDifference

_CHUNK = 256 * 1024
_AROUND = 48
"""Bytes that are shown from where two members differ; a few before it tell what they are part of."""
_BEFORE = 16


def differences(first: Path, second: Path, places: tuple[bytes, bytes]) -> tuple[MemberDifference, ...]:
    """Return what differs between two zips, by name. ``places`` are the directories in which each was built. Blocks.

    Members are read piece by piece, however long they are. Raises OSError, zipfile.BadZipFile.
    """
    with zipfile.ZipFile(first) as one, zipfile.ZipFile(second) as two:
        members = ({info.filename: info for info in archive.infolist()} for archive in (one, two))
        here, there = members
        found = []
        for name in sorted(here.keys() | there.keys()):
            if name not in here or name not in there:
                found.append(MemberDifference(name, only_in=1 if name in here else 2))
                continue
            modes = [f"{info.external_attr >> 16:o}" for info in (here[name], there[name])]
            with one.open(name) as left, two.open(name) as right:
                difference = _compared(name, left, right, places)
            if modes[0] != modes[1] or difference.offset >= 0:
                said = (modes[0], modes[1]) if modes[0] != modes[1] else None
                found.append(MemberDifference(
                    name, 0, said, difference.offset, difference.texts, difference.names_place
                ))  # fmt: skip
    return tuple(found)


def _compared(name: str, left: IO[bytes], right: IO[bytes], places: tuple[bytes, bytes]) -> MemberDifference:
    """Return where two members differ first, and whether each of them names its own place from there on."""
    offset, position, before = -1, 0, b""
    texts = (b"", b"")
    named = [False, False]
    tails = [b"", b""]
    while True:
        pieces = (left.read(_CHUNK), right.read(_CHUNK))
        if not any(pieces):
            return MemberDifference(name, 0, None, offset, texts, all(named))
        for number, (piece, place) in enumerate(zip(pieces, places, strict=True)):
            named[number] = named[number] or place in tails[number] + piece
            tails[number] = (tails[number] + piece)[-len(place) :]
        if offset < 0 and pieces[0] != pieces[1]:
            at = first_difference(*pieces)
            offset, start = position + at, max(0, at - _BEFORE)
            texts = _shown(pieces, before, at, start)
        before = pieces[0][-_BEFORE:]
        position += _CHUNK


def _shown(pieces: Sequence[bytes], before: bytes, at: int, start: int) -> tuple[bytes, bytes]:
    """Return what stands around a place in both, as far as it is in hand."""
    lead = before[-(_BEFORE - at) :] if at < _BEFORE else b""
    one, two = (lead + piece[start : at + _AROUND - _BEFORE] for piece in pieces)
    return one, two


def first_difference(one: bytes, two: bytes) -> int:
    """Return the first index at which two texts differ: their length where one begins with the other."""
    low, high = 0, min(len(one), len(two))
    while low < high:
        middle = (low + high + 1) // 2
        if one[:middle] == two[:middle]:
            low = middle
        else:
            high = middle - 1
    return low
