"""What templates show: frozen values of words, links and figures, with nothing left to decide."""

from __future__ import annotations

from attrs import frozen

from buildtool.concurrency.bounded_cache import weight


@frozen
class Badge:
    """A state: its word, and its tone (``ok``, ``bad``, ``busy``, ``wait`` or ``quiet``) which gives the colour."""

    tone: str
    text: str


@frozen
class PageLink:
    """A link with its words; ``under`` is said beside it."""

    url: str
    text: str
    under: str = ""


@frozen
class Moment:
    """A point in time: ``iso`` for machines, ``full`` in UTC to the second, ``words`` as an age."""

    iso: str
    full: str
    words: str


@frozen
class Note:
    """One sentence that needs attention."""

    tone: str
    text: str
    link: PageLink | None = None


@frozen
class Tile:
    """One figure of the front page."""

    name: str
    figure: str
    under: str
    url: str = ""


@frozen
class Zip:
    """An artifact in a list."""

    url: str
    title: str
    size: str


@frozen(cache_hash=True)
class BuildRow:
    """One Build in a list; what was rendered of it is looked up at every visit."""

    id: int
    url: str
    badge: Badge
    project: str
    revision: str
    short: str
    platform: str
    server: str
    requests: str
    when: Moment
    took: str
    zip: Zip | None

    @property
    def weight(self) -> int:
        """About how many bytes it takes in memory."""
        zipped = weight((self.zip.url, self.zip.title, self.zip.size)) if self.zip is not None else 0
        texts = (self.url, self.project, self.revision, self.platform, self.server, self.requests)
        return 500 + weight(texts) + zipped


@frozen
class StatusPage:
    """The front page."""

    headline: str
    notes: tuple[Note, ...]
    tiles: tuple[Tile, ...]
    rows: tuple[BuildRow, ...]
    unseen: bool


@frozen
class BuildsPage:
    """One page of the list of builds; ``newest`` and ``older`` are empty where there is nowhere to go.

    ``unseen`` says that there may be builds which are not shown.
    """

    rows: tuple[BuildRow, ...]
    projects: tuple[str, ...]
    states: tuple[str, ...]
    project: str
    state: str
    filtered: bool
    nothing: str
    newest: str
    older: str
    unseen: bool = False


@frozen
class Presence:
    """The time since when a build server is there, or was last: ``before`` stands before the moment."""

    before: str
    when: Moment


@frozen
class OfferLine:
    """One platform that a build server builds for, and how."""

    platform: str
    kind: str


@frozen
class ServerCard:
    """One build server."""

    name: str
    anchor: str
    badge: Badge
    presence: Presence
    trouble: str
    tone: str
    load: str
    running: tuple[PageLink, ...]
    offers: tuple[OfferLine, ...]
    more_offers: str
    projects: str
    machine: tuple[tuple[str, str], ...]
    host_info: str
    admin: str
    software: str


@frozen
class ServersPage:
    """A page of the build servers; ``first`` and ``further`` are empty where there is nowhere to go."""

    headline: str
    servers: tuple[ServerCard, ...]
    first: str = ""
    further: str = ""


@frozen
class Fact:
    """One line of what a Build makes; ``code`` when it is an identifier and not words."""

    name: str
    text: str
    code: bool = False


@frozen
class ArtifactCard:
    """A Build's artifact. ``withdrawn`` says why it is no longer given out; then ``url`` and ``verify`` are empty."""

    name: str
    url: str
    size: str
    digest: str
    content_digest: str
    verify: str
    platform: str
    kind: str
    server: PageLink
    took: str
    built: Moment
    withdrawn: str


@frozen
class AttemptRow:
    """One Attempt in its table."""

    epoch: int
    badge: Badge
    server: PageLink
    platform: str
    kind: str
    offered: Moment
    took: str
    reason: str
    log: str
    deciding: bool


@frozen
class RequestRow:
    """One Request in its table; ``who`` is masked, ``trouble`` says why it or its mail failed."""

    id: int
    badge: Badge
    who: str
    ref: str
    joined: str
    when: Moment
    trouble: str


@frozen
class Stretch:
    """A part of a bar, in per cent of the whole width."""

    x: float
    width: float


@frozen
class Bar:
    """One Attempt on the timeline: heights in pixels; ``waiting`` is the time between the offer and its acceptance."""

    text: str
    tone: str
    text_y: int
    y: int
    waiting: Stretch | None
    building: Stretch


@frozen
class Timeline:
    """The Attempts of a Build along the time since it was asked for. ``label`` says in words what it shows."""

    height: int
    axis_y: int
    label: str
    end: str
    bars: tuple[Bar, ...]


@frozen
class WaitRow:
    """One reason for waiting, and the build servers that it holds for."""

    words: str
    servers: tuple[PageLink, ...]
    more: str


@frozen
class WaitCard:
    """The reasons why a Build waits, what the best machine lacks, its place, and when it may start."""

    rows: tuple[WaitRow, ...]
    notes: tuple[str, ...]


@frozen
class BuildPage:
    """All about one Build."""

    id: int
    url: str
    badge: Badge
    headline: str
    reason: str
    facts: tuple[Fact, ...]
    created: Moment
    artifact: ArtifactCard | None
    attempts: tuple[AttemptRow, ...]
    earlier: str
    unstarted: str
    waiting: WaitCard | None
    timeline: Timeline
    tail: str
    tail_log: str
    requests: tuple[RequestRow, ...]
    more_requests: str


@frozen
class ConfirmPage:
    """The page of a code: what it does, with the ``button`` that does it, or what came of it."""

    title: str
    text: str
    button: bool = False


@frozen
class ErrorPage:
    """An error, in one line."""

    title: str
    text: str
