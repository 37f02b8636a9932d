"""What an address that stays asks for: a project, a branch and a platform by name, and options in its query. Pure.

Tested by tests/web/sections/getting/test_newest.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from buildtool.errors import UsageError
from buildtool.model.access.rights import known_platform
from buildtool.model.platforms import ARCHES
from buildtool.model.project_options import ProjectOptions
from buildtool.protocol.projects.latest import AskLatest, LatestFound

from .wish import NATIVE, SANDBOX, read_wish, understood

REVISIONS = ("revision", "revrange")
"""What the address itself says."""


def question(
    project: str, options: ProjectOptions, branch: str, platform: str, pairs: Sequence[tuple[str, str]]
) -> AskLatest:
    """Return what is asked for. Raises UsageError, which says what would be right."""
    taken = {option.name for option in options.all() if option.name not in REVISIONS} | {SANDBOX, NATIVE}
    for name, _ in pairs:
        if name not in taken:
            known = ", ".join(sorted(taken))
            raise UsageError(f"{name[:40]!r} means nothing here: there are {known}")
    made = understood(read_wish(project, options, [*pairs, *_platform(platform)]), options)
    for problem in made.problems.values():
        raise UsageError(problem)
    if len(made.asks) != 1:
        raise UsageError("an address is of one binary: say each option once, and the platform in the path")
    (ask,) = made.asks
    return AskLatest(project, ask.source, branch, ask.compile, ask.system, {}, native=ask.native, sandbox=ask.sandbox)


def _platform(text: str) -> list[tuple[str, str]]:
    """Return the fields that a platform's name such as ``linux-ppc`` stands for. Raises UsageError."""
    name = known_platform(text)
    system, dash, arch = name.partition("-")
    if dash and arch in ARCHES:
        return [("os", system), ("arch", arch)]
    return [("arch", name)] if name in ARCHES else [("os", name)]


def nothing_words(found: LatestFound, platform: str) -> str:
    """Return in a line that there is no such binary, and what can be done."""
    history = f"its newest {found.looked:,} revisions were" if found.more else "all of it was"
    return (
        f"{found.project} has no binary of {found.branch} for {platform} with these options: {history} looked at, and "
        f"nothing is built by this address; ask for one by startcompile.py --project {found.project} --revision "
        f"{found.branch}"
    )
