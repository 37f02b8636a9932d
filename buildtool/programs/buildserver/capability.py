"""What a build server announces: composed of what was detected here and of what the projects declare."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from attrs import evolve, frozen

from buildtool.adapters.host.detectors import DETECTORS, Detected
from buildtool.adapters.host.toolchains import RejectedToolchain, Toolchain, ToolchainSurvey
from buildtool.adapters.host.wine import seed_wine
from buildtool.errors import ConfigurationError, UsageError
from buildtool.model.options import canonical
from buildtool.model.platforms import ARCHES, CPU_LEVELS, Value
from buildtool.model.properties import STANDARD, Property, Role
from buildtool.model.servers import SYSTEM_ROOT, Capability, Offer, OfferKind, ProjectSkill
from buildtool.programs.buildserver.platforms import PlatformChoice
from buildtool.programs.buildserver.roots.offers import OfferedRoot
from buildtool.programs.buildserver.zig.offers import ZigOffers
from buildtool.project.definition import Project

TEXT_LIMIT = 500
"""Most characters of what is announced for people to read."""

_TOOL_NAMES = {"CC": ("gcc", "cc", "clang"), "CXX": ("g++", "c++", "clang++"), "AR": ("ar",), "STRIP": ("strip",)}


@frozen
class AnnouncedCapability:
    """The part of a capability that stays the same; ``machine`` and ``detected`` are as of the start.

    ``time_limit`` is the owner's for one build, in seconds, and ``about`` what they say of the machine. ``coming`` is
    what zig will be offered for once it was tried, and ``zig`` knows what that is; what it makes goes before what
    compilers make that are ``packaged``. ``roots`` are other systems' files.
    """

    platform: Mapping[str, Value]
    machine: Mapping[str, Value]
    offers: tuple[Offer, ...]
    skills: tuple[ProjectSkill, ...]
    detected: Mapping[str, Detected]
    max_builds: int
    admin: str
    software: str
    rejected: tuple[RejectedToolchain, ...] = ()
    time_limit: int | None = None
    about: str = ""
    access_uri: str = ""
    coming: tuple[Offer, ...] = ()
    packaged: frozenset[Offer] = frozenset()
    zig: ZigOffers | None = None
    roots: tuple[OfferedRoot, ...] = ()

    def with_zig(self, zig: ZigOffers | None) -> AnnouncedCapability:
        """Return the same on a machine that has a zig; ``warmed`` says with what."""
        return evolve(self, zig=zig)

    @property
    def seed(self) -> Callable[[Mapping[str, str], Path, Callable[[], None]], object]:
        """What puts into the home of a build what its tools begin with: a warm cache, a drive for wine."""

        def put(tools: Mapping[str, str], home: Path, check: Callable[[], None]) -> None:
            seed_wine(tools, home)
            if self.zig is not None:
                self.zig.store.seed(tools, home, check)

        return put

    def capability(self, changed: Mapping[str, Value]) -> Capability:
        """Return what is announced now; ``changed`` are the machine properties that were looked at again."""
        known = {name: value for name, value in changed.items() if name in self.machine}
        # So that the metaserver sees when it changes: what was over the old limit may be within the new.
        limit = {} if self.time_limit is None else {"time_limit": self.time_limit}
        return Capability(
            offers=self.offers,
            machine=canonical({**self.machine, **known, **limit}),
            skills=self.skills,
            max_builds=self.max_builds,
            host_info=self.host_info(),
            admin=self.admin[:TEXT_LIMIT],
            software=self.software,
            access_uri=self.access_uri[:TEXT_LIMIT],
        )

    def host_info(self) -> str:
        """Return the machine in a few words, for people."""
        names = ("os_release", "arch", "cpu_level", "cc_version")
        words = [str(self.detected[name]) for name in names if self.detected.get(name)]
        machine = " ".join([*words, f"{self.detected.get('cpus', '?')} processors"])
        return (f"{self.about}; {machine}" if self.about else machine)[:TEXT_LIMIT]


def announced(
    projects: Iterable[Project],
    detected: Mapping[str, Detected],
    *,
    max_builds: int,
    admin: str,
    software: str,
    found: ToolchainSurvey | None = None,
    time_limit: int | None = None,
) -> AnnouncedCapability:
    """Compose what is announced; ``found`` are the toolchains besides the machine's own compiler.

    ``time_limit`` is in seconds. Raises ConfigurationError for a property that names a detector which there is not.
    """
    known = list(projects)
    properties = _properties(known)
    platform = _platform(properties.values(), detected)
    offers = [Offer(canonical(platform), OfferKind.NATIVE, _tools(detected))]
    survey = found if found is not None else ToolchainSurvey()
    offers += [_offer(one, properties.values()) for one in survey.toolchains if not one.packaged]
    packaged = [_offer(one, properties.values()) for one in survey.toolchains if one.packaged]
    return AnnouncedCapability(
        platform=platform,
        machine=_values(properties.values(), Role.MACHINE, detected),
        offers=_behind(offers, packaged),
        packaged=frozenset(packaged),
        skills=tuple(ProjectSkill(one.name, one.recipe.version, one.options.digest()) for one in known),
        detected=detected,
        max_builds=max_builds,
        admin=admin,
        software=software,
        rejected=survey.rejected,
        time_limit=time_limit,
    )


def with_roots(
    found: AnnouncedCapability, roots: Iterable[OfferedRoot], projects: Iterable[Project]
) -> AnnouncedCapability:
    """Return what is announced with other systems, after what this machine makes of the same platforms by itself."""
    properties, there = _properties(projects), tuple(roots)
    more = [_offer(one.toolchain, properties.values()) for one in there if not (one.why or one.unchosen)]
    return evolve(found, offers=_behind(found.offers, more), roots=there)


def without_roots(found: AnnouncedCapability) -> AnnouncedCapability:
    """Return what is announced where there is no sandbox to build in another system."""
    own = tuple(one for one in found.offers if SYSTEM_ROOT not in dict(one.tools))
    return evolve(found, offers=own, roots=())


def restricted(found: AnnouncedCapability, choice: PlatformChoice) -> AnnouncedCapability:
    """Return what is announced when only the chosen platforms are offered. Raises UsageError."""
    return evolve(found, offers=choice.chosen(found.offers, found.rejected, found.coming))


def warmed(found: AnnouncedCapability, projects: Iterable[Project]) -> AnnouncedCapability:
    """Return what is announced with those of zig's targets that were tried by now. Reads the disk."""
    if found.zig is None:
        return found
    properties = _properties(projects)
    more = [_offer(one, properties.values()) for one in found.zig.warm()]
    coming = tuple(_offer(one, properties.values()) for one in found.zig.coming())
    others = [one for one in found.offers if one not in found.packaged]
    behind = [one for one in found.offers if one in found.packaged]
    return evolve(found, offers=_behind((*others, *more), behind), coming=coming)


