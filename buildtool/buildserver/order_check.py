"""Whether this machine takes an order: what its own configuration says, and what the project's functions answer.

Tested by tests/buildserver/test_server.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from attrs import field, frozen
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from buildtool.buildserver.attempt import AttemptTools
from buildtool.buildserver.blame import brief
from buildtool.errors import BuildFailed, Declined, MachineFault, ProjectMistake, RecipeMistake, UsageError
from buildtool.model.matching.ranges import made_by
from buildtool.model.names import is_revision
from buildtool.model.platforms import Value
from buildtool.model.servers import SYSTEM_ROOT, Offer
from buildtool.model.text import quoted
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.ports.common import Executor
from buildtool.project.definition import Checked, Project
from buildtool.project.user_errors import ask, ask_url, at, defined
from buildtool.protocol.messages import Order

MAPPING_PATIENCE = 5.0
"""Seconds that a project's ``path_to_url`` has to answer."""

CHECKERS_PATIENCE = 20.0
"""Seconds that a client checker has; the metaserver waits for 30 until an order is answered."""

log = Logger()


@frozen
class ServerOffer:
    """The offer of this build server: projects by name, platforms, how many builds at once, and in which sandbox.

    ``lacking`` has, by another system in which builds run and then by project, the tools that are not in it.
    """

    projects: Mapping[str, Project]
    offers: Sequence[Offer]
    max_builds: int
    sandbox: SandboxLevel = SandboxLevel.NONE
    lacking: Mapping[str, Mapping[str, Sequence[str]]] = field(factory=dict)

    def understood(self, order: Order) -> tuple[Project, Offer]:
        """Return what this machine's own configuration says about an order. Raises Declined."""
        project = self.projects.get(order.project)
        if project is None:
            known = ", ".join(sorted(self.projects)) or "none"
            raise Declined(f"not configured for project {order.project!r}, only for {known}")
        if project.recipe.version != order.recipe_version:
            has = f"has recipe {project.recipe.version} of {order.project}"
            raise Declined(f"{has}, needs {order.recipe_version}: update config.py")
        ways = (one for one in self.offers if one.kind is order.kind)
        offer = next(filter(None, (made_by(one, order.platform) for one in ways)), None)
        if offer is None:
            raise Declined("does not offer this platform any more")
        root = dict(offer.tools).get(SYSTEM_ROOT, "")
        missing = self.lacking.get(root, {}).get(order.project, ())
        if missing:
            raise Declined(f"{root} has no {', '.join(missing)}: its owner can add that by add-platform --refresh")
        if self.sandbox < order.sandbox:
            raise Declined(f"builds in a sandbox of level {self.sandbox.value} now, needs {order.sandbox.value}")
        if not is_revision(order.revision):
            raise Declined(f"{order.revision[:80]!r} is not the full id of a commit or revision")
        try:
            values = project.options.compile_values(dict(order.options))
        except UsageError as error:
            raise Declined(brief(str(error))) from error
        if values != order.options:
            differs = f"describes the options of {order.project} differently"
            raise Declined(f"{differs}: update config.py or buildtool itself")
        return project, offer


@frozen
class ProjectQuestions:
    """The questions to a project's own functions about an order, in a thread of ``pool``: they may use the disk."""

    tools: AttemptTools
    pool: Executor

    async def ask(
        self, project: Project, order: Order, running: Callable[[], int]
    ) -> tuple[str, ProjectMistake | None]:
        """Return the repository's URL, or the project's mistake. Raises Declined.

        Declining for a mistake would only send the order round all machines, again and again: it begins, and ends so.
        ``running`` returns how many other builds run.
        """
        # What the machine has by now is looked at while the project's mapping answers.
        machine = Deferred.fromCoroutine(self.tools.workshop.machine()) if project.client_checkers else None
        try:
            url = await self._url(project, order)
            if machine is not None:
                await self._ask_checkers(project, order, await machine, running())
        except ProjectMistake as error:
            return "", error
        finally:
            if machine is not None:
                machine.addErrback(lambda _why: None)  # whoever needed it has heard
        return url, None

    async def _url(self, project: Project, order: Order) -> str:
        """Return the repository's URL. Raises Declined for a source that is not known here, and RecipeMistake."""
        whom = f"path_to_url of {order.project}"
        try:
            asked = Deferred.fromCoroutine(self.pool.run(partial(ask_url, whom, project.path_to_url, order.source)))
            return await asked.addTimeout(MAPPING_PATIENCE, self.tools.clock)
        except defer.TimeoutError as error:
            where = at(defined(project.path_to_url))
            raise RecipeMistake(f"{whom} has not answered within {MAPPING_PATIENCE:g} s{where}") from error
        except RecipeMistake as error:
            cause = error.__cause__
            if isinstance(cause, LookupError | UsageError):  # how it says that there is no such source
                raise Declined(brief(str(cause.args[0] if cause.args else cause))) from error
            raise

    async def _ask_checkers(self, project: Project, order: Order, machine: Mapping[str, Value], running: int) -> None:
        """Raise Declined with what a client checker of the project says, RecipeMistake for one that is wrong itself."""
        checked = Checked(
            project=order.project,
            revision=order.revision,
            options=dict(order.options),
            platform=dict(order.platform),
            machine=machine,
            running=running,
        )
        for checker in project.client_checkers:
            name = getattr(checker, "__name__", "a client checker")
            try:
                question = partial(ask, f"{name} of {project.name}", partial(checker, checked))
                asked = Deferred.fromCoroutine(self.pool.run(question))
                reason = await asked.addTimeout(CHECKERS_PATIENCE, self.tools.clock)
            except defer.TimeoutError as error:
                log.warn("{checker} of {project} has not answered", checker=name, project=project.name)
                raise Declined(f"{name} of {project.name} does not answer here") from error
            except RecipeMistake as error:
                if isinstance(error.__cause__, OSError):  # it looked at this machine
                    raise Declined(brief(str(error))) from error
                raise
            except (MachineFault, BuildFailed, MemoryError) as error:
                raise Declined(brief(str(error)) or f"{name} of {project.name} says no") from error
            if reason is not None:
                said = reason if isinstance(reason, str) else quoted(reason)
                raise Declined(brief(said) or f"{name} of {project.name} says no")
