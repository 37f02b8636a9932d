"""What an origin says that its refs are."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Container, Mapping
from pathlib import Path

from attrs import define, field, frozen

from buildtool.adapters.vcs.git.command import GitCommand
from buildtool.adapters.vcs.refs import mask
from buildtool.errors import UnknownRef

_ID = re.compile(rb"(?:[0-9a-f]{40}|[0-9a-f]{64})\Z")


@frozen
class Listed:
    """A ref at the origin: its full name, what it points at, and the commit behind an annotated tag."""

    name: str
    target: str
    peeled: str


@frozen
class Listing:
    """The answer of an origin.

    ``refs`` are those that were asked for, each with the id that it points at, those of what is behind a tag with
    ``^{}``. ``digits`` is how long the ids are, 0 where there are none. Of a listing of everything, ``state`` differs
    after anything changed, ``tips`` after a branch or tag did.
    """

    refs: dict[str, str]
    digits: int
    state: str
    tips: str

    def choose(self, ref: str, url: str) -> Listed | None:
        """Pick what ``ref`` means. Raises UnknownRef where that is two different things."""
        found = [
            Listed(name, self.refs[name], self.refs.get(f"{name}^{{}}", self.refs[name]))
            for name in meanings(ref)
            if name in self.refs
        ]
        if len({one.peeled for one in found}) > 1:
            raise UnknownRef(f"{ref!r} is a branch and a tag of {mask(url)}: say refs/heads/{ref} or refs/tags/{ref}")
        return found[0] if found else None

    def named_as(self, ref: str, others: Collection[str], url: str) -> frozenset[str]:
        """Return those of other names that mean the same ref as ``ref`` does here; its name itself is one of them.

        Raises UnknownRef where ``ref`` is no ref here, or two.
        """
        listed = self.choose(ref, url)
        if listed is None:
            raise UnknownRef(f"{ref!r} is no branch or tag of {mask(url)}: what is older is found out of one of these")
        meant = {name: next((full for full in meanings(name) if full in self.refs), "") for name in others}
        return frozenset(name for name, full in meant.items() if name == ref or full == listed.name)


NAMES = 500
"""At most so many branches and tags are named."""


def meanings(ref: str) -> tuple[str, ...]:
    """Return the full names that ``ref`` may stand for."""
    exact = ref == "HEAD" or ref.startswith("refs/")
    return (ref,) if exact else (f"refs/heads/{ref}", f"refs/tags/{ref}")


def spellings(ref: str) -> tuple[str, ...]:
    """Return all full names that have to be known to tell which names mean the same ref as ``ref``."""
    return (*meanings(ref), *meanings(ref.removeprefix("refs/heads/").removeprefix("refs/tags/")))


def known_names(command: GitCommand, mirror: Path) -> tuple[str, ...]:
    """Return the names of branches and tags in a mirror, the newest first, at most ``NAMES``; blocking.

    None where git cannot tell, as in a mirror that is not there yet.
    """
    if not mirror.is_dir():
        return ()
    words = ("--sort=-creatordate", f"--count={NAMES}", "--format=%(refname:lstrip=2)")
    answer = command.run(("for-each-ref", *words, "refs/heads", "refs/tags"), git_dir=mirror)
    if answer.code:
        return ()
    return tuple(dict.fromkeys(name for name in answer.text.split("\n") if name and name.isprintable()))


NAME_LIMIT = 200
"""The longest full name of a ref that is asked for as a revision: what has a longer one cannot be, by that name."""


class _Tips(Container[str]):
    """HEAD, the full names of all branches and tags that can be asked for, and of what is behind a tag."""

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str) or not name.startswith(("refs/heads/", "refs/tags/")):
            return name == "HEAD"
        return name.isprintable() and len(name.removesuffix("^{}")) <= NAME_LIMIT


TIPS = _Tips()


def tips_of(listing: Listing) -> Mapping[str, str]:
    """Return the commit of each branch and tag in a listing of ``TIPS``, by full names."""
    behind = {name: listing.refs.get(f"{name}^{{}}", one) for name, one in listing.refs.items()}
    return {name: one for name, one in behind.items() if not name.endswith("^{}")}


@define
class RefListing:
    """A reader of the lines of ``git ls-remote``, or of ``for-each-ref`` in the same form."""

    wanted: Container[str] = ()
    _refs: dict[str, str] = field(factory=dict, init=False)
    _digits: int = field(default=0, init=False)
    _state: hashlib._Hash = field(factory=hashlib.sha256, init=False)
    _tips: hashlib._Hash = field(factory=hashlib.sha256, init=False)

    def line(self, text: bytes) -> None:
        """Take one line: an id, a tab, a full name."""
        object_id, _, name = text.partition(b"\t")
        if not _ID.match(object_id):
            return
        self._digits = len(object_id)
        self._state.update(text + b"\n")
        if name.startswith((b"refs/heads/", b"refs/tags/")) and not name.endswith(b"^{}"):
            self._tips.update(text + b"\n")
        readable = name.decode("utf-8", "surrogateescape")
        if readable in self.wanted:
            self._refs[readable] = object_id.decode("ascii")

    def listing(self) -> Listing:
        """Return what was read."""
        return Listing(self._refs, self._digits, self._state.hexdigest(), self._tips.hexdigest())
