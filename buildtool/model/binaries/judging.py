"""Whether the files of an artifact are for what was asked, and what they need together.

The test is tests/model/binaries/test_judging.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase

from attrs import evolve, frozen

from buildtool.model.binaries.elf import MAGIC
from buildtool.model.binaries.need import FileNeed
from buildtool.model.binaries.needs import needs_of
from buildtool.model.binaries.recognition import HEAD, targets_of
from buildtool.model.binaries.target import BinaryFormat, BinaryKind, BinaryTarget, FileBytes
from buildtool.model.options import Canonical, canonical
from buildtool.model.platforms import ARCHES, Value, compare_versions, version_key
from buildtool.model.text import quoted

MEMBERS_MOST = 10_000
"""Most object files of a static library that are looked at."""

MEASURED = ("cpu_level", "libc_version")
"""The properties of a platform of which files may need less than the machine that made them announced."""

_LIBRARY = b"!<arch>\n"
_PACKED = (
    b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf\x27\x1c", b"\x04\x22\x4d\x18",
    b"!<thin>\n", b"\xed\xab\xee\xdb", b"hsqs", MAGIC,
)  # fmt: skip
_ARM = frozenset({"armv5tel", "armv6l", "armv7l"})
_RUN = frozenset({BinaryKind.PROGRAM, BinaryKind.LIBRARY})
_LIBCS = {"macos": "macOS"}


@frozen
class MeasuredFile:
    """A file of an artifact with what it needs, once for each slice of a universal one.

    It is ``closed`` where code may be in it that was not looked at: it is packed, or damaged.
    """

    name: str
    needs: tuple[FileNeed, ...] = ()
    closed: bool = False


def holds_code(head: FileBytes) -> bool:
    """Return whether a file that begins with these bytes has to be read as a whole to be measured."""
    return bool(targets_of(head)) or head[: len(_LIBRARY)] == _LIBRARY


def measured(name: str, data: FileBytes) -> MeasuredFile | None:
    """Return what a file needs, or None for text, data and everything else that no platform is needed for."""
    if data[: len(_LIBRARY)] == _LIBRARY:
        needs = tuple({FileNeed(evolve(one, kind=BinaryKind.OBJECT)): None for one in _members(data)})
        return MeasuredFile(name, needs, closed=True)
    needs = needs_of(data)
    closed = not needs and any(data[: len(magic)] == magic for magic in _PACKED)
    return MeasuredFile(name, needs, closed) if needs or closed else None


def _members(data: FileBytes) -> Iterator[BinaryTarget]:
    """Yield what each object file of a static library is for."""
    at = len(_LIBRARY)
    for _ in range(MEMBERS_MOST):
        head = data[at : at + 60]
        size = head[48:58].strip()
        if len(head) < 60 or not size.isdigit():  # noqa: PLR2004 - the head of a member
            return
        named = head[3:16].strip() if head.startswith(b"#1/") else b"0"  # BSD: the name stands before the bytes
        start = at + 60 + (int(named) if named.isdigit() else 0)
        yield from targets_of(data[start : start + HEAD])
        at += 60 + int(size) + int(size) % 2


def wrong_file(files: Iterable[MeasuredFile], platform: Mapping[str, Value], foreign: Iterable[str] = ()) -> str:
    """Return in one line which file is for another platform than was asked for, or an empty string.

    ``foreign`` are patterns of names of files that are meant for elsewhere.
    """
    patterns = tuple(foreign)
    for file in files:
        if _foreign(file, patterns):
            continue
        said = [_wrong(need, platform) for need in file.needs]
        if said and all(said):  # of a universal file one slice has to fit
            return f"{quoted(file.name)} {said[0]}"
    return ""


def _foreign(file: MeasuredFile, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(file.name, pattern) for pattern in patterns)


def _wrong(need: FileNeed, platform: Mapping[str, Value]) -> str:
    target, os, arch = need.target, platform.get("os"), str(platform.get("arch", ""))
    if target.kind is BinaryKind.OTHER or target.os is None:
        return ""
    other_arch = arch in ARCHES and target.arch != arch and not {target.arch, arch} <= _ARM
    if (os is not None and target.os != os) or other_arch:
        asked = " on ".join(str(one) for one in (os, arch) if one)
        return f"is for {target.words()}, and {asked} was asked for: does the recipe use tools['CC']?"
    libc, version, level = platform.get("libc"), platform.get("libc_version"), platform.get("cpu_level")
    if libc is not None and need.libc not in (None, libc):
        return f"needs {need.libc}, and {libc} was asked for"
    if need.libc_version and isinstance(version, str) and compare_versions(need.libc_version, version) > 0:
        return f"needs {_LIBCS.get(need.libc or '', need.libc)} {need.libc_version}, and {version} was asked for"
    if need.cpu_level and isinstance(level, str) and compare_versions(need.cpu_level, level) > 0:
        return f"needs a processor of {need.cpu_level}, and {level} was asked for"
    return ""


def measured_need(
    files: Iterable[MeasuredFile], platform: Mapping[str, Value], foreign: Iterable[str] = ()
) -> Canonical:
    """Return what the files of an artifact for a platform need together, as far as that is certain.

    Where there is code of which it is not known what it needs, as in an object file or an archive within, nothing is.
    """
    patterns = tuple(foreign)
    ours = [file for file in files if not _foreign(file, patterns)]
    needs = [need for file in ours for need in file.needs if not _wrong(need, platform)]
    run = [need for need in needs if need.target.kind in _RUN]
    if not run or any(file.closed for file in ours):
        return ()
    if any(not need.whole for need in needs if need.target.kind is not BinaryKind.OTHER):
        return ()
    found: dict[str, Value] = {}
    if all(need.libc is None or need.libc_version for need in run):
        found |= _newest("libc_version", [need.libc_version for need in run])
    if all(need.cpu_level for need in run):
        found |= _newest("cpu_level", [need.cpu_level for need in run])
    for form, name in ((BinaryFormat.PE, "windows"), (BinaryFormat.WASM, "wasi")):
        found |= _newest(name, [need.system for need in run if need.target.format is form])
    return canonical(found)


def _newest(name: str, versions: Iterable[str | None]) -> dict[str, Value]:
    known = [one for one in versions if one is not None]
    return {name: max(known, key=version_key)} if known else {}
