"""What people type for a revision or a range of revisions, checked before git sees any of it. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypeVar
from urllib.parse import unquote

from attrs import frozen

from buildtool.errors import RepositoryUnreachable, UnknownRef, UsageError

R = TypeVar("R", int, str)

REVRANGE_LIMIT = 1000
"""The most revisions that a range may accept."""

_REF_LIMIT = 250
_URL_LIMIT = 2000
_FULL_ID = re.compile(r"(?:[0-9a-fA-F]{40}|[0-9a-fA-F]{64})\Z")
_SHORT_ID = re.compile(r"[0-9a-fA-F]{4,63}\Z")
_STEPS = re.compile(r"[0-9]{1,9}\Z")
_SCHEME = re.compile(r"(?:file|git|https?|ssh)://", re.IGNORECASE)
_SCP_LIKE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?:@[A-Za-z0-9_.-]+)?:[^:]")
_USERINFO = re.compile(r"(?<=://)[^/\s]+@")
_WITH_LOGIN = re.compile(r"(https?://)([^/?#@:\s]+)(?::([^/?#@\s]*))?@([^/?#@\s]+)", re.IGNORECASE)
_SECRET_QUERY = re.compile(r"([?&][\w-]{0,40}(?:token|key|secret|password|auth)=)[^&\s'\"]+", re.IGNORECASE)

# The rules of git-check-ref-format(1), each with the words for the person who typed the ref.
_REF_RULES = (
    (re.compile(r"\A\Z"), "it is empty"),
    (re.compile(r"\A-"), "it begins with -"),
    (re.compile(r"[\x00-\x1f\x7f]"), "it has a control character in it"),
    (re.compile(r"\.\."), "it has .. in it (a range belongs to --revrange)"),
    (re.compile(r"[ ~^:?*\[\\]"), r"it has one of space ~ ^ : ? * [ \ in it (name a branch, a tag or a commit id)"),
    (re.compile(r"@\{|\A@\Z"), "@ stands for nothing here (name a branch, a tag or a commit id)"),
    (re.compile(r"\A/|/\Z|//|\.\Z"), "it has an empty part, or ends with a dot"),
    (re.compile(r"(?:\A|/)\.|\.lock(?:/|\Z)"), "a part of it begins with a dot or ends with .lock"),
    (re.compile(r"[\ud800-\udfff]"), "it is not text"),
)


def mask(text: str) -> str:
    """Return ``text`` without the user names, passwords and tokens of the URLs in it."""
    return _SECRET_QUERY.sub(r"\1***", _USERINFO.sub("***@", text))


def without_login(url: str) -> str:
    """Return ``url`` without the user's name and password, for who may fetch but not log in."""
    return _USERINFO.sub("", url)


def apart(url: str) -> tuple[str, str, tuple[str, str] | None]:
    """Return of a URL of HTTP with a login its site, itself without the login, and user and password; else no login."""
    found = _WITH_LOGIN.match(url)
    if found is None:
        return "", url, None
    site = f"{found[1]}{found[4]}"
    user, password = (unquote(one or "", errors="surrogateescape") for one in found.groups()[1:3])
    if not f"{user}{password}".isprintable():
        return "", url, None  # it is in no line of its own, which git has to see
    return site, site + url[found.end() :], (user, password)


def check_url(url: str) -> None:
    """Refuse what no repository's address looks like, or names a transport that runs commands.

    Accepted are file, git, http(s) and ssh URLs, ``user@host:path``, and absolute paths. Raises RepositoryUnreachable.
    """
    known = url.startswith("/") or _SCHEME.match(url) or ("://" not in url and _SCP_LIKE.match(url))
    if not known or len(url) > _URL_LIMIT or not url.isprintable():
        raise RepositoryUnreachable(
            f"{mask(url[:200])!r} is not the address of a repository: "
            "use file://, git://, http://, https:// or ssh://, user@host:path, or an absolute path"
        )


def check_ref(ref: str, url: str) -> None:
    """Raise UnknownRef, with the rule that is broken, if no branch, tag or commit can be called ``ref``."""
    if len(ref) > _REF_LIMIT:
        raise UnknownRef(f"{ref[:60]!r}... cannot be a ref of {mask(url)}: it is longer than {_REF_LIMIT} characters")
    for rule, words in _REF_RULES:
        if rule.search(ref):
            raise UnknownRef(f"{ref!r} cannot be a ref of {mask(url)}: {words}")


def may_be_ref(name: str) -> bool:
    """Return whether git lets a ref be called so, however long the name is and in whatever encoding."""
    return not any(rule.search(name) for rule, _ in _REF_RULES[:-1])


def is_full_id(ref: str) -> bool:
    """Return whether ``ref`` is a full commit id (SHA-1 or SHA-256)."""
    return bool(_FULL_ID.match(ref))


def may_be_short_id(ref: str) -> bool:
    """Return whether ``ref`` may abbreviate a commit id."""
    return bool(_SHORT_ID.match(ref))


@frozen
class RevisionsNear:
    """A range ``N``: the revision and what is at most ``steps`` first-parent steps before or after it."""

    steps: int


@frozen
class RevisionSpan:
    """A range ``A..B``: the first-parent line from ``last`` back to ``first``, both included; ``last`` is built."""

    first: str
    last: str


def parse_revrange(text: str) -> RevisionsNear | RevisionSpan:
    """Return what a ``--revrange`` says; the empty text is ``RevisionsNear(0)``. Raises UsageError, UnknownRef."""
    text = text.strip()
    if not text:
        return RevisionsNear(0)
    if _STEPS.match(text):
        steps = int(text)
        if steps > REVRANGE_LIMIT:
            raise UsageError(f"revrange {text} is too wide: at most {REVRANGE_LIMIT} steps")
        return RevisionsNear(steps)
    first, dots, last = text.partition("..")
    if not dots or not first or not last or ".." in last or last.startswith("."):
        raise UsageError(f"revrange {text[:60]!r} is neither a number of steps (5) nor a range of revisions (A..B)")
    for ref in (first, last):
        check_ref(ref, "any repository")
    return RevisionSpan(first, last)


def nearest(older: Iterable[R], newer: Iterable[tuple[int, R]], steps: int) -> tuple[R, ...]:
    """Return revisions, nearest first, of two equally near ones the older; ``newer`` says how far each is after.

    Raises UsageError where those of ``steps`` steps are too many.
    """
    ranked = [(near, 0, one) for near, one in enumerate(older)] + [(near, 1, one) for near, one in newer]
    if len(ranked) > REVRANGE_LIMIT:
        raise UsageError(f"revrange {steps} accepts more than {REVRANGE_LIMIT} revisions here: choose fewer steps")
    return tuple(one for _, _, one in sorted(ranked))
