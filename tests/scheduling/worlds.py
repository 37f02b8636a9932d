"""A small world for scheduler tests: one project, a line of revisions, a few platforms and machines."""

from collections.abc import Mapping

from buildtool.model.options import canonical, flag
from buildtool.model.platforms import Value
from buildtool.model.policy import Policy
from buildtool.model.project_options import ProjectOptions
from buildtool.model.properties import standard
from buildtool.model.records import BuildSpec, Demand
from buildtool.model.servers import Capability, Offer, OfferKind, ProjectSkill
from buildtool.model.trust.evidence import EvidencePolicy, SandboxLevel, SourceTrust
from buildtool.scheduling.events import Submitted

OPTIONS = ProjectOptions(standard("os", "arch", "libc", "libc_version", "memory"), (flag("jit"),))
POLICY = Policy(
    recipe_version=3,
    options_digest=OPTIONS.digest(),
    comparisons=tuple(sorted(OPTIONS.comparisons().items())),
    request_ttl=5_000.0,
)
SKILL = ProjectSkill("lua", 3, OPTIONS.digest())
POLICIES = {"lua": POLICY}
REVISIONS = tuple(f"{number:040x}" for number in range(1, 6))


def spec(
    revision: int = 0,
    *,
    jit: bool = False,
    machine: Mapping[str, Value] | None = None,
    platform: Mapping[str, Value] | None = None,
    sandbox: SandboxLevel = SandboxLevel.NONE,
    trust: SourceTrust = SourceTrust.UNTRUSTED,
) -> BuildSpec:
    """A Build of the project's revision number ``revision`` for the platform given, x86_64 when none is."""
    return BuildSpec(
        project="lua",
        source="",
        revision=REVISIONS[revision],
        recipe_version=3,
        options=OPTIONS.compile_values({"jit": jit}),
        platform=canonical(platform or {"os": "linux", "arch": "x86_64"}),
        machine=canonical(machine or {}),
        policy=EvidencePolicy(sandbox, trust),
    )


def submitted(
    client: str,
    wanted: BuildSpec | None = None,
    *,
    email: str = "user@example.org",
    near: int = 0,
    force: bool = False,
    body: str = "",
) -> Submitted:
    """A submission; ``near`` accepts revisions so many steps away either way, nearest first."""
    wanted = wanted or spec()
    at = REVISIONS.index(wanted.revision)
    around = sorted(range(len(REVISIONS)), key=lambda index: (abs(index - at), index))
    acceptable = tuple(REVISIONS[index] for index in around if abs(index - at) <= near)
    demand = Demand(wanted, ref="main", revrange=str(near) if near else "", acceptable=acceptable)
    return Submitted(client, body or client, email, demand, force)


def machine(
    *,
    arch: str = "x86_64",
    libc_version: str = "2.36",
    cross: tuple[str, ...] = (),
    memory: int = 4096,
    max_builds: int = 1,
    skill: ProjectSkill = SKILL,
    sandbox: SandboxLevel = SandboxLevel.NONE,
    ranged: tuple[str, str, str] | None = None,
) -> Capability:
    """What a machine offers: its own platform, those of its cross compilers, and those of a ``ranged`` one.

    ``ranged`` has the architecture, the oldest and the newest C library.
    """
    offers = [Offer(_platform(arch, libc_version))]
    if ranged is not None:
        other, oldest, newest = ranged
        offers.append(Offer(_platform(other, oldest), OfferKind.CROSS, up_to=(("libc_version", newest),)))
    offers += [Offer(_platform(other, libc_version), OfferKind.CROSS) for other in cross]
    return Capability(
        tuple(offers), canonical({"memory": memory, "cpus": 2}), (skill,), max_builds, host_info="test", sandbox=sandbox
    )


def _platform(arch: str, libc_version: str) -> tuple[tuple[str, Value], ...]:
    return canonical({"os": "linux", "arch": arch, "libc": "glibc", "libc_version": libc_version})
