"""Keys in a running metaserver: its authority, who is known, and the TLS that its ports speak.

Tested by tests/e2e/test_identities.py.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from attrs import define
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from buildtool.adapters.control.gateway import Identify, anybody
from buildtool.adapters.tls.authority import Authority
from buildtool.adapters.tls.contexts import ServerTls
from buildtool.adapters.tls.peers import KeyHolders
from buildtool.adapters.tls.signer import FarmSigner
from buildtool.concurrency.periodic import PeriodicTask
from buildtool.configuration.current import CurrentConfiguration
from buildtool.metaserver.accounts import AccountService, open_accounts
from buildtool.model.access.identities import Identity
from buildtool.model.principal import PrincipalRole
from buildtool.ports.common import Clock
from buildtool.ports.metaserver import BrokerStore, Handlers

log = Logger()

DIRECTORY = "tls"
"""Where keys and certificates lie in the state directory."""

DAY = 86_400.0
REJOIN_WITHIN = 400 * DAY

LOOK_EVERY = 3_600.0
"""Seconds between two looks whether the metaserver's certificate is to be renewed, at most."""


@define(eq=False)
class FarmIdentities:
    """The authority of a farm, its accounts, and the TLS of its ports. Made by ``open_identities``."""

    configuration: CurrentConfiguration
    clock: Clock
    timers: IReactorTime
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

    @property
    def keys(self) -> Handlers:
        """What a peer that joins or renews may ask."""
        codes = self.accounts.codes.handlers if self.accounts.codes is not None else {}
        return {**self.accounts.joining, **self.accounts.keeping, **codes}

    async def look(self, _task: PeriodicTask) -> float:
        """Renew the metaserver's certificate where it is time; return in how many seconds to look again."""
        now = self.clock.wall()
        shown = self.authority.server(self.configuration.settings.hosts, now)
        if shown.certificate != self.tls.identity.certificate:
            self.tls.take(shown, self.authority.chain(now), self.authority.believed)
            log.info("the metaserver has a new certificate; connections that there are go on")
        return max(1.0, min(LOOK_EVERY, shown.renew_at() - now))


async def open_identities(
    configuration: CurrentConfiguration, store: BrokerStore, life: str, clock: Clock, timers: IReactorTime,
    ended: Callable[[str, str], None],
) -> FarmIdentities:  # fmt: skip
    """Return the identities of a farm whose metaserver's incarnation is ``life``.

    ``ended`` is called with a key that was revoked, and why.
    Raises ConfigurationError, StorageUnavailable.
    """
    settings, now = configuration.settings, clock.wall()
    authority = Authority.load(settings.state_dir / DIRECTORY, now)
    tls = ServerTls(authority.server(settings.hosts, now), authority.chain(now), authority.believed)
    accounts = await open_accounts(
        AccountService(
            store,
            clock,
            FarmSigner(authority),
            life,
            lambda: [(configuration.settings.host, configuration.settings.pb_port)],
            ended,
            REJOIN_WITHIN,
            lambda: secrets.token_urlsafe(24),
        )
    )
    return FarmIdentities(configuration, clock, timers, authority, tls, accounts)


def identify_by(found: FarmIdentities | None, clock: Clock) -> Identify:
    """Return what says who is there: by their key, or whatever they say where all are trusted."""
    if found is None:
        return anybody

    async def known(key: str) -> Identity:
        return await found.accounts.known(key)

    return KeyHolders(known, clock)


def offered(
    found: FarmIdentities | None,
) -> tuple[Handlers, Handlers, Callable[[str], str], Callable[[str], Identity | None]]:
    """Return what is answered about one's own key, what to operators about keys, who owns a machine, whose is a key.

    Without keys that is nothing.
    """
    if found is None:
        return {}, {}, lambda _server: "", lambda _key: None
    return found.keys, found.accounts.operating, found.owner_of, found.holder
