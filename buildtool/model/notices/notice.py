"""Notices: how a build of a commit stands, for a forge, a webhook or a channel that wants to know.

A notice has a *destination key*: a commit and what of it is built, or a ref and what of it is built. What is kept for a
key is how it stands now, so of several changes that wait only the newest is told, and never an older one after it.

The test is tests/model/notices/test_notice.py.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from attrs import frozen

from buildtool.model.names import is_commit_id
from buildtool.model.options import Canonical, written
from buildtool.model.text import one_line
from buildtool.model.triggers.trigger import TRIGGER

if TYPE_CHECKING:  # programs that read a configuration and know no records start faster so
    from buildtool.model.records import Request

CONTEXT_LIMIT = 200
"""The longest context in characters; GitLab takes 255, and a target's own prefix has its share."""

REASON_LIMIT = 300
"""The longest reason of a notice, in characters. Where less is taken it is cut again."""


class NoticeState(enum.Enum):
    """The state of a build of a commit, for others."""

    WAITING = "waiting"
    BUILDING = "building"
    SUCCESS = "success"
    FAILURE = "failure"
    ERROR = "error"

    @property
    def ended(self) -> bool:
        """Whether it stays so."""
        return self not in (NoticeState.WAITING, NoticeState.BUILDING)


@frozen
class NoticeRule:
    """A rule of what one target of a project is told.

    ``target`` is its name on the farm. With ``by_ref`` its keys are refs, and else commits, of which only full ids of
    git are told. ``states`` are those it is told of. With ``everything`` it is told of all builds, and else of those
    that triggers ask for; always only of ``source``. ``prefix`` is what contexts begin with, and ``defaults`` are the
    project's compile options that need not be named.
    """

    target: str
    states: frozenset[NoticeState]
    by_ref: bool = False
    everything: bool = False
    source: str = ""
    prefix: str = "buildtool"
    defaults: Canonical = ()

    def wants(self, request: Request) -> bool:
        """Return whether it is told of what comes of a Request."""
        spec = request.demand.spec
        told = self.everything or request.share.startswith(TRIGGER)
        named = self.by_ref or is_commit_id(spec.revision)
        return told and named and not request.held and spec.source == self.source

    def notice(self, request: Request, state: NoticeState, now: float) -> Notice:
        """Return what it is told of a Request at ``now``, in seconds of wall time."""
        spec, ref = request.demand.spec, request.demand.ref
        context = context_of(self.prefix, spec.platform, spec.options, self.defaults)
        key = f"{ref if self.by_ref else spec.revision} {context}"
        reason = one_line(request.reason, REASON_LIMIT) or _USUAL[state]
        if state is NoticeState.SUCCESS:
            reason = "it was built before" if request.answer == "hit" else "built"
        return Notice(
            self.target,
            key,
            spec.project,
            spec.revision,
            ref,
            context,
            request.id,
            request.build_id,
            state,
            reason,
            now,
        )


_USUAL: Mapping[NoticeState, str] = {
    NoticeState.WAITING: "waits for a build server",
    NoticeState.BUILDING: "is being built",
    NoticeState.SUCCESS: "built",
    NoticeState.FAILURE: "it does not build",
    NoticeState.ERROR: "it was not built",
}
"""What is said of a state that has no reason of its own."""


@frozen
class Notice:
    """A text for one target about one destination ``key``: how that stands since ``at`` (wall time in seconds).

    ``request_id`` is the Request that it is about: of a key the newest one counts, whatever becomes of older ones.
    """

    target: str
    key: str
    project: str
    revision: str
    ref: str
    context: str
    request_id: int
    build_id: int | None
    state: NoticeState
    reason: str
    at: float


_DERIVED = ("bits", "byteorder")
"""Properties that follow from the arch, which a context need not name."""


def context_of(prefix: str, platform: Canonical, options: Canonical, defaults: Canonical) -> str:
    """Return the name of what is built of a commit: ``buildtool/linux-x86_64 jit=yes``.

    It is the same for the same platform and options, whatever the commit. One that is too long ends in a digest.
    """
    said, usual = dict(platform), dict(defaults)
    place = "-".join(str(said.pop(name)) for name in ("os", "arch") if name in said) or "any"
    if "arch" in dict(platform):
        for name in _DERIVED:
            said.pop(name, None)
    named = [*said.items(), *((name, value) for name, value in options if usual.get(name) != value)]
    words = " ".join((f"{prefix}/{place}", *(f"{name}={written(value)}" for name, value in named)))
    line = one_line(words, len(words))
    if len(line) <= CONTEXT_LIMIT:
        return line
    digest = hashlib.sha256(line.encode()).hexdigest()[:8]
    return f"{line[: CONTEXT_LIMIT - 9]}~{digest}"
