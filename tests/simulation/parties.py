"""Machines and people who are known by a key: they join with one line, are cut off, renew, lose keys, come again."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from attrs import define, field
from twisted.internet.interfaces import IStreamClientEndpoint

from buildtool.adapters.control.client import greet
from buildtool.adapters.tls.credentials import CredentialStore, OwnIdentity
from buildtool.errors import BuildToolError, ConfigurationError, Unauthorised
from buildtool.model.access.identities import token_digest
from buildtool.model.access.join_line import read_join_line
from buildtool.model.principal import PrincipalRole
from buildtool.protocol.enrolment import Credentials, Join, Renew
from tests.simulation.clock import Life
from tests.simulation.keys import Certificate, Key
from tests.simulation.machine import Machine

if TYPE_CHECKING:
    from tests.simulation.world import World

LOOK = 60.0
"""Seconds between two looks whether there is anything to do about a certificate."""


@define(eq=False)
class Party:
    """Who is invited under a name. Its key and certificate lie on the disk of ``machine``, and its line in the mail."""

    world: World
    name: str
    role: PrincipalRole
    owner: str
    machine: Machine
    line: str = ""
    own: OwnIdentity | None = None
    joined: int = 0
    drawn: float = field(init=False)
    """What the program has drawn by which it renews sooner than others that joined at the same time."""

    def __attrs_post_init__(self) -> None:
        self.drawn = Random(self.name).random()  # of its own: what else happens in a world stays what it was

    @property
    def store(self) -> CredentialStore:
        return CredentialStore(self.machine.directory / "identity", self.machine.disk)

    @property
    def certificate(self) -> Certificate | None:
        """What it shows when it connects."""
        return None if self.own is None else self.own.identified.certificate  # type: ignore[return-value] # one of ours

    def endpoint(self, life: Life) -> IStreamClientEndpoint:
        """Return the way to the metaserver; each connection shows the certificate that there is by then."""
        return self.world.network.endpoint(life, self.name, "meta", lambda: self.certificate)

    async def ready(self, life: Life) -> None:
        """Wait until there is a certificate that holds, by this side's clock: join, or renew it, if need be."""
        while True:
            try:
                if self.own is None:
                    self.own = await self._on_disk(life, self.store.load)
                if self.own is None:
                    await self._join(life)
                elif self.own.identified.renew_at(self.drawn) <= self.world.clock_of_others():
                    await self.renew(life)
                if self.own is not None:
                    return
            except ConfigurationError as error:
                self.world.watch.wrong(f"{self.name} has lost its key: {error}")
                return
            except BuildToolError as error:
                self.world.trace.say(self.name, f"is not in: {error.code}")
            await life.pause(self.world.key_rng.uniform(1.0, 20.0))

    async def keep(self, life: Life, connected: Any) -> None:
        """Look again and again, as long as a program runs that is ``connected`` or not, whether all is well."""
        out = 0
        while True:
            await life.pause(LOOK)
            out = 0 if connected() else out + 1
            if out > 1 and self.own is not None:
                await self.turned_away(life)
            await self.ready(life)

    async def turned_away(self, life: Life) -> None:
        """Find out why nobody lets it in: by the metaserver's clock its certificate may have expired."""
        try:
            await self.renew(life)
        except BuildToolError as error:
            self.world.trace.say(self.name, f"does not renew: {error.code}")

    async def _join(self, life: Life) -> None:
        world = self.world
        if not self.line:
            world.office.wants(self)
            return
        token = read_join_line(self.line).token
        key: Any = await self._on_disk(life, self.store.key)
        world.tempt(self.name)
        session = await greet(world.network.endpoint(life, self.name, "meta"), "meta:1", "joining", life)
        try:
            told = await session.ask(Join(token, key.request), Credentials)
        except Unauthorised as error:
            world.trace.say(self.name, f"does not join: {error}")
            world.trust.line_refused(self.name, token_digest(token), key, str(error))
            self.line = ""
            await self.forget(life)
            return
        finally:
            session.close()
        world.tempt(self.name)
        world.trust.received(self.name, key, told.certificate)
        self.own = await self._on_disk(life, partial(self.store.keep, told, (("meta", 1),)))
        self.joined += 1
        world.trace.say(self.name, f"has joined with key {key.id[:8]}")

    async def renew(self, life: Life) -> None:
        """Get the next certificate; a key that is refused for good is thrown away."""
        world, own = self.world, self.own
        if own is None:
            return
        session, key = None, Key(own.identified.certificate.public)  # type: ignore[attr-defined] # one of ours
        try:
            session = await greet(self.endpoint(life), "meta:1", "renewing", life)
            told = await session.ask(Renew(), Credentials)
        except Unauthorised as error:
            if self.own is own:
                await self._refused(life, key, error)
            return
        finally:
            if session is not None:
                session.close()
        if self.own is not own:
            return  # it was thrown away meanwhile
        world.trust.received(self.name, key, told.certificate)
        self.own = await self._on_disk(life, partial(self.store.keep, told, (("meta", 1),)))
        world.trace.say(self.name, "has its next certificate")

    async def _refused(self, life: Life, key: Key, why: Unauthorised) -> None:
        self.world.trace.say(self.name, f"has no use for its key any more: {why}")
        self.world.trust.key_refused(self.name, key, str(why))
        self.line = ""
        await self.forget(life)

    async def forget(self, life: Life) -> None:
        """Remove key and certificate, as somebody does who wants to join anew."""
        if self.own is not None:
            self.world.intruder_finds(self.own.identified.certificate)  # type: ignore[arg-type] # one of ours
        self.own = None
        await self._on_disk(life, self.wipe)

    def wipe(self) -> None:
        """Remove all that there is of a key."""
        place = self.store.directory
        try:
            names = [Path(name) for name in self.machine.disk.files(place)]
        except FileNotFoundError:
            return
        for name in names:
            self.machine.lose(name)

    async def _on_disk(self, life: Life, act: Any) -> Any:
        return await self.machine.executor(life).run(act)
