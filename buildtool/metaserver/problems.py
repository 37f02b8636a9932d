"""What the operator should know: machines that share a name or do not stay, and builds that are not delivered.

Of builds also what begins again and again, and what nobody can build since its project is not configured.

What is said of logins is tested by tests/metaserver/test_build_servers.py.
"""

from __future__ import annotations

from collections import Counter, deque

from attrs import define, field, frozen
from twisted.internet.interfaces import IReactorTime

from buildtool.metaserver.broker import Broker
from buildtool.model.text import duration_words
from buildtool.scheduling.events import ArtifactUnkept

TOLD_FOR = 900.0
"""Seconds for which the operator is told of a machine that wanted a name which another one has."""

FLAPS = 6
"""As many logins of one name within ``FLAPPING`` are too many."""

FLAPPING = 600.0
"""Seconds within which logins are counted."""

SHOWN = 10
"""Most names that the operator is told of for each of the two, the newest."""

MOST = 200
"""Most names that are watched for each of the two, the newest: a peer makes up as many as it likes."""


@define
class LoginHistory:
    """The logins of late, and what was noticed of them. Times are seconds of the monotonic clock."""

    _refused: dict[str, tuple[float, float]] = field(factory=dict, init=False)
    _logins: dict[str, deque[float]] = field(factory=dict, init=False)

    def refused(self, name: str, now: float) -> bool:
        """Record that a login found its name taken; return whether that is news."""
        news, _ = self._refused.pop(name, (-TOLD_FOR, 0.0))
        is_news = now - news >= TOLD_FOR
        self._refused[name] = now if is_news else news, now
        _trim(self._refused)
        return is_news

    def opened(self, name: str, now: float) -> None:
        """Record that a login was taken."""
        times = self._logins.pop(name, None) or deque(maxlen=FLAPS)
        times.append(now)
        self._logins[name] = times
        _trim(self._logins)

    def problems(self, now: float) -> tuple[str, ...]:
        """Return what the operator should know, one line each.

        No address is in it, since anybody may read it (the log has them), and nothing that changes from look to look.
        """
        twins = [name for name, (_, last) in self._refused.items() if now - last < TOLD_FOR]
        flapping = [name for name, times in self._logins.items() if len(times) == FLAPS and now - times[0] < FLAPPING]
        minutes = f"{FLAPPING / 60:.0f} minutes"
        return (
            *(
                f"two machines call themselves {name}, and the second is turned away: start it with another --name "
                "(the log says where it is)"
                for name in twins[-SHOWN:]
            ),
            *(
                f"build server {name} does not stay: it logged in {FLAPS} times within {minutes}"
                for name in flapping[-SHOWN:]
            ),
        )


def _trim(names: dict[str, tuple[float, float]] | dict[str, deque[float]]) -> None:
    while len(names) > MOST:
        del names[next(iter(names))]


# --- builds ---------------------------------------------------------------------------------------------

TRIED_OFTEN = 10
"""With how many attempts an open build is worth a look."""

BUILDS_SHOWN = 5
"""Of how many builds each kind of problem is told; the others are counted."""


@frozen
class _Unkept:
    since: float
    reason: str
    server: str


@define(eq=False)
class BuildProblems:
    """The artifacts that cannot be kept, and the problems of open builds, as the operator sees them."""

    broker: Broker
    timers: IReactorTime
    _unkept: dict[tuple[int, int], _Unkept] = field(factory=dict, init=False)
    _seen: tuple[str, ...] = field(default=(), init=False)

    async def unkept(self, build_id: int, epoch: int, reason: str) -> None:
        """Record that an artifact cannot be kept now, so that its slot builds something else meanwhile.

        Raises StorageUnavailable when that cannot be committed either.
        """
        attempt = self.broker.state.attempts.get((build_id, epoch))
        if attempt is None:
            return
        before = self._unkept.get(attempt.key)
        since = before.since if before is not None else self.timers.seconds()
        self._unkept[attempt.key] = _Unkept(since, reason, attempt.server)
        if not self.broker.state.slots.is_unkept(attempt):
            await self.broker.send(ArtifactUnkept(attempt.server, attempt.session, build_id, epoch, reason))

    def look(self) -> None:
        """Check the open builds."""
        state = self.broker.state
        strange = Counter(build.spec.project for build in state.builds.values() if not state.projects.configured(build))
        often = [build for build in state.builds.values() if build.epoch >= TRIED_OFTEN]
        lines = [
            f"project {name} is not configured, and {_builds(count)} for it" for name, count in sorted(strange.items())
        ]
        lines += [
            f"build {build.id} of {build.spec.project} was begun {build.epoch} times and has not ended: see its page"
            for build in often[:BUILDS_SHOWN]
        ]
        if len(often) > BUILDS_SHOWN:
            lines.append(f"{len(often) - BUILDS_SHOWN} more builds were begun {TRIED_OFTEN} times or more")
        self._seen = tuple(lines)

    def problems(self) -> tuple[str, ...]:
        """Return each in one line; it implements ``ports.Conditions``."""
        live, now = self.broker.state.attempts, self.timers.seconds()
        self._unkept = {key: one for key, one in self._unkept.items() if key in live}
        waiting = [
            f"build {key[0]}.{key[1]} is built on {one.server} and not delivered since "
            f"{duration_words(now - one.since)}: {one.reason}"
            for key, one in list(self._unkept.items())[:BUILDS_SHOWN]
        ]
        if len(self._unkept) > BUILDS_SHOWN:
            waiting.append(f"{len(self._unkept) - BUILDS_SHOWN} more builds are built and not delivered")
        return (*waiting, *self._seen)


def _builds(count: int) -> str:
    return "1 build waits" if count == 1 else f"{count} builds wait"
