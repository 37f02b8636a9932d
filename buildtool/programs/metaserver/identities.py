"""Keys in a running metaserver: its authority, who is known, and the TLS that its ports speak.

Tested by tests/e2e/test_identities.py.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import partial
from pathlib import Path

from attrs import define
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from buildtool.adapters.control.gateway import Identify, anybody
from buildtool.adapters.storage.filesystem import RealDisk
from buildtool.adapters.tls import burnt_file
from buildtool.adapters.tls.authority import KEYS, Authority, authority_files
from buildtool.adapters.tls.burnt_file import BurntFile
from buildtool.adapters.tls.confirmed_keys import ConfirmedKeys
from buildtool.adapters.tls.contexts import ServerTls
from buildtool.adapters.tls.peers import KeyHolders
from buildtool.adapters.tls.signer import FarmSigner
from buildtool.concurrency.periodic import PeriodicTask
from buildtool.configuration.current import CurrentConfiguration
from buildtool.errors import ConfigurationError, UnknownProject
from buildtool.metaserver.accounts import AccountService, open_accounts
from buildtool.model.access.identities import Identity, KeyState
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.model.properties import nearest
from buildtool.model.records import AuditEvent
from buildtool.ports.common import Clock, Executor
from buildtool.ports.metaserver import BrokerStore, Handlers
from buildtool.programs.common.output import called
from buildtool.programs.metaserver.access.restoring import lost_authority
from buildtool.protocol.enrolment import InvitationLine, InviteOne, RotateAuthority
from buildtool.protocol.operator import ActionResult

log = Logger()

LOOK_EVERY = 3_600.0
"""Seconds between two looks whether the metaserver's certificate is to be renewed, at most."""


@define(eq=False)
class FarmIdentities:
    """The authority of a farm, its accounts, and the TLS of its ports. Made by ``open_identities``."""

    configuration: CurrentConfiguration
    clock: Clock
    timers: IReactorTime
    pool: Executor
    authority: Authority
    tls: ServerTls
    accounts: AccountService

    def owner_of(self, server: str) -> str:
        """Return the e-mail address of who owns a build server, or an empty text."""
        holder = self.accounts.book.holder(PrincipalRole.BUILD_SERVER, server)
        return holder.owner if holder is not None else ""

    def holder(self, key: str) -> Identity | None:
        """Return whose key it is, as far as that is known, confirmed and revoked ones too."""
        return self.accounts.book.keys.get(key)

    def fingerprint(self) -> str:
        """Return the fingerprint of the authority that signs now."""
        return self.accounts.signer.fingerprint

    @property
    def keys(self) -> Handlers:
        """What a peer that joins or renews may ask."""
        codes = self.accounts.codes.handlers if self.accounts.codes is not None else {}
        return {**self.accounts.joining, **self.accounts.keeping, **codes}

    @property
    def operating(self) -> Handlers:
        """What an operator may ask."""
        return {**self.accounts.operating, RotateAuthority: self._rotate, InviteOne: self._invite}

    async def _invite(self, by: Principal, message: InviteOne) -> InvitationLine:
        """Invite for projects that are configured. Raises UnknownProject, and what ``AccountService.invite`` does."""
        known = [one.name for one in self.configuration.settings.projects]
        for name in message.projects:
            if name not in known:
                raise UnknownProject(f"unknown project {name!r}{nearest(name, known)}")
        return await self.accounts.invite(by, message)

    async def _rotate(self, by: Principal, message: RotateAuthority) -> ActionResult:
        told = await self.accounts.rotate(by, message)
        await self.refresh()
        return told

    async def look(self, _task: PeriodicTask) -> float:
        """Renew the metaserver's certificate where it is time; return in how many seconds to look again."""
        return await self.refresh()

    async def refresh(self) -> float:
        """Show and believe from the next connection on what is right by now; return for how many seconds it will be.

        Raises ConfigurationError, StorageUnavailable.
        """
        now, settings = self.clock.wall(), self.configuration.settings
        serve = partial(self.authority.server, settings.hosts, now, settings.certificate_life)
        shown = await self.pool.run(serve)
        chain, believed = self.authority.chain(now), self.authority.believed(now)
        if shown.certificate != self.tls.identity.certificate:
            log.info("the metaserver has a new certificate; connections that there are go on")
        if (shown.certificate, chain, believed) != (self.tls.identity.certificate, self.tls.chain, self.tls.believed):
            self.tls.take(shown, chain, believed)
        return max(1.0, min(LOOK_EVERY, shown.renew_at() - now))


