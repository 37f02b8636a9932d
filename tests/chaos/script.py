"""What happens in a run, drawn from its seed: who asks for what when, and what goes wrong when. Pure."""

from __future__ import annotations

import enum
import random

from attrs import evolve, frozen

from tests.chaos.sources import Variant, drawn


class Manner(enum.Enum):
    """What a requester does besides reading their mail."""

    MAIL = "waits for the mail"
    FOLLOW = "follows until the end"
    LEAVE = "follows and hangs up"
    CANCEL = "cancels"
    TOGETHER = "asks for several at once, about which one mail tells"


class Trouble(enum.Enum):
    """What can go wrong. Those that end a program start it again after ``seconds``.

    DEAD and NUMB happen once, to a build server that comes back only when everybody has been told. What is about keys
    happens once too: a build server is revoked for good, another one is made anew and joins under its name, and the
    farm moves to another authority.
    """

    KILL = "kill -9"
    FREEZE = "SIGSTOP"
    RESTART = "SIGTERM"
    DRAIN = "SIGHUP"
    RELOAD = "SIGHUP, which means to read the configuration"
    PAUSE = "paused by hand"
    OWNER = "its owner is there"
    POWER = "kill -9, all at once"
    DEAD = "kill -9, for long"
    NUMB = "SIGSTOP, for long"
    CUT = "connections cut"
    HOLE = "connections hang"
    MAIL_AWAY = "mail server away"
    REVOKED = "revoked, for good"
    ANEW = "kill -9, its directory lost, joined anew"
    ROTATED = "moves to another authority"


METASERVER, WEB, EVERYTHING = "metaserver", "web", "everything"
REQUESTERS, TRANSFERS, MAIL = "requesters", "transfers", "mail"
"""What troubles are about, besides build servers by name."""

_WEIGHTS: dict[tuple[Trouble, str], int] = {
    (Trouble.KILL, ""): 22,
    (Trouble.KILL, METASERVER): 10,
    (Trouble.KILL, WEB): 4,
    (Trouble.FREEZE, ""): 12,
    (Trouble.FREEZE, METASERVER): 6,
    (Trouble.FREEZE, WEB): 2,
    (Trouble.RESTART, ""): 7,
    (Trouble.RESTART, METASERVER): 5,
    (Trouble.DRAIN, ""): 4,
    (Trouble.RELOAD, METASERVER): 3,
    (Trouble.PAUSE, ""): 3,
    (Trouble.OWNER, ""): 12,
    (Trouble.POWER, EVERYTHING): 3,
    (Trouble.CUT, ""): 10,
    (Trouble.CUT, REQUESTERS): 4,
    (Trouble.CUT, TRANSFERS): 4,
    (Trouble.HOLE, ""): 8,
    (Trouble.HOLE, REQUESTERS): 3,
    (Trouble.HOLE, TRANSFERS): 3,
    (Trouble.MAIL_AWAY, MAIL): 4,
}
""""" is any build server."""


@frozen
class Shape:
    """How much of everything; ``seconds`` is how long things go wrong, ``pause`` the mean between two troubles.

    ``settle`` is how long the farm has to come to rest afterwards, ``patience`` and ``largest`` bound what a build
    rests and makes, ``longest`` is how many seconds a program may be down, frozen or out of reach: longer than the
    ``lease``. ``life`` is that of certificates, in seconds.
    """

    requests: int
    variants: int
    revisions: int
    servers: int
    seconds: float
    settle: float
    pause: float = 1.6
    patience: float = 8.0
    largest: int = 3 * 1024 * 1024
    longest: float = 12.0
    lease: int = 8
    life: int = 20

    def names(self) -> tuple[str, ...]:
        """Return the names of the build servers."""
        return tuple(f"machine-{number}" for number in range(self.servers))


LONG = Shape(requests=500, variants=10, revisions=4, servers=8, seconds=180.0, settle=150.0)
"""What `make chaos` does, when it is not told how long."""

SHORT = Shape(
    requests=60,
    variants=5,
    revisions=2,
    servers=4,
    seconds=12.0,
    settle=150.0,
    pause=1.0,
    patience=1.5,
    largest=256 * 1024,
    longest=4.5,
    lease=3,
    life=15,
)
"""What a test can wait for."""