def _once(offers: Iterable[Offer]) -> tuple[Offer, ...]:
    # An order names platform and kind, so of two toolchains for one the later stands: the owner's.
    return tuple({(one.platform, one.kind): one for one in offers}.values())


def _behind(first: Iterable[Offer], then: Iterable[Offer]) -> tuple[Offer, ...]:
    """Return offers behind those that go before them, which alone stand for what both make."""
    before = _once(first)
    known = {(one.platform, one.kind) for one in before}
    return (*before, *(one for one in _once(then) if (one.platform, one.kind) not in known))


def _properties(projects: Iterable[Project]) -> dict[str, Property]:
    return STANDARD | {item.name: item for project in projects for item in project.options.system}


def _platform(properties: Iterable[Property], known: Mapping[str, Detected]) -> dict[str, Value]:
    platform = _values(properties, Role.ARTIFACT, known)
    if platform.get("cpu_level") in CPU_LEVELS:
        # What a recipe targets unless it is asked for more, so that the binary runs on every processor of the arch.
        platform["cpu_level"] = CPU_LEVELS[0]
    return platform


def _offer(toolchain: Toolchain, properties: Iterable[Property]) -> Offer:
    arch = ARCHES[toolchain.arch]
    known: dict[str, Detected] = {
        "os": toolchain.os,
        "arch": arch.name,
        "bits": arch.bits,
        "byteorder": arch.byteorder,
        "libc": toolchain.libc,
        "libc_version": toolchain.libc_version,
        "os_release": toolchain.os_release,
        "cpu_level": CPU_LEVELS[0] if arch.name == "x86_64" else None,
    }
    platform = canonical(_platform(properties, known))
    ends = {"libc_version": toolchain.up_to} if toolchain.up_to is not None else {}
    up_to = {name: value for name, value in ends.items() if name in dict(platform)}
    return Offer(platform, toolchain.kind, tuple(sorted(toolchain.tools.items())), canonical(up_to))


def _values(properties: Iterable[Property], role: Role, detected: Mapping[str, Detected]) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for item in properties:
        if item.role is not role:
            continue
        if item.detector not in DETECTORS:
            known = ", ".join(sorted(DETECTORS))
            raise ConfigurationError(f"property {item.name} names the detector {item.detector!r}; there are {known}")
        value = detected.get(item.detector)
        if value is None:
            continue
        try:
            found[item.name] = item.option.check(value)
        except UsageError:
            continue  # this machine is something that the description does not know: it offers nothing by that name
    return found


def _tools(detected: Mapping[str, Detected]) -> tuple[tuple[str, str], ...]:
    there = detected.get("tools")
    names = there if isinstance(there, tuple) else ()
    chosen = {role: next((name for name in choices if name in names), None) for role, choices in _TOOL_NAMES.items()}
    chosen["CC_VERSION"] = _compiler(chosen["CC"], detected)
    return tuple(sorted((role, name) for role, name in chosen.items() if name is not None))


def _compiler(name: str | None, detected: Mapping[str, Detected]) -> str | None:
    """Return family and version of the compiler of this name: ``cc`` may be another one than ``gcc``."""
    said, versions = detected.get("cc_version"), detected.get("tool_versions")
    if name is None or not isinstance(said, str) or not isinstance(versions, tuple):
        return None
    version = dict(one.split("=", 1) for one in versions if "=" in one).get(name)
    return said if version is None or said.endswith(f"-{version}") else f"{name}-{version}"
