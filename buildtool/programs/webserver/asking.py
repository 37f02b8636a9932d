"""Which metaserver the pages ask: the one of the state directory over its socket, or with a key over its control port.

Tested by tests/e2e/test_rights.py.
"""

from __future__ import annotations

import argparse
import json

from twisted.internet.base import ReactorBase
from twisted.internet.interfaces import IReactorTime, IReactorUNIX

from buildtool.adapters.control.events.feed import MetaserverEvents
from buildtool.adapters.control.operator_endpoint import ControlSocket
from buildtool.adapters.control.page_questions import MetaserverQuestions
from buildtool.configuration.settings import Settings
from buildtool.errors import Unauthorised, UsageError
from buildtool.model.access.join_line import JoinLine
from buildtool.model.access.metaserver_addresses import MetaserverAddress, addresses_meant
from buildtool.model.principal import PrincipalRole
from buildtool.programs.common.ending import EXIT_OK
from buildtool.programs.common.joining import FarmEndpoint, farm_at, join, store_for
from buildtool.programs.common.output import say, say_line
from buildtool.programs.common.reaching import reach

PAGES = PrincipalRole.PAGES.value


def addresses_said(said: argparse.Namespace, settings: Settings) -> tuple[MetaserverAddress, ...]:
    """Return where the metaserver is that the pages are to ask over its control port; empty where that was not said.

    Raises UsageError for what contradicts itself. ``--port`` is the pages' own.
    """
    if not said.host and not said.use_tls:
        return ()
    return addresses_meant(said.host or (), 0, settings.addresses, use_tls=said.use_tls)


async def questions_to(
    reactor: ReactorBase, settings: Settings, addresses: tuple[MetaserverAddress, ...]
) -> tuple[MetaserverQuestions, MetaserverEvents, FarmEndpoint | None]:
    """Return what asks the metaserver, what hears of events there, and the key that they do so with, if they do.

    That is at ``addresses``, else at those of the configuration where this account joined as pages, else over the
    socket. Raises UsageError where this account has no key to ask with, ConfigurationError.
    """
    timers, wanted = IReactorTime(reactor), addresses or settings.addresses
    farm = await farm_at(reactor, {(one.host, one.port) for one in wanted})
    if farm is not None and farm.own.role != PAGES:
        if addresses:
            raise UsageError(f"--host: the key of {farm.own.name} there is a {farm.own.role}'s, not {PAGES}': {_how()}")
        farm = None
    if farm is None and not any(one.certificate for one in addresses):
        if addresses:
            where = " or ".join(one.where for one in addresses)
            raise UsageError(f"--host: this account has no key to ask the metaserver at {where} with: {_how()}")
        socket, where = ControlSocket(IReactorUNIX(reactor), settings.state_dir), str(settings.state_dir)
        return MetaserverQuestions(socket, where, timers), MetaserverEvents(socket, where, timers), None
    there = reach(reactor, wanted, farm)
    events = MetaserverEvents(reach(reactor, wanted, farm).ways, there.where, timers)
    return MetaserverQuestions(there.ways, there.where, timers), events, farm


def _how() -> str:
    return f"say join LINE first, with a line of `bin/metaserver invite NAME --role {PAGES}`"


async def joined(line: JoinLine, wants_json: bool, reactor: ReactorBase, _stop: object) -> int:  # noqa: FBT001 - partial
    """Join a farm as its pages, and print as who. Raises UsageError, Unauthorised, and what ``join`` does."""
    store = store_for(line.addresses[0])
    before = store.load()
    if before is not None and before.role != PAGES:
        raise UsageError(f"this account has a key there already, as {before.name} ({before.role}): use another account")
    own = await join(reactor, line, store, [PrincipalRole.PAGES])
    if own.role != PAGES:
        raise Unauthorised(f"that line was for a {own.role}, and the key in {store.directory} is one: {_how()}")
    told = {"name": own.name, "role": own.role, "metaserver": line.where, "key": str(store.directory)}
    words = f"joined {line.where} as {own.name}; the key is in {store.directory}, and pages ask with it from now on"
    say(json.dumps(told)) if wants_json else say_line(words)
    return EXIT_OK
