"""The project that the simulated farm builds, and what is true about it: what builds, what fails, how long it takes."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path

from attrs import frozen

from buildtool.configuration.mail_settings import MailSettings
from buildtool.configuration.settings import Settings
from buildtool.model.options import canonical, choice, number
from buildtool.model.project_options import ProjectOptions
from buildtool.model.properties import standard
from buildtool.model.servers import Capability, Offer, OfferKind, ProjectSkill
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.project.definition import Checked, Project
from buildtool.project.recipe import Command, Plan, Recipe, Wanted
from tests.simulation.fetching import FETCH, HOST

COLOURS = ("red", "blue", "green")
ARCHES = ("x86_64", "ppc")
REVISIONS = tuple(f"{number:02x}" * 20 for number in range(1, 7))
STRANGE = tuple(f"{number:02x}" * 20 for number in (0xF1, 0xF2))
"""Commits of a stranger, who has a pull request: some day a branch is moved there."""

RECIPE = 3
URL = "https://git.example/paint.git"
FAILING = (0.0, 0.15, 0.4)
"""The share of all builds that fail wherever they are made, one of these in a world."""

REFUSED = "the owner needs the machine"

OPTIONS = ProjectOptions(
    standard("os", "arch", "libc_version", "memory"), (choice("colour", COLOURS), number("sheet", default=0))
)


def plan(fetched: frozenset[str], wanted: Wanted) -> Plan:
    """Return how something is made; what has one of the ``fetched`` colours is fetched first."""
    colour = str(wanted.options["colour"])
    make = Command(["make", colour, wanted.revision], name="build")
    faults = ("out of paper",)
    if colour not in fetched:
        return Plan((make,), ("program",), machine_faults=faults)
    return Plan((make,), ("program",), machine_faults=faults, fetch=(Command([FETCH, colour]),), network=(HOST,))


def checker(checked: Checked) -> str | None:
    """Decline when the machine says that its owner needs it."""
    return REFUSED if checked.machine.get("owner") else None


@frozen
class Truth:
    """What one build would do wherever it is made: fail or not, after so many seconds of work.

    What ``cannot`` be delivered is made and then not to be packed: a mistake, on every machine.
    """

    fails: bool
    seconds: float
    cannot: bool = False


@frozen
class Times:
    """The deployment's times, in seconds, and how many mails an hour one address gets."""

    request_ttl: float
    failure_ttl: float
    lease: float
    mails: int
    time_limit: float = 3_000.0


def project(times: Times, sandbox: SandboxLevel = SandboxLevel.NONE, fetched: frozenset[str] = frozenset()) -> Project:
    return Project(
        "paint",
        OPTIONS,
        Recipe(RECIPE, partial(plan, fetched)),
        lambda source: URL,
        client_checkers=(checker,),
        request_ttl=times.request_ttl,
        failure_ttl=times.failure_ttl,
        time_limit=times.time_limit,
        silence_limit=2_000.0,
        artifact_limit=1_000_000,
        log_limit=100_000,
        sandbox=sandbox,
    )


def settings(
    times: Times, sandbox: SandboxLevel = SandboxLevel.NONE, fetched: frozenset[str] = frozenset()
) -> Settings:
    """The deployment."""
    here = Path("/simulated")
    return Settings(
        path=here / "config.py",
        host="meta",
        bind="127.0.0.1",
        pb_port=1,
        transfer_port=2,
        web_port=3,
        public_url="http://farm.example",
        transfer_url="http://files.example",
        state_dir=here / "metaserver",
        build_dir=here / "buildserver",
        mail=MailSettings(
            "mail.example",
            25,
            "farm@example.org",
            per_address=times.mails,
            per_asker=1_000_000,
            bounces="farm+{id}@example.org",
        ),
        projects=(project(times, sandbox, fetched),),
    )


def capability(
    arches: tuple[str, ...],
    *,
    memory: int,
    max_builds: int,
    of: Project,
    sandbox: SandboxLevel = SandboxLevel.NONE,
    admin: str = "",
) -> Capability:
    """What a machine announces: its own architecture first, the others by cross compilers."""
    offers = tuple(
        Offer(canonical({"os": "linux", "arch": arch}), OfferKind.CROSS if number else OfferKind.NATIVE)
        for number, arch in enumerate(arches)
    )
    skills = (ProjectSkill(of.name, RECIPE, of.options.digest()),)
    machine = canonical({"memory": memory, "cpus": 2})
    return Capability(offers, machine, skills, max_builds=max_builds, sandbox=sandbox, admin=admin)


class Truths:
    """What is true of every build, drawn once."""

    def __init__(self, rng: random.Random) -> None:
        share = rng.choice(FAILING)
        longest = rng.choice((20.0, 120.0, 600.0))
        self._known = {
            (revision, colour): Truth(rng.random() < share, rng.uniform(1.0, longest), rng.random() < share / 3)
            for revision in (*REVISIONS, *STRANGE)
            for colour in COLOURS
        }

    def of(self, revision: str, colour: str) -> Truth:
        return self._known[revision, colour]