async def open_identities(
    configuration: CurrentConfiguration, store: BrokerStore, life: str, clock: Clock, timers: IReactorTime,
    pool: Executor, ended: Callable[[str, str], None],
) -> FarmIdentities:  # fmt: skip
    """Return the identities of a farm whose metaserver's incarnation is ``life``.

    ``pool`` runs what blocks; ``ended`` is called with a key that was revoked, and why.
    Raises ConfigurationError, StorageUnavailable.
    """
    settings, now = configuration.settings, clock.wall()
    place = settings.state_dir / KEYS
    confirmer = await _settled(place, store, life)
    authority = Authority.load(place, now)
    shown = authority.server(settings.hosts, now, settings.certificate_life)
    tls = ServerTls(shown, authority.chain(now), authority.believed(now))
    signer = FarmSigner(
        authority, pool,
        lambda: configuration.settings.certificate_life, lambda: configuration.settings.rejoin_within,
    )  # fmt: skip
    service = AccountService(
        store,
        clock,
        signer,
        life,
        lambda: configuration.settings.invited_to,
        ended,
        lambda: configuration.settings.rejoin_within,
        lambda: secrets.token_urlsafe(24),
        BurntFile(place / burnt_file.NAME, pool),
    )
    accounts = await open_accounts(service)
    if confirmer:
        await store.commit((), (AuditEvent("keys-confirmed", "farm", f"after a restore, by {confirmer}"),), now)
    ConfirmedKeys(place).settle(life)
    return FarmIdentities(configuration, clock, timers, pool, authority, tls, accounts)


async def _settled(place: Path, store: BrokerStore, life: str) -> str:
    """Return who has confirmed the keys of a database that was restored; empty where nobody had to.

    Raises ConfigurationError while somebody has to, or where the authority is missing that the keys' holders believe.
    """
    keys = [one for one in await store.accounts() if isinstance(one, Identity) and one.state is not KeyState.REVOKED]
    confirmed = ConfirmedKeys(place)
    confirmer = confirmed.pending()
    if not keys or confirmer:
        return confirmer
    if confirmed.life() == life:
        if not authority_files(place, RealDisk()):
            how = f"{called('metaserver')} restore --confirm-keys --new-authority"
            raise ConfigurationError(lost_authority(place, how))
        return ""
    raise ConfigurationError(
        f"{place.parent} was restored or copied, so which of its {len(keys)} keys were revoked since is not known, and "
        f"none is believed: say {called('metaserver')} restore --revocations FILE, with {KEYS}/{burnt_file.NAME} of "
        f"the directory before, or {called('metaserver')} restore to see the keys and confirm them"
    )


def identify_by(found: FarmIdentities | None, clock: Clock) -> Identify:
    """Return what says who is there: by their key, or whatever they say where all are trusted."""
    if found is None:
        return anybody

    return KeyHolders(found.accounts.known, clock)


def authority_of(found: FarmIdentities | None) -> Callable[[], str]:
    """Return what tells the fingerprint of the farm's authority; empty where all are trusted."""
    return (lambda: "") if found is None else found.fingerprint


def offered(
    found: FarmIdentities | None,
) -> tuple[Handlers, Handlers, Callable[[str], str], Callable[[str], Identity | None]]:
    """Return what is answered about one's own key, what to operators about keys, who owns a machine, whose is a key.

    Without keys that is nothing.
    """
    if found is None:
        return {}, {}, lambda _server: "", lambda _key: None
    return found.keys, found.operating, found.owner_of, found.holder
