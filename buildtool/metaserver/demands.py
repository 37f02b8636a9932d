"""What a submission demands: its options understood, its source mapped to a URL, its revision resolved.

Tested by tests/metaserver/test_requests.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import TypeVar

import attrs
from attrs import define, evolve, field

from buildtool.concurrency.bounded_cache import BoundedCache, weight_of_pairs
from buildtool.configuration.current import CurrentConfiguration
from buildtool.errors import RecipeMistake, UsageError
from buildtool.model.matching.requiring import machine_required, platform_required
from buildtool.model.options import Canonical, digest_of
from buildtool.model.platforms import Value
from buildtool.model.project_options import ProjectOptions, check_known, tool_option
from buildtool.model.properties import TOOLS
from buildtool.model.records import BuildSpec, Demand
from buildtool.model.trust.evidence import EvidencePolicy, SandboxLevel, SourceTrust
from buildtool.ports.metaserver import SourceResolver
from buildtool.project.definition import Project, tools_named
from buildtool.project.looked_up import looks_up
from buildtool.project.user_errors import ask_url
from buildtool.protocol.codec import listed, size_of
from buildtool.protocol.messages import AskExplain, Submit
from buildtool.scheduling.state.state import State

UNDERSTOOD = 2 * 1024 * 1024
"""Bytes in which it is remembered how the options of submissions were understood."""

OPTIONS_LIMIT = 100_000
"""Most bytes of all compile options of a build: they have to fit into the order, which is told after the commit."""

M = TypeVar("M", Submit, AskExplain)

_BODY = tuple(one.name for one in attrs.fields(Submit) if one.name not in ("client_id", "sandbox", "nice", "supersede"))


@define
class Resolved:
    """The commits that submissions which are made together were resolved to: one ref is one commit for all of them.

    ``commits`` are those of refs by URL, ``trust`` says of project, ``--source`` and ref whether that is trusted, and
    ``near`` what is accepted by a ``--revrange``.
    """

    commits: dict[tuple[str, str], str] = field(factory=dict)
    trust: dict[tuple[str, str, str], SourceTrust] = field(factory=dict)
    near: dict[tuple[str, str, str, str], tuple[str, ...]] = field(factory=dict)


@define
class DemandReader:
    """A reader of submissions. It remembers how options were understood: people and scripts repeat themselves.

    The digest of the values' text is the key, since True and 1 are equal and yet not the same answer. Only what the
    project looks at is in it: a requester may send as much else as the wire lets through.
    """

    configuration: CurrentConfiguration
    state: State
    resolver: SourceResolver
    projects: dict[str, Project] = field(factory=dict, init=False)
    known: BoundedCache[tuple[str, bytes], tuple[Canonical, Canonical, Canonical]] = field(
        factory=lambda: BoundedCache(UNDERSTOOD), init=False
    )

    def without_excess(self, message: M) -> M:
        """Return a message without what its project does not look at, which may be nearly all of it."""
        project = next((one for one in self.configuration.settings.projects if one.name == message.project), None)
        declared = _declared(project, message.local) if project is not None else {}
        return message if len(declared) == len(message.local) else evolve(message, local=declared)

    async def read(
        self,
        project: Project,
        url: str,
        message: Submit | AskExplain,
        resolved: Resolved,
    ) -> Demand:
        """Return what a message demands. For a commit that the project does not trust nothing else will do.

        ``resolved`` keeps what was resolved, so that one ref is one commit, whatever is accepted beside that.

        Raises UsageError, UnknownRef, RepositoryUnreachable.
        """
        compile_values, platform, machine = self._understood(project, message)
        ref, revrange = ref_and_range(message)
        if (url, ref) not in resolved.commits:
            resolved.commits[url, ref] = await self.resolver.resolve(url, ref)
        commit, of_it = resolved.commits[url, ref], (project.name, message.source, ref)
        if of_it not in resolved.trust:
            resolved.trust[of_it] = await self._trust(project, message.source, url, commit)
        if (*of_it, revrange) not in resolved.near:
            near = await self._near(project, url, commit, revrange, resolved.trust[of_it])
            resolved.near[*of_it, revrange] = (commit, *(other for other in near if other != commit))
        acceptable = resolved.near[*of_it, revrange]
        spec = BuildSpec(
            project=project.name,
            source=message.source,
            revision=acceptable[0],
            recipe_version=project.recipe.version,
            options=compile_values,
            platform=platform,
            machine=machine,
            native=message.native,
            policy=project.least.with_at_least(EvidencePolicy(message.sandbox, resolved.trust[of_it])),
        )
        return Demand(spec, ref, revrange, acceptable)

    async def _trust(self, project: Project, source: str, url: str, commit: str) -> SourceTrust:
        """Return whether a project trusts a commit of what ``--source`` says."""
        own = project.trusts(source) or (not project.trusted_sources and looks_up(project.path_to_url, source))
        trusted = own and await self.resolver.trusted(url, commit, project.trusted_refs)
        return SourceTrust.TRUSTED if trusted else SourceTrust.UNTRUSTED

    async def _near(
        self, project: Project, url: str, commit: str, revrange: str, trust: SourceTrust
    ) -> tuple[str, ...]:
        """Return what a range accepts: beside a commit that is not trusted nothing. Raises UsageError, UnknownRef."""
        if not revrange:
            return (commit,)
        if trust is SourceTrust.TRUSTED:
            return await self.resolver.acceptable(url, commit, revrange, project.trusted_refs)
        if ".." in revrange:
            raise UsageError(
                f"--revrange {revrange} ends at {commit[:12]}, which is on no trusted ref of {project.name}: "
                "of such a commit only itself is given; leave --revrange out"
            )
        return (commit,)

    def _understood(self, project: Project, message: Submit | AskExplain) -> tuple[Canonical, Canonical, Canonical]:
        """Return compile options, required platform and required machine. Raises UsageError."""
        if self.projects.get(project.name) is not project:
            self.projects[project.name] = project  # configured anew: its options may be others
            self.known.clear()
        local = _declared(project, message.local)
        asked = repr((message.compile, message.system, local)).encode(errors="surrogatepass")
        key = (project.name, sha256(asked).digest())
        found = self.known.get(key)
        if found is None:
            found = self._understand(project, message, local)
            self.known.put(key, found, sum(map(weight_of_pairs, found)))
        return found

    def _understand(
        self, project: Project, message: Submit | AskExplain, declared: dict[str, Value]
    ) -> tuple[Canonical, Canonical, Canonical]:
        options = project.options
        explicit = options.system_values(message.system)
        self._check_known(options, explicit)
        local = options.system_values(declared)
        platform = platform_required(options, explicit, local)
        machine = machine_required(options, explicit, project.recipe.machine)
        compiled = options.compile_values(message.compile)
        size = size_of(listed(compiled))
        if size > OPTIONS_LIMIT:
            raise UsageError(f"the compile options take {size} bytes together: at most {OPTIONS_LIMIT} can be told")
        return compiled, platform, machine

    def _check_known(self, options: ProjectOptions, explicit: Mapping[str, Value]) -> None:
        """Raise UsageError for a property that was asked for by a name that is known nowhere."""
        if explicit:
            tools = {*TOOLS, *tools_named(self.configuration.settings.projects)}
            check_known(options, explicit, self.state.groups.offered, tools)


def body_digest(message: Submit) -> str:
    """Return the digest of everything in a submission but the client's id for it."""
    # All of its values are plain: encoding them once more, with every check, would take as long as all of the decision.
    plain = {"type": "Submit"} | {name: getattr(message, name) for name in _BODY}
    # Who demands none says the same as ever, so that what was asked before an upgrade is known after it.
    if message.sandbox is not SandboxLevel.NONE:
        plain["sandbox"] = message.sandbox.value
    later = {"nice": message.nice, "supersede": message.supersede}
    return digest_of(plain | {name: value for name, value in later.items() if value})


