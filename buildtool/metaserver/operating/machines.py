"""What operators do to build servers, and owners to their own: pause, drain, resume and forget them.

Tested by tests/metaserver/test_operations.py.
"""

from __future__ import annotations

from attrs import define

from buildtool.errors import NotFound, StillThere
from buildtool.metaserver.authorised import Permissions
from buildtool.metaserver.broker import Broker
from buildtool.metaserver.farm_status import shortened
from buildtool.model.access.rights import Act, Subject
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.model.servers import Server
from buildtool.model.text import duration_words, meant
from buildtool.ports.metaserver import Handlers
from buildtool.protocol import operator
from buildtool.scheduling import answers, events
from buildtool.scheduling.servers.names import busy_in

NAMES_SHOWN = 20
"""How many names a refusal lists."""


@define(eq=False)
class MachineService:
    """A service about build servers. Every method raises BuildToolError for what cannot be done."""

    broker: Broker
    permissions: Permissions

    @property
    def handlers(self) -> Handlers:
        """What may be asked for."""
        return {
            operator.PauseServer: self.pause,
            operator.DrainServer: self.drain,
            operator.ResumeServer: self.resume,
            operator.ForgetServer: self.forget,
        }

    async def pause(self, by: Principal, message: operator.PauseServer) -> operator.ActionResult:
        """Pause a build server: it gets no more builds. Raises NotFound, which names those that are known."""
        server = self._server(by, Act.PAUSE, message.server)
        reason = self._reason(by, message.reason)
        changed = await self._send(events.ServerPaused(server.name, reason, by.name))
        runs = self.broker.state.slots.load_of(server.name)
        goes_on = f"; what runs there goes on ({runs})" if runs else ""
        already = "" if changed else " already"
        return operator.ActionResult((f"build server {server.name} is paused{already}: {reason}{goes_on}",), changed)

    async def drain(self, by: Principal, message: operator.DrainServer) -> operator.ActionResult:
        """Pause a build server until it is resumed, and count in the answer what still runs there. Raises NotFound."""
        server = self._server(by, Act.PAUSE, message.server)
        changed = False
        if not message.only_look:
            changed = await self._send(events.ServerDrained(server.name, self._reason(by, message.reason), by.name))
        server = self.broker.state.servers.get(server.name, server)
        runs = len(self.broker.state.slots.attempts_of.get(server.name, ()))
        if not server.paused:
            return operator.ActionResult((f"build server {server.name} was resumed: it takes builds again",), count=0)
        if not runs:
            words = "is drained: nothing runs there, and it takes nothing until it is resumed"
            return operator.ActionResult((f"build server {server.name} {words}",), changed, count=0)
        what = "1 build is finished first" if runs == 1 else f"{runs} builds are finished first"
        return operator.ActionResult((f"build server {server.name} takes nothing more; {what}",), changed, count=runs)

    async def resume(self, by: Principal, message: operator.ResumeServer) -> operator.ActionResult:
        """Resume a build server: it gets builds again. Raises NotFound."""
        server = self._server(by, Act.PAUSE, message.server)
        changed = await self._send(events.ServerResumed(server.name, by.name))
        now, server = self.broker.clock.wall(), self.broker.state.servers.get(server.name, server)
        still = ""
        if not server.connected:
            still = "; it is not connected"
        elif server.quarantined_until > now:
            left = duration_words(server.quarantined_until - now)
            still = f"; it stays in quarantine for another {left}: {server.quarantine_reason}"
        said = "takes builds again" if changed else "was not paused"
        return operator.ActionResult((f"build server {server.name} {said}{still}",), changed)

    async def forget(self, by: Principal, message: operator.ForgetServer) -> operator.ActionResult:
        """Forget a build server. Raises NotFound, and StillThere for one that is connected or has builds."""
        server = self._server(by, Act.FORGET_SERVER, message.server)
        builds = sorted(busy_in(self.broker.state).get(server.name, ()))
        if server.connected:
            where = f" from {server.origin}" if server.origin else ""
            raise StillThere(
                f"build server {server.name} is connected{where} and would be known again at once: stop it there "
                f"first, or have it given nothing more (pause {server.name})"
            )
        if builds:
            numbers = ", ".join(map(str, builds[:NAMES_SHOWN]))
            raise StillThere(
                f"build server {server.name} may still bring what it was building ({numbers}): wait until it is "
                "missed, or end these builds first (abort BUILD)"
            )
        changed = await self._send(events.ServerForgotten(server.name, by.name))
        words = f"build server {server.name} is forgotten; what it built stays"
        return operator.ActionResult(
            (words if changed else f"build server {server.name} has just come back: it stays",), changed
        )

    def _server(self, by: Principal, act: Act, name: str) -> Server:
        """Return a build server to which a caller may do an act. Raises NotFound, Unauthorised."""
        servers = self.broker.state.servers
        if name in servers:
            self.permissions.check(by, act, Subject(self.permissions.machines((name,))))
            return servers[name]
        known = sorted(servers)
        more = f" and {len(known) - NAMES_SHOWN} more" if len(known) > NAMES_SHOWN else ""
        listed = f"known: {', '.join(known[:NAMES_SHOWN]) or 'none'}{more}"
        raise NotFound(f"there is no build server {name!r}{meant(name, known) or ';'} {listed}")

    def _reason(self, by: Principal, said: str) -> str:
        return shortened(said) or ("by its owner" if by.role is PrincipalRole.REQUESTER else "by the operator")

    async def _send(self, event: events.Event) -> bool:
        """Send an act; return whether it changed anything."""
        answer: answers.Answer = await self.broker.send(event)
        return not (isinstance(answer, answers.Acknowledged) and answer.stale)
