"""Names, ids and digests as they may stand in texts from elsewhere: what each looks like is said here, once."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from collections.abc import Set as AbstractSet

ARTIFACT_NAME_LIMIT = 200
"""The longest artifact file name, in characters."""

_SHOWN = 200

ARTIFACT_NAME_WORDS = "letters, digits and _.+- only"
SERVER_NAME_WORDS = "letters, digits, dot, - and _, at most 63"

_ARTIFACT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*\Z")
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
    """Return whether an artifact's file may be called so, wherever it is written."""
    return len(text) <= ARTIFACT_NAME_LIMIT and _ARTIFACT_NAME.match(text) is not None


def is_short_word(text: str) -> bool:
    """Return whether this is a word that may be quoted to others, even if a peer made it up."""
    return _SHORT_WORD.match(text) is not None


def shortened(name: str) -> str:
    """Return a name without its middle where it is long, so that room is left for what is said of it."""
    return name if len(name) <= _SHOWN else f"{name[: _SHOWN // 2]}...{name[-_SHOWN // 2 :]}"


def taken_for_one(files: Iterable[str], directories: AbstractSet[str]) -> tuple[str, str] | None:
    """Return two names, not both of directories, that are one where case or how a letter is composed does not count."""
    known: dict[str, str] = {}
    for name in (*files, *directories):
        other = known.setdefault(_folded(name), name)
        if other != name and not {other, name} <= directories:
            return other, name
    return None


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())