def source_url(project: Project, source: str) -> str:
    """Return the repository's URL for a ``--source``. Raises UsageError, RecipeMistake where the mapping is wrong."""
    tool_option("source").check(source)
    try:
        return ask_url(f"path_to_url of {project.name}", project.path_to_url, source)
    except RecipeMistake as error:
        cause = error.__cause__
        if isinstance(cause, LookupError):
            known = f": {cause.args[0]}" if cause.args else ""
            raise UsageError(f"project {project.name} has no source {source!r}{known}") from error
        raise


def ref_and_range(message: Submit | AskExplain) -> tuple[str, str]:
    """Return the ref to build and the range to accept. ``A..B`` names the ref itself. Raises UsageError."""
    revision, revrange = tool_option("revision"), tool_option("revrange")
    ref = str(revision.check(message.revision or revision.default))
    span = str(revrange.check(message.revrange))
    if ".." not in span:
        return ref, span
    last = span.partition("..")[2]
    if message.revision and ref not in (revision.default, last):
        raise UsageError(f"--revrange {span} says what to build itself ({last}); leave --revision {ref} out")
    return last, span


def _declared(project: Project, local: Mapping[str, Value]) -> dict[str, Value]:
    """Leave out what this project does not look at: the requester's configuration may be older or newer."""
    names = project.options.artifact_names
    if local.keys() <= names:
        return dict(local)
    return {name: value for name, value in local.items() if name in names}
