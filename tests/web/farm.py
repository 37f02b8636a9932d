"""A small farm in the middle of its day: builds in every state, servers of every kind."""

from typing import Any

from attrs import evolve

from buildtool.model.options import Canonical
from buildtool.model.records import (
    Artifact,
    Attempt,
    AttemptEnd,
    AttemptState,
    Build,
    BuildSpec,
    BuildState,
    Demand,
    JoinReason,
    Request,
    RequestState,
)
from buildtool.model.servers import Capability, Offer, OfferKind, ProjectSkill, Server
from buildtool.model.trust.evidence import TRUSTED_ONLY
from buildtool.ports.pages import BuildDetail
from tests.support.inline import run
from tests.web.fake_pages import NOW, FakeLogs, FakePages

X86: Canonical = (
    ("arch", "x86_64"),
    ("bits", 64),
    ("byteorder", "little"),
    ("libc", "glibc"),
    ("libc_version", "2.36"),
    ("os", "linux"),
)
PPC: Canonical = (
    ("arch", "ppc"),
    ("bits", 32),
    ("byteorder", "big"),
    ("libc", "glibc"),
    ("libc_version", "2.36"),
    ("os", "linux"),
)
OPTIONS: Canonical = (("checks", True), ("optimise", "speed"), ("width", 80))
LOG = (
    "cc -O2 -c tally.c -o tally.o\ntally.c:41:12: error: 'wdith' undeclared\nmake: *** [Makefile:9: tally.o] Error 1\n"
)


def revision(number: int) -> str:
    return f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}" * 2 + "00c0ffee"


def spec(number: int, platform: Canonical = X86, project: str = "testproject") -> BuildSpec:
    return BuildSpec(project, "", revision(number), 1, OPTIONS, platform, (("memory", 2048),), policy=TRUSTED_ONLY)


def build(number: int, state: BuildState, ago: float, **more: Any) -> Build:
    what = spec(number, PPC if number % 3 == 0 else X86, "lua" if number % 4 == 0 else "testproject")
    made = Build(id=number, key=what.key(), spec=what, place=number, created_at=NOW - ago, state=state)
    return evolve(made, **more)


def attempt(build_id: int, epoch: int, server: str, ago: float, end: AttemptEnd | None, took: float = 60.0) -> Attempt:
    state = AttemptState.BUILDING if end is None else AttemptState.ENDED
    offered = NOW - ago
    return Attempt(
        build_id,
        epoch,
        server,
        3,
        PPC if build_id % 3 == 0 else X86,
        OfferKind.NATIVE,
        offered,
        state,
        offered + 1.5,
        None if end is None else offered + took,
        end,
        evidence=TRUSTED_ONLY.least,
    )


def artifact(made: Build, number: int) -> Artifact:
    digest = f"{number:02x}" * 32
    return Artifact(
        number,
        made.spec.shelf,
        OPTIONS,
        made.spec.platform,
        OfferKind.NATIVE,
        made.id,
        1,
        "elm",
        digest,
        digest[::-1],
        1_234_567 * number,
        f"{made.spec.project}-{made.spec.revision[:10]}-linux.zip",
        NOW - 500,
        62.0,
        evidence=TRUSTED_ONLY.least,
    )


def request(number: int, made: Build, email: str, state: RequestState, **more: Any) -> Request:
    demand = Demand(made.spec, "main", "", (made.spec.revision,))
    asked = Request(
        number, f"{number:032x}", "0" * 64, email, demand, False, made.created_at, NOW + 86_400, state, made.id
    )
    return evolve(asked, **more)


def server(name: str, platform: Canonical, **more: Any) -> Server:
    offers = (Offer(platform), Offer(PPC, OfferKind.CROSS)) if platform == X86 else (Offer(platform),)
    machine: Canonical = (("cpus", 8), ("disk", 512_000), ("memory", 16_384), ("tools", ("gcc", "git", "make")))
    skills = (ProjectSkill("testproject", 1, "d" * 64), ProjectSkill("lua", 4, "e" * 64))
    can = Capability(offers, machine, skills, 2, "a desk under a window", "Ada <ada@example.org>", "buildtool 0.1")
    return evolve(Server(name, 3, can, connected=True, since=NOW - 90_000, last_seen=NOW - 5), **more)


