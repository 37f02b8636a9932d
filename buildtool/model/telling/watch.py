"""A standing wish to be told of each new binary of a branch, and what it knows between two looks at the repository.

What a watch awaits follows from the repository: the commits that came to its branch since it was made. It asks for the
newest of them, and whatever made a binary of one that will do, it tells that once. Pure: what the repository has and
the time are arguments.

The test is tests/model/telling/test_watch.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, tzinfo

from attrs import evolve, frozen

from buildtool.errors import UsageError
from buildtool.model.guest.hours import Zones
from buildtool.model.records import Artifact, Mail, RequestState
from buildtool.model.text import quoted
from buildtool.model.triggers.schedule import Daily, read_daily

__all__ = ["AWAITED", "EACH", "WATCH", "BranchWatch", "digest_time", "followed", "mail_of", "read_digest", "told"]

WATCH = "watch:"
"""What the topics of mails begin with that a watch sends, and the shares under which its person's watches ask."""

EACH = 20
"""Most watches of one address."""

AWAITED = 50
"""Most commits of which a watch awaits a binary, the newest that came to its branch."""

_USUAL = {"daily": "07:00 UTC", "weekly": "Mon 07:00 UTC"}
"""What the short words for when a digest goes out stand for."""


@frozen
class BranchWatch:
    """A watch of a branch by its full name, for who has an e-mail address; ``made`` in seconds of wall time.

    ``wish`` is what it asks for, as a message in text, if it ``asks``. ``digest`` is when what came is told together,
    "" for a mail each. ``name``, ``key``, ``owner`` and ``address`` are those by which its maker was known, who is
    ``trusted`` where no key was needed. ``tip`` is the commit at which the branch was seen last, ``awaited`` what
    came to it and has no binary that was told, newest first; ``moves`` is how often the branch was seen to move.
    """

    id: int
    email: str
    project: str
    source: str
    ref: str
    wish: str
    made: float
    asks: bool = True
    digest: str = ""
    name: str = ""
    key: str = ""
    owner: str = ""
    address: str = ""
    trusted: bool = False
    tip: str = ""
    awaited: tuple[str, ...] = ()
    moves: int = 0

    @property
    def topic(self) -> str:
        """What its mails are about, as their links end them."""
        return f"{WATCH}{self.id}"


def followed(watch: BranchWatch, tip: str, came: Sequence[str] | None) -> BranchWatch:
    """Return a watch whose branch is at ``tip``: ``came`` are the commits since it was seen, newest first.

    None where the branch was moved to what does not follow from there: what was on it before is awaited no more.
    """
    fresh = (tip,) if came is None else tuple(came)
    before = () if came is None else watch.awaited
    return evolve(watch, tip=tip, moves=watch.moves + 1, awaited=tuple(dict.fromkeys((*fresh, *before)))[:AWAITED])


def told(watch: BranchWatch, commit: str) -> BranchWatch:
    """Return a watch that has told of a commit's binary."""
    return evolve(watch, awaited=tuple(one for one in watch.awaited if one != commit))


def mail_of(watch: BranchWatch, artifact: Artifact, life: str, now: float) -> Mail:
    """Return the mail that tells of a binary: one of each commit, whatever happens meanwhile; ``now`` is wall time."""
    key = f"{life}:{watch.topic}:{watch.made!r}:{artifact.shelf.revision}"
    about = f"{watch.topic} {watch.ref}"
    return Mail(key, watch.email, artifact.build_id, (), RequestState.SATISFIED, now, asker=watch.address, about=about)


def read_digest(text: str, zones: Zones) -> str:
    """Return when a digest goes out, such as ``Mon-Fri 07:00 Europe/Berlin``, in full; "" for a mail each.

    Raises UsageError.
    """
    if not text:
        return ""
    try:
        return read_daily(_USUAL.get(text, text), zones).text
    except UsageError as error:
        raise UsageError(
            f"--digest {quoted(text)}: say daily, weekly, or a time such as 07:00 Europe/Berlin or "
            f"Mon 07:00 Europe/Berlin ({error})"
        ) from error


def digest_time(text: str, zones: Zones, now: float) -> float | None:
    """Return when what comes ``now`` is told, in seconds of wall time; None for at once."""
    return _daily(text, zones).following(now) if text else None


def _daily(text: str, zones: Zones) -> Daily:
    """Return the times of a digest; where this machine forgot the zone, those of UTC."""
    try:
        return read_daily(text, zones)
    except UsageError:
        return read_daily(text, _utc)


def _utc(_name: str) -> tzinfo:
    return UTC
