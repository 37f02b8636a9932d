"""Names, ids and digests as they may stand in texts from elsewhere: what each looks like is said here, once."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet

ARTIFACT_NAME_LIMIT = 200
"""The longest artifact file name, in characters."""

MEMBER_LIMIT = 100_000
"""Most files and directories of an artifact."""

MEMBER_NAME_LIMIT = 1000
"""The longest name in an artifact, in bytes of UTF-8."""

MEMBER_NAMES_LIMIT = 16 * 2**20
"""Most characters of all names in an artifact, those of its directories included: they are compared in memory."""

_SHOWN = 200
_LINKS_FOLLOWED = 40
_LINK_STEPS = 1_000_000  # of all links together: whoever made them may mean harm
_UNSAFE = frozenset({"Cc", "Cs", "Zl", "Zp"})  # control characters, what is not UTF-8 on disk, line separators
_TURNING = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
"""The classes of characters that have a name read otherwise than it is written (UAX #9)."""

_DEVICES = frozenset(
    {"con", "prn", "aux", "nul", "conin$", "conout$"}
    | {f"{port}{number}" for port in ("com", "lpt") for number in "123456789¹²³"}
)
"""What Windows takes for a device in every directory; with an ending (``aux.h``) they are files since Windows 11."""

ARTIFACT_NAME_WORDS = "letters, digits and _.+- only, with .zip at its end"
SERVER_NAME_WORDS = "letters, digits, dot, - and _, at most 63"

_ARTIFACT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*\.zip\Z")
_SERVER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")
_SHORT_WORD = re.compile(r"[A-Za-z0-9_.+-]{1,30}\Z")
_CLIENT_ID = re.compile(r"[0-9a-f]{32}\Z")
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_COMMIT_ID = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")
_SVN_REVISION = re.compile(r"r([1-9][0-9]{0,9})\Z")
_ROW_ID = re.compile(r"[1-9][0-9]{0,17}\Z")


def is_digest(text: str) -> bool:
    """Return whether this is a SHA-256 digest in hex."""
    return _DIGEST.match(text) is not None


def is_commit_id(text: str) -> bool:
    """Return whether this is the full id of a commit in git."""
    return _COMMIT_ID.match(text) is not None


def is_revision(text: str) -> bool:
    """Return whether this is the full id of a commit, or of a revision in Subversion (``r123``)."""
    return is_commit_id(text) or _SVN_REVISION.match(text) is not None


def is_client_id(text: str) -> bool:
    """Return whether this is an id that a client makes up for its request, so that it is accepted once."""
    return _CLIENT_ID.match(text) is not None


def is_row_id(text: str) -> bool:
    """Return whether this is the number of a Request, a Build or an artifact."""
    return _ROW_ID.match(text) is not None


def is_server_name(text: str) -> bool:
    """Return whether a build server may be called so."""
    return _SERVER_NAME.match(text) is not None


def is_artifact_name(text: str) -> bool:
    """Return whether an artifact's file may be called so, wherever it is written: no build file, say, is."""
    return len(text) <= ARTIFACT_NAME_LIMIT and _ARTIFACT_NAME.match(text) is not None


def is_short_word(text: str) -> bool:
    """Return whether this is a word that may be quoted to others, even if a peer made it up."""
    return _SHORT_WORD.match(text) is not None


def shortened(name: str) -> str:
    """Return a name without its middle where it is long, so that room is left for what is said of it."""
    return name if len(name) <= _SHOWN else f"{name[: _SHOWN // 2]}...{name[-_SHOWN // 2 :]}"


def member_fault(name: str) -> str:
    """Return why a file of an artifact may not be called ``name``, or an empty string."""
    if "\\" in name:
        return "some systems take the backslash in it for a /"
    if not name or name.startswith("/") or {"", ".", ".."} & set(name.split("/")):
        return "use a relative path with / and without . or .. parts"
    if not _storable(name):
        return "it has control characters or is not UTF-8"
    if name[1:2] == ":" and name[0].isascii() and name[0].isalpha():
        return "some systems take its beginning for a drive"
    if len(name) > MEMBER_NAME_LIMIT or len(name.encode()) > MEMBER_NAME_LIMIT:
        return f"its name is longer than {MEMBER_NAME_LIMIT} bytes"
    return next(filter(None, map(_part_fault, name.split("/"))), "")


def _part_fault(part: str) -> str:
    """Return why no file or directory of an artifact may be called so, whatever it is in, or an empty string."""
    if part[-1] in ". ":
        return "some systems leave out the dot or blank at the end of a part"
    if part.lower() in _DEVICES:
        return f"some systems take {part[:_SHOWN]!r} for a device: deliver an archive of it"
    return ""


def link_fault(name: str, target: str) -> str:
    """Return why the link called ``name`` may not lead to ``target``, wherever that is, or an empty string."""
    written = posixpath.normpath(f"{posixpath.dirname(name)}/{target}" if "/" in name else target)
    if target.startswith("/") or written == ".." or written.startswith("../"):
        return f"it is a link that leads out of the tree, to {target[:_SHOWN]!r}"
    if len(target) > MEMBER_NAME_LIMIT:
        return f"it is a link to a name longer than {MEMBER_NAME_LIMIT} characters"
    if not target or "\\" in target or not _storable(target):
        return f"its target {target[:_SHOWN]!r} has characters that cannot be stored"
    return ""


def members_fault(members: Mapping[str, str], check: Callable[[], None] = lambda: None) -> tuple[str, str] | None:
    """Return which name cannot stand beside the others in an artifact, and why; None if all can.

    ``members`` has the target of each link, and an empty string for each file; each name and target has passed for
    itself. ``check`` is called between small steps: what it raises ends it.
    """
    directories: set[str] = set()
    length = sum(map(len, members))
    for name in members:
        check()
        parent = posixpath.dirname(name)
        while parent and parent not in directories:
            if parent in members:
                return name, f"{shortened(parent)!r} is packed too, as a {'link' if members[parent] else 'file'}"
            directories.add(parent)
            length += len(parent)
            parent = posixpath.dirname(parent)
        if max(len(members), len(directories)) > MEMBER_LIMIT or length > MEMBER_NAMES_LIMIT:
            most = f"{MEMBER_LIMIT} files or directories, or names of more than {MEMBER_NAMES_LIMIT} characters"
            return name, f"with it there are more than {most}: deliver an archive of them"
    same = taken_for_one(members, directories)
    if same is not None:
        return same[1], f"some systems take it for {shortened(same[0])!r}: deliver an archive of them"
    steps = iter(range(_LINK_STEPS))
    for name, target in members.items():
        if target:
            check()
            why = _leads_nowhere(name, members, directories, steps)
            if why:
                return name, why
    return None


def _leads_nowhere(name: str, members: Mapping[str, str], directories: Container[str], steps: Iterator[int]) -> str:
    """Return why a link would lead nowhere, or out, where the artifact is unpacked; or an empty string."""
    followed = 0
    done = name.split("/")[:-1]
    todo = members[name].split("/")[::-1]
    while todo:
        if next(steps, None) is None:
            return "the links before it lead through too many directories: deliver an archive of them"
        part = todo.pop()
        if part == "..":
            if not done:
                return f"it is a link that leads out of the tree, to {members[name][:_SHOWN]!r}"
            done.pop()
        elif part not in {"", "."}:
            done.append(part)
        there = "/".join(done)
        target = members.get(there)
        if target:
            followed += 1
            if followed > _LINKS_FOLLOWED:
                return "it is a link that leads in a circle"
            done.pop()
            todo += target.split("/")[::-1]
        elif done and target is None and there not in directories:
            other = f" ({there!r})" if there != members[name] else ""
            return f"it is a link to {members[name][:_SHOWN]!r}, which is not delivered{other[:_SHOWN]}"
    return ""


def _storable(text: str) -> bool:
    if text.isascii():
        return text.isprintable()
    return not any(
        unicodedata.category(char) in _UNSAFE or unicodedata.bidirectional(char) in _TURNING for char in text
    )


def taken_for_one(files: Iterable[str], directories: AbstractSet[str]) -> tuple[str, str] | None:
    """Return two names, not both of directories, that are one to some systems.

    To these case, how a letter is composed, and characters that are not seen do not count.
    """
    known: dict[str, str] = {}
    for name in (*files, *directories):
        other = known.setdefault(_folded(name), name)
        if other != name and not {other, name} <= directories:
            return other, name
    return None


def _folded(name: str) -> str:
    if name.isascii():
        return name.lower()
    seen = "".join(char for char in unicodedata.normalize("NFD", name) if unicodedata.category(char) != "Cf")
    return unicodedata.normalize("NFC", seen.casefold())
