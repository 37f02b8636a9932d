"""From events to topics, by which a page knows what of it may have changed: ``farm``, ``builds``, ``build/15``.

Pure. A topic about one build is told to those only who may see that build; the others are about figures and lists of
which everybody is shown their part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from attrs import field, frozen

from buildtool.model.options import Canonical
from buildtool.ports.pages import ConcernedBuild
from buildtool.protocol.news import EventNote

FARM, BUILDS, QUEUE, MACHINES = "farm", "builds", "queue", "machines"
"""The figures of the farm, the lists of builds, who waits for what, and the build servers."""

ALL_BUILDS = "build/*"
"""Every page of a build: so many have changed that they are not named."""

NAMED_MOST = 100
"""So many builds of one change are named."""

_LISTS = frozenset((FARM, BUILDS, QUEUE, MACHINES))
_OF_SERVER = frozenset((FARM, MACHINES, QUEUE))
_OTHERWISE = frozenset((FARM, QUEUE))

Sees = Callable[[str, Canonical], bool]
"""Returns whether a visitor may see builds of a project for a platform."""


@frozen
class Subjects:
    """The subjects of a batch of events: the ids of builds, requests and artifacts, and other topics at once."""

    builds: frozenset[int] = frozenset()
    requests: frozenset[int] = frozenset()
    artifacts: frozenset[int] = frozenset()
    others: frozenset[str] = frozenset()

    @property
    def many(self) -> bool:
        """Whether there are so many that they are not named."""
        return len(self.builds) + len(self.requests) + len(self.artifacts) > NAMED_MOST


def subjects_of(notes: Iterable[EventNote]) -> Subjects:
    """Return what events are about."""
    builds, requests, artifacts, others = set[int](), set[int](), set[int](), set[str]()
    numbered = {"build": builds, "request": requests, "artifact": artifacts, "attempt": builds}
    for note in notes:
        kind, _, name = note.subject.partition("/")
        number = name.partition(".")[0] if kind == "attempt" else name
        if kind in numbered and number.isascii() and number.isdecimal() and len(number) < 19:  # noqa: PLR2004 - of an id
            numbered[kind].add(int(number))
            others |= _LISTS
        elif kind == "server" and name:
            others |= {machine_topic(name), *_OF_SERVER}
        else:
            others |= _OTHERWISE
    return Subjects(frozenset(builds), frozenset(requests), frozenset(artifacts), frozenset(others))


def build_topic(build_id: int) -> str:
    """Return the topic of a build's page."""
    return f"build/{build_id}"


def machine_topic(name: str) -> str:
    """Return the topic of a build server; what names may not have in them is left out."""
    return "machine/" + "".join(char for char in name if char.isalnum() or char in "._-")


def log_topic(build_id: int) -> str:
    """Return the topic of a log that grows."""
    return f"log/{build_id}"


@frozen
class OwnTopic:
    """A topic about one build, and what says who may see that."""

    topic: str
    project: str
    platform: Canonical


@frozen
class PageChange:
    """A change up to the event ``seq``: topics for every visitor, and those about single builds.

    A ``reset`` is that everything may have.
    """

    seq: int
    topics: frozenset[str] = frozenset()
    own: tuple[OwnTopic, ...] = ()
    reset: bool = False
    text: str = field(init=False, eq=False, repr=False)
    """All topics, for whom everything may be seen."""

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "text", " ".join(sorted(self.topics | {one.topic for one in self.own})))

    def text_for(self, sees: Sees) -> str:
        """Return the topics that a visitor may hear of; empty where there are none."""
        seen = {one.topic for one in self.own if sees(one.project, one.platform)}
        return " ".join(sorted(self.topics | seen))


def change_of(seq: int, subjects: Subjects, concerned: Sequence[ConcernedBuild]) -> PageChange:
    """Return the change that a batch makes; ``concerned`` are the builds that its subjects are about."""
    if subjects.many:
        return PageChange(seq, subjects.others | {ALL_BUILDS})
    servers = frozenset(machine_topic(one.server) for one in concerned if one.server)
    own = {one.build_id: OwnTopic(build_topic(one.build_id), one.project, one.platform) for one in concerned}
    return PageChange(seq, subjects.others | servers, tuple(own.values()))


def merged(changes: Sequence[PageChange]) -> PageChange:
    """Return several changes, one after the other, as one."""
    topics = frozenset[str]().union(*(one.topics for one in changes))
    own = {one.topic: one for change in changes for one in change.own}
    if len(own) > NAMED_MOST:
        topics, own = topics | {ALL_BUILDS}, {}
    return PageChange(changes[-1].seq, topics, tuple(own.values()), any(one.reset for one in changes))
