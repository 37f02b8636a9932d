"""Who visits over HTTP, and what they may see there: for the pages and for the transfer port.

Tested by tests/programs/common/test_visitors.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from attrs import define
from twisted.web.server import Request

from buildtool.adapters.http.routes import IncomingRequest
from buildtool.adapters.tls.peers import peer_key
from buildtool.concurrency.bounded_cache import BoundedCache
from buildtool.configuration.key_settings import Trusted
from buildtool.configuration.settings import Settings
from buildtool.errors import Unauthorised
from buildtool.model.access.identities import Identity, KeyState
from buildtool.model.access.proxies import FORWARDED_FOR
from buildtool.model.access.rights import Act, Subject, platform_names
from buildtool.model.access.visitors import Headers, header_texts, holder_of, is_of_this_machine, visitor
from buildtool.model.addresses import network_of
from buildtool.model.farm.deployment import NO_PLACE, Deployment, ProjectPlace
from buildtool.model.keeping.gone import GoneKind
from buildtool.model.matching.acceptance import refusal
from buildtool.model.options import Canonical
from buildtool.model.principal import Principal
from buildtool.model.project_options import ProjectOptions
from buildtool.model.trust.evidence import ANYTHING, EvidencePolicy
from buildtool.ports.common import Clock
from buildtool.ports.keeping import KeptRows
from buildtool.ports.metaserver import BrokerStore

OWNERS_KEPT = 256 * 1024
"""In how many bytes it is remembered of which project and platform a build is."""


def nobody_known(_key: str) -> Identity | None:
    """Return that no key is known."""
    return None


@define(eq=False)
class HttpVisitors:
    """The ``web.access.Access``. ``known`` returns whose key it is, as far as that is known without asking anybody."""

    settings: Callable[[], Settings]
    clock: Clock
    known: Callable[[str], Identity | None] = nobody_known

    def principal(self, transport: object, headers: Headers) -> Principal:
        """Return who sends a request over a transport. Raises Unauthorised where a proxy says what cannot be."""
        peer = getattr(transport, "getPeer", lambda: None)()
        connected = getattr(peer, "host", "")
        asks = self.settings().proxies.client(connected, headers(FORWARDED_FOR))
        nobody = visitor(network_of(asks), trusted=False)
        shown = peer_key(transport)
        identity = self.known(shown.key) if shown is not None and shown.expires > self.clock.wall() else None
        if identity is not None and identity.state is KeyState.ACTIVE:
            return holder_of(identity, nobody)
        told = self.settings().front.identity
        if told.header and self.settings().proxies.includes(connected) and (email := told.said(headers(told.header))):
            return told.principal(email, nobody)
        return visitor(nobody.address, trusted=self._trusts(connected, headers))

    def visitor(self, request: Request) -> Principal:
        """Return who asks for a page."""

        def headers(name: str) -> Sequence[str]:
            return header_texts(request.requestHeaders.getRawHeaders(name.encode(), []))

        return self.principal(request.channel.transport if request.channel is not None else None, headers)

    def check_role(self, by: Principal, act: Act) -> None:
        """Raise Unauthorised where a visitor may not do an act at all."""
        self.settings().rights.check_role(by, act)

    def sees(self, by: Principal, project: str, act: Act, platform: Canonical | None = None) -> bool:
        """Return whether a visitor may do an act to what is of a project."""
        settings = self.settings()
        subject = Subject(project=project, platforms=None if platform is None else platform_names(platform))
        return settings.sees(by, project) and settings.rights.allows(by, act, subject)

    def offered(self, by: Principal) -> Collection[str]:
        """Return the names of the projects that a visitor may choose from."""
        return [one.name for one in self.settings().projects if self.sees(by, one.name, Act.SEE_BUILD)]

    def projects(self, by: Principal) -> Collection[str] | None:
        """Return the names of the projects whose builds a visitor may see; None for all that there are or were."""
        return None if self.sees_all(by, Act.SEE_BUILD) else self.offered(by)

    def defaults(self) -> Mapping[str, Canonical]:
        """Return the default options of each project that is configured."""
        return {project.name: project.options.defaults for project in self.settings().projects}

    def deployment(self) -> Deployment:
        """Return what the farm says of itself."""
        return self.settings().deployment

    def place(self, project: str) -> ProjectPlace:
        """Return what a project says of itself, of which nothing is known where it is not configured."""
        return next((one.place for one in self.settings().projects if one.name == project), NO_PLACE)

    def options(self, project: str) -> ProjectOptions | None:
        """Return the options of a project that is configured, None for any other."""
        return next((one.options for one in self.settings().projects if one.name == project), None)

    def sees_all(self, by: Principal, act: Act) -> bool:
        """Return whether a visitor may do an act to whatever there is or was, of any project and platform."""
        settings = self.settings()
        unlimited = by.limits.everywhere and not settings.rights.has_rules(by.role, act)
        return unlimited and settings.sees(by, "") and settings.rights.allows(by, act)

    def _trusts(self, address: str, headers: Headers) -> bool:
        settings = self.settings()
        if settings.needs_keys:
            return False
        return settings.trusted is Trusted.EVERYBODY or is_of_this_machine(address, headers, settings.hosts)


class KeptThings(Protocol):
    """The upkeep of what is kept: what is known of it, and what it has to know."""

    @property
    def rows(self) -> KeptRows:
        """What the database knows."""

    def given_out(self, digest: str) -> None:
        """Take in that an artifact is given out."""


@define(eq=False)
class TransferReads:
    """The ``Reads`` of the transfer port: what visitors may fetch, by the project that it is of."""

    visitors: HttpVisitors
    store: BrokerStore
    _builds: BoundedCache[int, tuple[str, Canonical]]
    kept: KeptThings | None = None

    async def log(self, request: IncomingRequest, build_id: int) -> bool:
        """Return whether who sends a request may see the logs of a build. Raises StorageUnavailable."""
        by = self._by(request)
        if self.visitors.sees_all(by, Act.SEE_LOG):
            return True
        found = self._builds.get(build_id)
        if found is None:
            build = await self.store.build(build_id)
            if build is None:
                return False
            found = build.spec.project, build.spec.platform
            self._builds.put(build_id, found, 200)
        return self.visitors.sees(by, found[0], Act.SEE_LOG, found[1])

    async def artifact(self, request: IncomingRequest, digest: str) -> bool:
        """Return whether who sends a request may fetch these bytes. Raises StorageUnavailable."""
        by = self._by(request)
        if self.visitors.sees_all(by, Act.SEE_ARTIFACT):
            return True
        made = await self.store.artifacts_of(digest)
        return any(self.visitors.sees(by, one.shelf.project, Act.SEE_ARTIFACT, one.platform) for one in made)

    async def unmet(self, request: IncomingRequest, digest: str, policy: EvidencePolicy) -> str:
        """Return in a line why what they may fetch with these bytes does not do; empty where it does.

        Raises StorageUnavailable.
        """
        if policy == ANYTHING:
            return ""
        by, made = self._by(request), await self.store.artifacts_of(digest)
        seen = [one for one in made if self.visitors.sees(by, one.shelf.project, Act.SEE_ARTIFACT, one.platform)]
        return refusal((one.evidence for one in seen if not one.withdrawn), policy)

    async def log_gone(self, build_id: int) -> str:
        """Return that the logs of a build have expired, and why. Raises StorageUnavailable."""
        found = await self.kept.rows.tombstone(GoneKind.LOG, build_id) if self.kept is not None else None
        return "" if found is None else found.words

    async def artifact_gone(self, digest: str) -> str:
        """Return that an artifact has expired, and why. Raises StorageUnavailable."""
        return await self.kept.rows.artifact_gone(digest) if self.kept is not None else ""

    def given_out(self, digest: str) -> None:
        """Take in that an artifact is given out."""
        if self.kept is not None:
            self.kept.given_out(digest)

    def public(self) -> bool:
        """Return whether whatever is fetched may be kept for others on its way: a visitor without a key may have it."""
        settings, nobody, act = self.visitors.settings(), visitor("", trusted=False), Act.SEE_ARTIFACT
        return not settings.rights.has_rules(nobody.role, act) and all(
            self.visitors.sees(nobody, one.name, act) for one in settings.projects
        )

    def _by(self, request: IncomingRequest) -> Principal:
        try:
            return self.visitors.principal(request.peer(), request.headers_named)
        except Unauthorised:
            return visitor("", trusted=False)


def transfer_reads(
    visitors: HttpVisitors,
    store: BrokerStore,
    kept: KeptThings | None = None,
) -> TransferReads:
    """Return what may be fetched from the transfer port."""
    return TransferReads(visitors, store, BoundedCache(OWNERS_KEPT), kept)
