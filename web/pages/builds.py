"""The list of builds, from domain values to what its template shows.

Pure: ``now`` is wall time in seconds, links come from ``urls``.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from buildtool.concurrency.bounded_cache import remembering, weight
from buildtool.model.records import Build, BuildState
from buildtool.model.text import size_words
from buildtool.ports.pages import BuildLine

from ..urls import Urls
from . import badges, words
from .common import dated, took
from .views import BuildRow, Moment, Zip

PER_PAGE = 50
"""Builds on one page of their list."""

ROWS_KEPT = 2 * 1024 * 1024
"""In how many bytes rows of lists of builds are remembered for the lines that they show; these are kept elsewhere."""

_LINE = 2_000
"""Bytes that a line takes besides its texts, about."""


@frozen
class BuildsPage:
    """One page of the list of builds; ``newest`` and ``older`` are empty where there is nowhere to go.

    ``unseen`` says that there may be builds which are not shown.
    """

    rows: tuple[BuildRow, ...]
    projects: tuple[str, ...]
    states: tuple[str, ...]
    project: str
    state: str
    filtered: bool
    nothing: str
    newest: str
    older: str
    unseen: bool = False


def builds_page(
    lines: Sequence[BuildLine], urls: Urls, now: float, *,
    projects: Sequence[str], project: str = "", state: str = "", before: int | None = None,
) -> BuildsPage:  # fmt: skip
    """Return one page of the list of builds; ``lines`` holds one more than a page when there are older ones."""
    rows = tuple(build_row(line, urls, now) for line in lines[:PER_PAGE])
    older = urls.builds(before=rows[-1].id, project=project, state=state) if len(lines) > PER_PAGE else ""
    newest = urls.builds(project=project, state=state) if before is not None else ""
    wanted = [f"in state {state}"] if state else []
    wanted = [f"of project {project}", *wanted] if project else wanted
    wanted = [*wanted, f"older than build {before}"] if before is not None else wanted
    nothing = f"There is no build {' and '.join(wanted)}."
    known = tuple(projects) if not project or project in projects else (*projects, project)
    states = tuple(it.value for it in BuildState)
    return BuildsPage(rows, known, states, project, state, bool(wanted), nothing, newest, older)


def build_row(line: BuildLine, urls: Urls, now: float) -> BuildRow:
    """Return one Build for a list."""
    build = line.build
    when = build.ended_at if build.ended_at is not None else build.started_at if _runs(build) else build.created_at
    when = build.created_at if when is None else when
    return _build_row(_Very(line), urls, when, words.age(when, now), took(build, now))


class _Very:
    """A value that is equal to nothing but itself: comparing a line with another would cost more than showing it.

    A page of builds takes 186 µs of the processor with remembered rows, and 482 µs without (``bench-results/``).
    """

    __slots__ = ("value",)

    def __init__(self, value: BuildLine) -> None:
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Very) and self.value is other.value

    @property
    def weight(self) -> int:
        """About how many bytes the line takes, which nobody else may hold any more."""
        build, attempt, artifact = self.value.build, self.value.attempt, self.value.artifact
        texts: list[object] = [build.spec.options, build.spec.platform, build.spec.machine, build.reason]
        texts += [attempt.platform, attempt.reason] if attempt is not None else []
        texts += [artifact.platform, artifact.options] if artifact is not None else []
        return _LINE + weight(texts)


@remembering(ROWS_KEPT, lambda row, very, *_: row.weight + very.weight)
def _build_row(very: _Very, urls: Urls, when: float, age: str, took: str) -> BuildRow:
    """Return the row of a line. While nothing about a Build changes, its line remains the very same value."""
    build, attempt, artifact = very.value.build, very.value.attempt, very.value.artifact
    download = None
    if artifact is not None and not artifact.withdrawn:
        download = Zip(urls.artifact(artifact.digest, artifact.name), artifact.name, size_words(artifact.size))
    return BuildRow(
        id=build.id,
        url=urls.build(build.id),
        badge=badges.BUILD[build.state],
        project=build.spec.project,
        revision=build.spec.revision,
        short=words.revision(build.spec.revision),
        platform=words.platform(build.spec.platform),
        server=attempt.server if attempt is not None else "",
        requests=f"{very.value.requests:,}",
        when=Moment(*dated(when), age),
        took=took,
        zip=download,
    )


def _runs(build: Build) -> bool:
    return build.state is BuildState.RUNNING and build.started_at is not None