def farm() -> FakePages:
    """Return a farm with something of everything."""
    done = build(
        1,
        BuildState.SUCCEEDED,
        4_000,
        started_at=NOW - 3_900,
        ended_at=NOW - 3_830,
        epoch=1,
        deciding_epoch=1,
        artifact_id=1,
    )
    retried = build(
        2,
        BuildState.SUCCEEDED,
        2_900,
        started_at=NOW - 2_800,
        ended_at=NOW - 500,
        epoch=3,
        deciding_epoch=3,
        artifact_id=2,
        broken_on=("oak",),
    )
    failed = build(
        3,
        BuildState.FAILED,
        900,
        started_at=NOW - 890,
        ended_at=NOW - 700,
        epoch=2,
        deciding_epoch=2,
        failed_on=("elm", "ash"),
        reason="the command `make` exited with status 2",
    )
    running = build(4, BuildState.RUNNING, 130, started_at=NOW - 120, epoch=1)
    queued = build(6, BuildState.QUEUED, 95)
    cancelled = build(5, BuildState.CANCELLED, 300, ended_at=NOW - 290, reason="nobody waits for it any more")
    gone = build(
        7,
        BuildState.UNBUILDABLE,
        5_000,
        started_at=NOW - 4_900,
        ended_at=NOW - 4_000,
        epoch=3,
        deciding_epoch=3,
        reason="it broke on three build servers: oak, elm, ash",
        broken_on=("oak", "elm", "ash"),
    )
    expired = build(8, BuildState.EXPIRED, 700_000, ended_at=NOW - 100_000)
    return FakePages(
        builds_made=[done, retried, failed, running, cancelled, queued, gone, expired],
        attempts=[
            attempt(1, 1, "elm", 3_900, AttemptEnd.SUCCEEDED, 70),
            evolve(attempt(2, 1, "oak", 2_800, AttemptEnd.BROKEN, 900), reason="no space left on the device"),
            evolve(attempt(2, 2, "ash", 1_850, AttemptEnd.LOST, 600), reason="the connection was lost"),
            attempt(2, 3, "elm", 1_200, AttemptEnd.SUCCEEDED, 700),
            evolve(
                attempt(3, 1, "elm", 890, AttemptEnd.FAILED, 80), reason="`make` exited with status 2", log_tail=LOG
            ),
            evolve(
                attempt(3, 2, "ash", 780, AttemptEnd.FAILED, 80), reason="`make` exited with status 2", log_tail=LOG
            ),
            attempt(4, 1, "ash", 120, None),
            attempt(7, 1, "oak", 4_900, AttemptEnd.LIMITED, 120),
            attempt(7, 2, "elm", 4_600, AttemptEnd.BROKEN, 200),
            attempt(7, 3, "ash", 4_200, AttemptEnd.LIMITED, 200),
        ],
        artifacts=[artifact(done, 1), artifact(retried, 2)],
        requests=[
            request(1, done, "ada@example.org", RequestState.SATISFIED),
            request(2, retried, "grace@example.net", RequestState.SATISFIED),
            request(3, retried, "edsger@example.com", RequestState.SATISFIED, joined=JoinReason.IMPLICATION),
            request(4, failed, "ada@example.org", RequestState.FAILED, reason="the project's own failure"),
            request(5, running, "barbara@example.org", RequestState.WAITING),
            request(6, queued, "ken@example.org", RequestState.WAITING),
        ],
        servers=[
            server("elm", X86),
            server("ash", PPC),
            server("oak", X86, connected=False, strikes=1, last_seen=NOW - 1_900),
            server(
                "yew", X86, quarantined_until=NOW + 600, quarantine_reason="three builds in a row broke here", strikes=3
            ),
        ],
        mail_errors={2: "550 no such mailbox"},
    )


def logs() -> FakeLogs:
    """Return the logs of the farm: of build 3 in full, of build 4 as far as it has come."""
    return FakeLogs(
        {(3, 1): LOG.encode(), (3, 2): LOG.encode() * 2, (4, 1): b"cc -c lua.c\n", (1, 1): b"ok \xff\x00\n"}, {(4, 1)}
    )


def detail(number: int, pages: FakePages | None = None) -> BuildDetail:
    """Return all about a build of the farm, or of ``pages``."""
    found = run((pages or farm()).build(number))
    assert found is not None
    return found
