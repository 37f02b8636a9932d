"""What keeps builds from this machine, as its owner is told before a start: sandbox, limits, PATH and network.

Covered by tests/programs/buildserver/test_confinement.py.
"""

from __future__ import annotations

from pathlib import Path

from attrs import frozen
from twisted.logger import Logger

from buildtool.adapters.host.limits.control_groups import ControlGroups
from buildtool.adapters.host.limits.watching import within_disk
from buildtool.adapters.host.recipe_commands import BuildBounds
from buildtool.adapters.processes.keeper_client import Keepers
from buildtool.adapters.processes.process_group import mark_for
from buildtool.adapters.processes.sandbox.proving import ProvenSandbox
from buildtool.model.guest.limits import MIB, BuildLimits, limits_for
from buildtool.model.text import size_words
from buildtool.programs.buildserver.build_directory import BuildDirectory
from buildtool.programs.buildserver.capability import AnnouncedCapability
from buildtool.programs.buildserver.sandbox_choice import declared, sandbox_seen
from buildtool.programs.buildserver.starting import Start

log = Logger()


@frozen
class Confinement:
    """The bounds of builds here, as they are now.

    ``limits`` are those of one build, ``groups`` what keeps them; ``left_out`` are directories of PATH that builds do
    not see, and ``networked`` projects that may use the network while they fetch. ``memory_present`` is how many bytes
    all builds together may use while the owner is there, None for no fewer than else. ``without`` are programs that are
    hidden from builds.
    """

    sandbox: ProvenSandbox
    limits: BuildLimits
    groups: ControlGroups
    left_out: tuple[str, ...] = ()
    networked: tuple[str, ...] = ()
    memory_present: int | None = None
    without: tuple[str, ...] = ()

    def limit_words(self) -> str:
        """Return what one build may use, for people."""
        of = self.limits
        memory = "any memory" if of.memory is None else f"{size_words(of.memory)} of memory"
        disk = "any disk" if of.disk is None else f"{size_words(of.disk)} of disk"
        return f"{memory}, {disk}, {of.processes} processes, {of.files} files, a file of {size_words(of.file_size)}"

    def present_words(self) -> str:
        """Return what all builds together may use while the owner is there, for people; empty for no less than else."""
        if self.memory_present is None:
            return ""
        return f"all together {size_words(self.memory_present)} of memory while its owner is at the machine"

    def rows(self) -> list[tuple[str, str]]:
        """Return a label and words for each of them, for people."""
        sandbox = self.sandbox
        rows = [("sandbox", sandbox.level.value), *(("  why", note) for note in sandbox.notes)]
        rows += [("  mend", sandbox.mend)] if sandbox.mend else []
        rows.append(("a build may", f"use {self.limit_words()}"))
        rows += [("  meanwhile", self.present_words())] if self.memory_present is not None else []
        rows.append(("  kept by", self.groups.words()))
        rows.append(("may fetch", ", ".join(self.networked) or "no project (--allow-network names those that may)"))
        rows += [("builds lack", f"{', '.join(self.without)} (--without)")] if self.without else []
        seen = f"{' '.join(self.left_out)} (of PATH; --readable shows builds what they need of that)"
        return [*rows, ("not seen", seen)] if self.left_out else rows

    def as_object(self) -> dict[str, object]:
        """Return the same for programs; all sizes are in bytes, None is no limit."""
        of = self.limits
        return {
            "sandbox": self.sandbox.level.value,
            "sandbox_notes": list(self.sandbox.notes),
            "sandbox_mend": self.sandbox.mend,
            "limits": {
                "memory": of.memory,
                "disk": of.disk,
                "processes": of.processes,
                "files": of.files,
                "file_size": of.file_size,
                "memory_present": self.memory_present,
                "control_groups": sorted(self.groups.places),
            },
            "may_fetch": list(self.networked),
            "not_seen": list(self.left_out),
            "without": list(self.without),
        }


def memory_here(found: AnnouncedCapability) -> int | None:
    """Return how many bytes of memory a machine has, None where nothing tells."""
    memory = found.detected.get("memory")
    return memory * MIB if isinstance(memory, int) else None


def limits_here(found: AnnouncedCapability, said: int | None = None) -> BuildLimits:
    """Return the limits of each build on a machine that offers this, but for its disk.

    ``said`` is how many bytes of memory its owner gives to all builds together.
    """
    return limits_for(memory_here(found), found.max_builds, said=said)


def bounds_here(found: AnnouncedCapability, groups: ControlGroups | None) -> BuildBounds:
    """Return what bounds builds here, and log it; without a sandbox ``groups`` is None."""
    limits, machine = limits_here(found), memory_here(found)
    if groups is None:
        log.info("builds may use whatever there is: without a sandbox they have no limits but those of time")
        return BuildBounds(limits, found.max_builds, machine=machine)
    log.info("builds are kept to their share by {groups}", groups=groups.words())
    return BuildBounds(limits, found.max_builds, groups, machine)


def confinement(start: Start, place: BuildDirectory, found: AnnouncedCapability) -> Confinement:
    """Return what keeps builds from this machine, by trying it. Blocks for a tenth of a second. Raises UsageError."""
    networked = tuple(sorted(start.networked()))
    groups = ControlGroups.found(f"{place.top.name}-looks")
    groups.close()
    said = start.guest_settings(memory_here(found))
    limits = within_disk(limits_here(found, said.memory), _there(place.slots), found.max_builds, said.disk_kept)
    present = said.wishes.memory_present
    kept_from = start.left_out(), networked, present, start.said.without
    return Confinement(proven(start, place, found), limits, groups, *kept_from)


def proven(start: Start, place: BuildDirectory, found: AnnouncedCapability) -> ProvenSandbox:
    """Return the sandbox that there is now, whatever is wanted. Blocks."""
    keepers = Keepers.where_possible(mark_for(place.slots))
    try:
        readable = declared((*found.offers, *found.coming), start.said.readable)
        return sandbox_seen(start.sandbox_choice(), keepers, place.sandbox, start.hidden(place), readable)
    finally:
        if keepers is not None:
            keepers.close()


def _there(path: Path) -> Path:
    """Return a directory, or the nearest above that is there."""
    return next(one for one in (path, *path.parents) if one.exists())
