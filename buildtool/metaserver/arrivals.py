"""Who comes and goes under which name: machines that share one, and those that do not stay; the operator is told."""

from __future__ import annotations

from collections import deque

from attrs import define, field

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
class Comings:
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
