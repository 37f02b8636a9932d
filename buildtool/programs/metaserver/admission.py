"""How much everybody may have of a running metaserver, codes by mail, tokens, and who may ask what.

Tested by tests/e2e/test_limits.py and tests/e2e/test_login.py.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable

from attrs import define
from twisted.internet.interfaces import IReactorTime

from buildtool.configuration.current import CurrentConfiguration
from buildtool.metaserver.access.admittance import Admittance
from buildtool.metaserver.access.described import ProjectDescriber
from buildtool.metaserver.access.mailed_codes import MailedCodes, open_codes
from buildtool.metaserver.access.tokens import TokenService, open_tokens, session_secret
from buildtool.metaserver.access.visiting import VisitorService
from buildtool.metaserver.authorised import authorised
from buildtool.metaserver.broker import Broker
from buildtool.metaserver.telling.subscriptions import Subscriptions
from buildtool.model.access.ceilings import Counted, Most
from buildtool.model.access.identities import Identity
from buildtool.model.access.proxies import Proxies
from buildtool.model.addresses import wide_network_of
from buildtool.model.incarnations import Keys
from buildtool.model.principal import Principal
from buildtool.ports.metaserver import Handlers, Notifier
from buildtool.programs.metaserver.identities import FarmIdentities
from buildtool.protocol.hooks.messages import DeliverHook
from buildtool.protocol.pages.visiting import LimitLeft
from buildtool.scheduling.allowances import Allowances, Counting


@define(eq=False)
class FarmCeilings:
    """The limits of a farm, as its ports ask about them. ``proxies`` returns the farm's own."""

    timers: IReactorTime
    allowances: Allowances
    proxies: Callable[[], Proxies]

    def connections(self) -> Most:
        """Return how many connections one key, one address and one network may have."""
        return self.allowances.ceilings.connections

    def handshake(self, network: str) -> None:
        """Count a handshake that begins, by the network of its peer, unless that is a proxy. Raises LimitReached."""
        if self.proxies().stands_behind(network):
            return
        wide = wide_network_of(network)
        whom = Counting(address=network if wide else "", network=wide)
        self.allowances.spend(Counted.HANDSHAKES, whom, self.timers.seconds())


async def admit(
    configuration: CurrentConfiguration, broker: Broker, keys: Keys, mailer: Notifier, ceilings: FarmCeilings,
    identities: FarmIdentities | None, subscriptions: Subscriptions,
) -> Admittance:  # fmt: skip
    """Return what is taken of whom; where keys say who is there, codes by mail give keys. Raises StorageUnavailable."""
    if identities is None:
        return Admittance(broker, ceilings.allowances)
    codes = identities.accounts.codes = await open_codes(
        MailedCodes(
            configuration,
            broker.store,
            broker.clock,
            ceilings.timers.seconds,
            mailer,
            ceilings.allowances,
            keys.codes(keys.incarnations.current),
            keys.incarnations.current,
            wanted_by=subscriptions.wants_codes,
        )
    )
    return Admittance(broker, ceilings.allowances, codes)


async def tokens_of(
    configuration: CurrentConfiguration, broker: Broker, keys: Keys, codes: MailedCodes | None,
    known: Callable[[str], Identity | None],
) -> TokenService:  # fmt: skip
    """Return the tokens and sessions of this life of the metaserver. Raises StorageUnavailable."""
    life = keys.incarnations.current
    return await open_tokens(
        TokenService(
            configuration, broker.store, broker.clock, life, session_secret(keys.codes(life)),
            lambda: secrets.token_urlsafe(24), known, codes,
        )
    )  # fmt: skip


async def answering(
    configuration: CurrentConfiguration,
    opening: Awaitable[TokenService],
    accounts: Handlers,
    people: Handlers,
    *others: Handlers,
    left: Callable[[Principal], tuple[LimitLeft, ...]],
) -> tuple[tuple[Handlers, ...], VisitorService]:
    """Return what people, build servers, peers about their keys, and pages may ask, by the table of rights.

    ``people`` has what takes deliveries too; ``accounts`` is what operators ask about keys, the last of ``others`` what
    peers ask about theirs; ``left`` returns what a caller has left of what is limited.
    """
    tokens = await opening
    hooks: Handlers = {DeliverHook: people[DeliverHook]}  # no person's, but only of pages
    people = {message: handler for message, handler in people.items() if message not in hooks}
    services = ({**people, **tokens.among(accounts)}, *others)
    behind = tuple(authorised(one, lambda: configuration.settings.rights) for one in services)
    visiting = VisitorService(configuration, behind[0], behind[-1], tokens, left, hooks)
    return (*behind, visiting.handlers), visiting


def described_to(configuration: CurrentConfiguration) -> Callable[[Principal], str]:
    """Return what returns the digest of the projects that a person may see."""
    return ProjectDescriber(configuration).digest
