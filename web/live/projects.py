"""The projects that can be asked for, with their options: as the metaserver describes them to who looks.

Pages are another program, whose configuration may be older than the metaserver's; it is used only while that does not
say better, and then that is said.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

from attrs import define, evolve, field, frozen

from buildtool.concurrency.bounded_cache import BoundedCache, keep_newest
from buildtool.errors import BuildToolError, Unauthorised
from buildtool.model.principal import Principal
from buildtool.model.project_options import ProjectOptions
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.ports.common import Clock
from buildtool.ports.pages import Questions, ShownVisitor
from buildtool.protocol.hello import AskProjects, ProjectsDescribed
from buildtool.protocol.projects.described import DescribedProject, read_told

from ..access import Access
from ..answers import words_of
from ..pages.common import sentence

BELIEVED = 10.0
"""Seconds for which it is not asked again what somebody was told."""

REMEMBERED = 256 * 1024
"""In how many bytes it is remembered what who was told."""

READ = 20
"""How many descriptions that were read are kept: one for each set of projects that visitors see."""

_WEIGHT = 600


@frozen
class KnownProjects:
    """The options of each project that a visitor may choose, and the ``words`` by which each describes itself, if any.

    ``note`` says why they are not the metaserver's word. ``levels`` are the least sandboxes that projects demand.
    """

    options: Mapping[str, ProjectOptions]
    note: str = ""
    words: Mapping[str, str] = field(factory=dict)
    levels: Mapping[str, SandboxLevel] = field(factory=dict)


@define(eq=False)
class ProjectReader:
    """The projects by who looks; ``questions`` asks the metaserver, ``access`` knows these pages' own."""

    questions: Questions | None
    access: Access
    clock: Clock
    _told: BoundedCache[Principal, tuple[KnownProjects, float]] = field(
        factory=lambda: BoundedCache(REMEMBERED), init=False
    )
    _read: OrderedDict[str, Sequence[DescribedProject]] = field(factory=OrderedDict, init=False)

    async def read(self, shown: ShownVisitor) -> KnownProjects:
        """Return the projects that a visitor may choose. Raises Unauthorised where they may not be told."""
        own = self._own(shown.by)
        if self.questions is None:
            return KnownProjects(own)
        who = evolve(shown.by, address="", connection=0)
        found = self._told.get(who)
        if found is not None and found[1] - BELIEVED <= self.clock.wall() < found[1]:
            return found[0]
        try:
            told = self._projects(await self.questions.act(shown, AskProjects(), ProjectsDescribed))
        except Unauthorised:
            raise
        except BuildToolError as error:
            said = sentence(words_of(error))
            return KnownProjects(
                own, f"{said[:1].upper()}{said[1:]} Projects and options are those that these pages know."
            )
        # What is hidden here stays so, whatever the metaserver says: one of both may be older.
        seen = {one.name: one for one in told if one.name in own or self.access.options(one.name) is None}
        known = KnownProjects(
            {name: one.options for name, one in seen.items()},
            words={name: one.description for name, one in seen.items()},
            levels={name: one.sandbox for name, one in seen.items()},
        )
        self._told.put(who, (known, self.clock.wall() + BELIEVED), _WEIGHT)
        return known

    def _own(self, by: Principal) -> Mapping[str, ProjectOptions]:
        found = {name: self.access.options(name) for name in self.access.offered(by)}
        return {name: options for name, options in found.items() if options is not None}

    def _projects(self, told: ProjectsDescribed) -> Sequence[DescribedProject]:
        """Return what is described, which is read once. Raises DecodeError."""
        found = self._read.get(told.digest)
        if found is None:
            found = keep_newest(self._read, told.digest, read_told(told, "this farm").projects, READ)
        return found
