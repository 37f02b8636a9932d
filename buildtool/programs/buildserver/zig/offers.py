"""Which of zig's targets a build server offers: what its owner chose, as far as it is warm, and what is to come."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from attrs import frozen

from buildtool.adapters.host.detectors import Detected
from buildtool.adapters.host.toolchains import Toolchain
from buildtool.adapters.host.zig.finding import find_zig, installed_at
from buildtool.adapters.host.zig.installing import RUNNER
from buildtool.adapters.host.zig.targets import OLDEST, ZigTarget
from buildtool.adapters.host.zig.toolchains import Runners, toolchains_of
from buildtool.adapters.host.zig.warm_store import WarmStore, WarmTarget
from buildtool.model.servers import OfferKind
from buildtool.programs.buildserver.platforms import PlatformChoice

_FIRST = ("glibc", "musl", "ucrt", "wasi-libc", "macos")
"""The order in which targets of one architecture are warmed."""


@frozen
class ZigOffers:
    """The targets of a zig that are chosen, in the order in which they are warmed, and where their caches are."""

    store: WarmStore
    targets: tuple[ZigTarget, ...]

    def warm(self) -> list[Toolchain]:
        """Return the toolchains of what was tried. Reads the disk."""
        found = (self.store.warm(one) for one in self.targets)
        return [made for one in found if one is not None for made in toolchains_of(self.store.zig, one)]

    def cold(self) -> list[ZigTarget]:
        """Return what is still to be tried. Reads the disk."""
        return [one for one in self.targets if self.store.warm(one) is None]

    def plain(self) -> list[ZigTarget]:
        """Return what was tried, but not with debugging information. Reads the disk."""
        return [one for one in self.targets if self.store.lacks_debugged(one)]

    def coming(self) -> list[Toolchain]:
        """Return the toolchains that are offered once they were tried and work. Reads the disk.

        They tell also what would run programs for systems other than this: builds have to see it from the start.
        """
        expected = (
            WarmTarget(one, OLDEST if one.libc == "glibc" else None, self._expected_run(one), None)
            for one in self.cold()
        )
        return [made for one in expected for made in toolchains_of(self.store.zig, one)]

    def _expected_run(self, target: ZigTarget) -> tuple[str, ...] | None:
        """Return the last words that may run programs of another system, which is a script where one was installed."""
        ways = () if target.os == "linux" else self.store.runners(target)
        return tuple(ways[-1]) if ways else None


def zig_offers(
    build_dir: Path,
    top: Path,
    choice: PlatformChoice,
    detected: Mapping[str, Detected],
    search: str,
    seen: Callable[[str], bool],
) -> ZigOffers | None:
    """Return what a zig on this machine is offered for, None where there is none or nothing of it is chosen. Blocks.

    ``top`` is where caches are kept; ``search`` stands for PATH, and ``seen`` is asked what of it builds may start.
    """
    if not choice.cross:
        return None
    zig = find_zig(build_dir, search, seen)
    if zig is None:
        return None
    own = str(detected.get("arch", ""))
    chosen = [
        one
        for one in zig.known.targets
        if choice.takes(OfferKind.CROSS, one.arch, one.triple, (one.os, one.libc, "zig"))
    ]
    chosen.sort(key=lambda one: (one.arch != own, one.arch != "aarch64", _FIRST.index(one.libc)))
    runners = runners_in(build_dir, detected, search, seen)
    return ZigOffers(WarmStore(zig, top, runners), tuple(chosen)) if chosen else None


def runners_in(build_dir: Path, detected: Mapping[str, Detected], search: str, seen: Callable[[str], bool]) -> Runners:
    """Return what may run programs for other systems here; with zig what runs those for WASI was installed."""
    own = str(detected.get("arch", ""))
    return Runners(own, search, wasi=installed_at(build_dir).resolve() / RUNNER, seen=seen)
