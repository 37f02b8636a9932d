"""A forge in a simulated farm, which is told what comes of builds: slow, away, forgetful of its answers, and limiting.

A witness knows from the committed requests how each commit stands. Once nothing goes wrong any more the forge shows it.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from attrs import define, evolve, field, frozen

from buildtool.adapters.mail.mailer import Mailer
from buildtool.adapters.notices.courier import CourierPace
from buildtool.adapters.notices.forges import ForgeTeller
from buildtool.adapters.notices.http import HttpCall
from buildtool.adapters.notices.teller import NoticeTeller
from buildtool.adapters.sql.notices.store import SqlNoticeStore
from buildtool.configuration.settings import Settings
from buildtool.errors import Unavailable
from buildtool.model.notices.notice import context_of
from buildtool.model.notices.outcome import HttpReply
from buildtool.model.notices.targets import ForgeTarget
from buildtool.model.records import Request, RequestState
from buildtool.project.telling import github_status
from tests.simulation.clock import Life
from tests.support.forges.forge import Call, TokenHolder
from tests.support.forges.github import GitHub

if TYPE_CHECKING:
    from tests.simulation.database import SimulatedDatabase
    from tests.simulation.metaserver import Metaserver
    from tests.simulation.world import World

MATTERS = 0.3
"""In how many worlds there is a forge that is told."""

TROUBLES = 0.25
"""How many calls meet a trouble, while there is any."""

LATE = 10.0
"""Most seconds after which a forge does what it did not answer: less than until a call is made again."""

SHOWN = {
    RequestState.WAITING: "pending",
    RequestState.SATISFIED: "success",
    RequestState.FAILED: "failure",
}
"""What each state is shown as; all others are errors."""


class _All(set[str]):
    """Every commit that there may be."""

    def __contains__(self, _one: object) -> bool:
        return True


@define(eq=False)
class Telling:
    """The forge of one world, and the witness of what it shows."""

    world: World
    matter: bool = field(init=False)
    forge: GitHub = field(init=False)
    _rng: random.Random = field(init=False)
    _newest: dict[tuple[str, str], tuple[int, str]] = field(factory=dict, init=False)
    """Of each commit and context, the newest request and how that stands."""

    def __attrs_post_init__(self) -> None:
        self._rng = random.Random(f"{self.world.seed} forge")
        self.matter = self._rng.random() < MATTERS
        self.forge = GitHub(now=self.world.wall.wall)
        self.forge.tokens["token"] = TokenHolder("farm", frozenset({"repo:status"}))
        self.forge.add("acme/lua").commits = _All()

    def of(self, settings: Settings) -> Settings:
        """Return the settings of a world, whose project may tell the forge of all that is built."""
        if not self.matter:
            return settings
        (project,) = settings.projects
        target = github_status("acme/lua", token_file="token", everything=True)
        return evolve(settings, projects=(evolve(project, tell=[target]),))

    def start(self, metaserver: Metaserver, database: SimulatedDatabase, mailer: Mailer) -> Notifiers:
        """Tell what waits in one life of the metaserver."""
        if not self.matter:
            return Notifiers(mailer, None)
        world, life = self.world, metaserver.life
        (project,) = world.settings.projects
        (target,) = project.tell
        assert isinstance(target, ForgeTarget)

        async def call(one: HttpCall) -> HttpReply:
            return await self._answer(one, life)

        teller = NoticeTeller(SqlNoticeStore(database), life, world.wall)
        one = ForgeTeller(
            target, "token", call, lambda notice: f"https://farm.test/build/{notice.build_id}", world.wall
        )
        teller.configure({f"{project.name}/{target.name}": (one.tell, CourierPace(gap=1.0))})
        metaserver.parts.append(teller)
        teller.start()
        return Notifiers(mailer, teller)

    async def _answer(self, one: HttpCall, life: Life) -> HttpReply:
        trouble = self._rng.choice(("away", "lost", "late", "limit", "slow")) if self._is_troubled() else ""
        if trouble == "limit":
            self.forge.secondary(self._rng.randint(1, 120))
        await life.pause(self._rng.uniform(0.05, 8.0 if trouble == "slow" else 0.2))
        if trouble == "away":
            raise Unavailable("the forge does not answer")
        asked = Call.of(one.method, one.url.removeprefix("https://api.github.com"),
                        [("User-Agent", "farm"), *one.headers.items()], one.body)  # fmt: skip
        if trouble == "late":
            self.world.time.call(self._rng.uniform(0.0, LATE), lambda: self.forge.answer(asked))
            raise Unavailable("the forge did not answer in time")
        reply = self.forge.answer(asked)
        self.world.trace.say("forge", f"{reply.code} {one.body[:80]!r}")
        if trouble == "lost":
            raise Unavailable("the answer is lost")
        return HttpReply(reply.code, {name.lower(): it for name, it in reply.headers.items()}, reply.sent.decode())

    def _is_troubled(self) -> bool:
        return self.world.faults.on and self._rng.random() < TROUBLES

    # --- the witness ----------------------------------------------------------------------------------------

    def committed(self, rows: Sequence[Any]) -> None:
        """These rows are committed."""
        if not self.matter:
            return
        for row in rows:
            if type(row) is Request and not row.held and not row.demand.spec.source:
                spec = row.demand.spec
                (rule,) = self.world.settings.projects[0].scheduling().tell
                key = (spec.revision, context_of("buildtool", spec.platform, spec.options, rule.defaults))
                if row.id >= self._newest.get(key, (0, ""))[0]:
                    self._newest[key] = row.id, SHOWN.get(row.state, "error")

    @property
    def current(self) -> bool:
        """Whether nothing waits to be told."""
        waits = "SELECT count(*) FROM notices WHERE told < serial AND refused_at IS NULL"
        return not self.matter or self.world.rows.ask(waits)[0][0] == 0

    def check_rest(self) -> None:
        """Check that the forge shows of each commit and context how it stands."""
        for (revision, context), (number, state) in self._newest.items():
            shown = self.forge.repositories["acme/lua"].newest(revision).get(context, {"state": "nothing"})["state"]
            if shown != state:
                self.world.watch.wrong(f"at rest the forge shows {shown} for {context}: request {number} is {state}")


@frozen
class Notifiers:
    """Implements ``ports.Notifier``: the mailer, and what tells the forge where there is one."""

    mailer: Mailer
    teller: NoticeTeller | None

    def nudge(self, targets: Collection[str] = ()) -> None:
        if not targets:
            self.mailer.nudge()
        elif self.teller is not None:
            self.teller.nudge(targets)
