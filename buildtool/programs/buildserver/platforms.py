"""Which platforms a build server offers: what its owner chose, of what is found here or named in their file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from attrs import frozen

from buildtool.adapters.host.detectors import Detected
from buildtool.adapters.host.packaged_toolchains import packaged_toolchains
from buildtool.adapters.host.toolchain_file import ToolchainFile, load_toolchain_file
from buildtool.adapters.host.toolchains import (
    NamedToolchain,
    RejectedToolchain,
    ToolchainSurvey,
    Ways,
    known_toolchains,
    survey,
)
from buildtool.errors import UsageError
from buildtool.model.platforms import ARCHES, LIBCS, canonical_arch
from buildtool.model.servers import SYSTEM_ROOT, Offer, OfferKind

_KINDS = tuple(kind.value for kind in OfferKind)
_SYSTEMS = tuple(dict.fromkeys((*LIBCS.values(), *LIBCS, "zig")))


@frozen
class PlatformChoice:
    """The owner's choice of kinds, architectures and triples, as said with ``where``; None is everything."""

    names: tuple[str, ...] | None = None
    cross: bool = True
    where: str = "--platforms"

    def takes(self, kind: OfferKind, arch: object, triple: str = "", more: Sequence[object] = ()) -> bool:
        """Return whether a platform made in this way is to be offered; ``more`` are other names that it goes by."""
        if kind is OfferKind.CROSS and not self.cross:
            return False
        return self.names is None or any(_fits(name, kind, arch, triple, more) for name in self.names)

    def chosen(
        self, offers: Iterable[Offer], rejected: Sequence[RejectedToolchain] = (), coming: Iterable[Offer] = ()
    ) -> tuple[Offer, ...]:
        """Return the offers that were chosen. Raises UsageError for a name of none, also of what is ``coming``."""
        taken = [(offer, of) for offer in offers if self.takes(*(of := _names_of(offer)))]
        later = [of for of in map(_names_of, coming) if self.takes(*of)]
        for name in self.names or ():
            if not any(_fits(name, *of) for of in (*(of for _, of in taken), *later)):
                raise UsageError(f"{self.where}: {self._why_none(name, rejected)}")
        return tuple(offer for offer, _ in taken)

    def _why_none(self, name: str, rejected: Sequence[RejectedToolchain]) -> str:
        if name not in (*_KINDS, *_SYSTEMS) and canonical_arch(name) not in ARCHES and "-" not in name:
            known = ", ".join((*_KINDS, *_SYSTEMS))
            return f"{name[:40]!r} is no platform: say {known}, a triple, or one of {', '.join(ARCHES)}"
        if not self.cross:
            return f"nothing is left of {name[:40]!r} with --no-cross"
        reasons = "".join(f"; {one.triple}: {one.why}" for one in rejected)
        return f"this machine cannot build for {name[:40]!r}: no compiler for it was found in PATH{reasons}"


def choice_of(platforms: str | None, *, cross: bool, file: ToolchainFile, path: Path | None) -> PlatformChoice:
    """Return the choice of the command line, or else of the owner's file. Raises UsageError for an empty one."""
    if platforms is None:
        return PlatformChoice(file.platforms, cross, f"{path}: platforms")
    names = tuple(name.strip() for name in platforms.split(",") if name.strip())
    if not names:
        raise UsageError("--platforms is empty: name what to offer, such as native,ppc")
    return PlatformChoice(names, cross)


def survey_platforms(
    platforms: str | None,
    detected: Mapping[str, Detected],
    *,
    cross: bool,
    path: Path | None,
    search: str | None = None,
    ways: Ways = lambda _: (),
) -> tuple[ToolchainSurvey, PlatformChoice]:
    """Return what toolchains there are besides the machine's own compiler, and which of it all is to be offered.

    Only what may be offered is tried; a toolchain of the owner's file stands in the place of one that would be found
    under the same triple. ``search`` replaces PATH; ``ways`` is asked what may run the programs of packaged ones.
    Raises UsageError, ConfigurationError.
    """
    file = load_toolchain_file(path) if path is not None else ToolchainFile()
    choice = choice_of(platforms, cross=cross, file=file, path=path)
    own = {one.triple for one in file.toolchains}
    os, arch = detected.get("os"), detected.get("arch")
    found = (*known_toolchains(os, arch), *packaged_toolchains(os, arch, search))
    named = (*(one for one in found if one.triple not in own), *file.toolchains)
    tried = (one for one in named if choice.takes(one.kind, one.arch, one.triple, _systems(one)))
    return survey(tried, search, ways=ways), choice


def _systems(named: NamedToolchain) -> tuple[str, ...]:
    """Return the systems and C libraries by which a packaged toolchain may be chosen before it is tried."""
    if not named.packaged:
        return ()
    libcs = (named.libc,) if named.libc is not None else [libc for libc, os in LIBCS.items() if os == named.os]
    return (named.os, *libcs)


_Names = tuple[OfferKind, object, str, tuple[object, ...]]


def _names_of(offer: Offer) -> _Names:
    """Return by what an offer may be chosen."""
    platform, tools = dict(offer.platform), dict(offer.tools)
    compiler = tools.get("CC_VERSION", "").partition("-")[0]
    root = tools.get(SYSTEM_ROOT, "")
    more = (platform.get("os"), platform.get("libc"), compiler, *([root, root.rpartition("-")[0]] if root else []))
    return offer.kind, platform.get("arch"), tools.get("HOST", ""), more


def _fits(name: str, kind: OfferKind, arch: object, triple: str, more: Sequence[object]) -> bool:
    return name in (kind.value, triple, *more) or canonical_arch(name) == arch