@frozen
class Asked:
    """One requester: when they ask, for what, and how they go on. ``tag`` says the revision by its name.

    ``also`` are further (variant, revision) that are asked for together with the first.
    """

    number: int
    at: float
    variant: int
    revision: int
    manner: Manner
    tag: bool = False
    nearby: bool = False
    force: bool = False
    hurry: float = 0.0
    also: tuple[tuple[int, int], ...] = ()

    def wishes(self) -> tuple[tuple[int, int], ...]:
        """Return every (variant, revision) that is asked for."""
        return ((self.variant, self.revision), *self.also)

    @property
    def email(self) -> str:
        return f"requester-{self.number}@chaos.example.org"


@frozen
class Fault:
    """One trouble at one time, for so many seconds."""

    at: float
    trouble: Trouble
    target: str
    seconds: float

    def words(self) -> str:
        """Return it as one line."""
        return f"{self.at:7.2f} s: {self.target}: {self.trouble.value}, {self.seconds:.2f} s"


@frozen
class Script:
    """A whole run."""

    seed: int
    shape: Shape
    revisions: tuple[tuple[Variant, ...], ...]
    asked: tuple[Asked, ...]
    faults: tuple[Fault, ...]


def scripted(seed: int, shape: Shape) -> Script:
    """Return the run of this seed: the same every time."""
    draw = random.Random(seed)
    revisions = tuple(
        tuple(drawn(draw, patience=shape.patience, largest=shape.largest) for _ in range(shape.variants))
        for _ in range(shape.revisions)
    )
    return Script(seed, shape, revisions, _asked(draw, shape), _faults(draw, shape))


def _asked(draw: random.Random, shape: Shape) -> tuple[Asked, ...]:
    """Each distinct build appears at a time of its own, so that there is something to build all along."""
    builds = [(variant, revision) for variant in range(shape.variants) for revision in range(shape.revisions)]
    draw.shuffle(builds)
    span = 0.9 * shape.seconds
    appears = [span * number / len(builds) for number in range(len(builds))]
    wishes = list(zip(appears, builds, strict=True))
    while len(wishes) < shape.requests:
        at = draw.random() * span
        known = sum(1 for time in appears if time <= at)
        # Mostly for what is new and hence being built, else for anything that has been asked for.
        newest = draw.random() < 0.5
        wishes.append((at, builds[max(0, known - 1 - draw.randrange(3)) if newest else draw.randrange(known)]))
    wishes.sort()
    return tuple(
        _one(draw, number, at, *build, [other for time, other in wishes if time <= at])
        for number, (at, build) in enumerate(wishes[: shape.requests], start=1)
    )


def _one(
    draw: random.Random, number: int, at: float, variant: int, revision: int, known: list[tuple[int, int]]
) -> Asked:
    manner = draw.choices(list(Manner), (42, 30, 10, 10, 8))[0]
    asked = Asked(number, at, variant, revision, manner, tag=draw.random() < 0.3, hurry=draw.random() * 2)
    special = draw.random()
    also = tuple(draw.choices(known, k=2)) if manner is Manner.TOGETHER else ()
    return evolve(asked, nearby=special < 0.08, force=special > 0.95, also=also)


def _faults(draw: random.Random, shape: Shape) -> tuple[Fault, ...]:
    kinds, weights = list(_WEIGHTS), list(_WEIGHTS.values())
    found: list[Fault] = []
    at = 1.0
    while (at := at + draw.expovariate(1 / shape.pause)) < shape.seconds:
        trouble, target = draw.choices(kinds, weights)[0]
        # Mostly short; now and then longer than the lease.
        seconds = shape.longest * draw.random() ** 3
        found.append(Fault(at, trouble, target or draw.choice(shape.names()), seconds))
    away, revoked, anew = draw.sample(shape.names(), 3)
    once = (
        (draw.choice((Trouble.DEAD, Trouble.NUMB)), away, 0.0),
        (Trouble.REVOKED, revoked, 0.0),
        (Trouble.ANEW, anew, shape.longest * draw.random() / 2),
        (Trouble.ROTATED, METASERVER, 0.0),
        (Trouble.OWNER, draw.choice(shape.names()), shape.longest),
    )
    for trouble, target, seconds in once:
        found.append(Fault(shape.seconds * (0.2 + 0.6 * draw.random()), trouble, target, seconds))
    return tuple(sorted(found, key=lambda fault: fault.at))
